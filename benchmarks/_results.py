"""History of the benchmarks, results.jsonl, and RESULTS.md, which is made from it: the newest results.

A record has `script`, `quick`, `options` (arguments of the script), `conditions`, `text` (parity lines and tables), and
`values`, those of its RESULT line.

    python benchmarks/_results.py          # writes RESULTS.md again
"""

import json
import re
from pathlib import Path

HISTORY = Path(__file__).with_name("results.jsonl")
PAGE = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results of the benchmark scripts

Made by `benchmarks/_results.py` from `benchmarks/results.jsonl`, which has all earlier results; the scripts write both.
The table has the newest result of each script and its options; ratios are medians of interleaved rounds, ours to the
other.
"""
NUM_VALUES = 6


def read(path: Path = HISTORY) -> list[dict]:
    """Return all records, the oldest first."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(record: dict, path: Path = HISTORY) -> None:
    """Add a record to the history, and write the page next to it."""
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
    write_page(path)


def amend(values: dict, path: Path = HISTORY) -> None:
    """Set the values of the newest record, which are known after its text."""
    records = read(path)
    records[-1]["values"] = values
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    write_page(path)


def write_page(path: Path = HISTORY) -> None:
    """Write RESULTS.md next to the history."""
    path.with_name("RESULTS.md").write_text(page(read(path)))


def page(records: list[dict]) -> str:
    """Return the page of the newest records of each script and its options, full runs before quick ones."""
    newest = {(r["quick"], r["script"], r["options"]): r for r in records}
    shown = [newest[key] for key in sorted(newest)]
    rows = ["| benchmark | date | parity, setting | results |", "|---|---|---|---|"]
    for record in shown:
        name = f"{record['script']} {record['options']}".strip() + (" (quick)" if record["quick"] else "")
        cells = (f"[{name}](#{anchor(record)})", record["conditions"][:10], setting(record), results(record))
        rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    sections = [f"## {title(record)}\n\n{record['conditions']}\n\n{record['text']}" for record in shown]
    return "\n".join([HEAD, *rows, "", "\n\n".join(sections), ""])


def title(record: dict) -> str:
    form = "quick" if record["quick"] else "full"
    return f"{record['script']} ({', '.join(filter(None, (form, record['options'])))})"


def anchor(record: dict) -> str:
    """Return the anchor of a heading, as Markdown renderers make it."""
    return re.sub(r"[^\w\- ]", "", title(record).lower()).replace(" ", "-")


def setting(record: dict) -> str:
    """Return the line before the first table, shortened."""
    line = record["text"].splitlines()[0].removeprefix("- ")
    return "" if line.startswith("|") else line if len(line) <= 110 else f"{line[:107]}..."


def results(record: dict) -> str:
    """Return the values of the RESULT line; for records without them, the ratios in the tables."""
    values = record["values"] or table_ratios(record["text"])
    pairs = [f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()]
    return ", ".join(pairs[:NUM_VALUES]) + (", ..." if len(pairs) > NUM_VALUES else "") or "below"


def table_ratios(text: str) -> dict[str, float]:
    """Return the ratios in the tables of a text by the name of their row, without those of the reference."""
    found: dict[str, float] = {}
    column = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            column = None
        elif column is None:
            ratios = [i for i, cell in enumerate(cells) if cell in ("cpu ratio", "wall ratio", "ratio")]
            column = ratios[-1] if ratios else -1
        elif 0 <= column < len(cells) and re.fullmatch(r"\d+\.\d+", cells[column]) and cells[column] != "1.000":
            found[cells[0]] = float(cells[column])
    ours = {name: value for name, value in found.items() if "vislab" in name or "ours" in name}
    return ours or found


if __name__ == "__main__":
    write_page()
