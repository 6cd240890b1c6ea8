"""Test the page of results: made from the history, one row and section for the newest of each script and options."""

import importlib.util
import re

import pytest

from tests.helpers import REPOSITORY


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("_results", REPOSITORY / "benchmarks/_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(script: str, text: str, quick: bool = False, options: str = "", values=None, day: int = 1) -> dict:
    conditions = f"2026-01-{day:02}, Python 3.11"
    known = {"script": script, "quick": quick, "options": options, "conditions": conditions}
    return {**known, "text": text, "values": values or {}}


def test_page_is_that_of_the_history(results):
    assert results.PAGE.read_text() == results.page(results.read()), "run python benchmarks/_results.py"


def test_rows_lead_to_their_sections(results):
    text = results.PAGE.read_text()
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert re.findall(r"^\| \[.*?\]\(#(.*?)\)", text, re.MULTILINE) == anchors and len(set(anchors)) == len(anchors)


def test_newest_of_each(results):
    records = [
        record("b", "old"),
        record("b", "line\n| x |", values={"ratio": 0.5, "n": 3}, day=2),
        record("a", "quick", True),
        record("b", "two threads", options="--threads 2"),
    ]
    page = results.page(records)
    assert "| [b](#b-full) | 2026-01-02 | line | ratio 0.5, n 3 |" in page and "old" not in page
    assert page.index("## b (full)") < page.index("## b (full, --threads 2)") < page.index("## a (quick)")


def test_ratios_of_tables(results):
    head = "| what | wall ms | cpu ratio |\n|---|---|---|\n"
    table = head + "| theirs | 2.0 | 1.000 |\n| vislab a | 1.0 | 0.500 |\n| plain | 0.5 | 0.250 |"
    assert results.table_ratios(table) == {"vislab a": 0.5}
    assert results.table_ratios(head + "| x | 1.0 | 0.500 |\n\n| other | 2.0 |\n|---|---|\n| y | 0.5 |") == {"x": 0.5}
