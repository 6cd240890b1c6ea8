"""Test the commands of README and docs: their parsers accept them, and a test runs them or there is a reason."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/*.md"))]
TESTED_BY = {  # command: test that runs it
    "analyze-logs": "tests/tools/test_analyze_logs.py",
    "benchmark": "tests/tools/test_tools.py",
    "browse-dataset": "tests/visualization/test_browse.py",
    "check-config": "tests/engine/config/test_check.py",
    "convert": "tests/apis/test_conversion.py",
    "download": "tests/zoo/test_pretrained.py",
    "export": "tests/apis/test_exporting.py",
    "export-encoder": "tests/tools/test_export_encoder.py",
    "get-flops": "tests/tools/test_tools.py",
    "hnerv": "tests/tools/test_hnerv.py",
    "new": "tests/apis/new_config/test_text.py",
    "predict": "tests/tools/test_tools.py",
    "prepare-data": "tests/apis/test_small_data.py",
    "print-config": "tests/test_cli.py",
    "probe": "tests/apis/test_probing.py",
    "pseudo-labels": "tests/tools/test_aerial_tools.py",
    "publish": "tests/apis/test_conversion.py",
    "report": "tests/report/test_page.py",
    "test": "tests/tools/test_tools.py",
    "train": "tests/test_first_steps.py",  # the first step of every config
    "verify": "tests/report/test_figures.py",
    "tools/dataset_converters/dota_submission.py": "tests/tools/test_aerial_tools.py",
    "tools/dataset_converters/dota_tiles.py": "tests/tools/test_aerial_tools.py",
    "benchmarks": "tests/benchmarks",
}
REASONS = {  # beginning of a command: why no test runs it
    "python3 -m venv": "the clean clone of continuous integration does",
    "pip install": "the clean clone of continuous integration installs all extras",
    "export VISLAB_DATA": "sets a variable",
    "make test": "runs these tests",
    "make train": "minutes; run before each release",
    "make bench": "minutes; run by hand",
    "make bench-gpu": "minutes; run by hand",
    "bash tools/": "launches torchrun or Slurm; the usage of each script is tested",
    "torchrun": "the launch of several processes is tested with gloo",
    "NNODES=": "needs two machines",
    "GPUS=": "needs Slurm",
}
START = re.compile(r"(python3? |vislab |bash |make |pip |torchrun |export |pytest |[A-Z_]+=\S+ )")


def blocks(text: str) -> list[str]:
    """Lines of fenced and indented code, with continued lines joined and comments removed."""
    lines, fenced = [], False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line.split(" #")[0].strip())
    return lines


COMMANDS = [
    (f"{page.relative_to(REPOSITORY)}: {line}", line)
    for page in PAGES
    for line in blocks(page.read_text())
    if START.match(line)
]


def words_of(line: str) -> tuple[str, list[str]]:
    """The command, such as "train", and its arguments; "" for what is none of ours."""
    words = shlex.split(re.sub(r"\[|\]|\.\.\.", " ", re.sub(r"\|[\w|]+", "", line)))
    if words[0].startswith("VISLAB_DATA="):
        words = words[1:]
    if words[0] == "vislab":
        return words[1], words[2:]
    if words[0] == "python" and words[1].startswith("tools/"):
        path = Path(words[1])
        return (path.stem.replace("_", "-") if path.parent.name == "tools" else str(path)), words[2:]
    if words[0] == "python" and words[1].startswith("benchmarks/"):
        return "benchmarks", words[1:]
    return "", words


@pytest.mark.parametrize(("place", "line"), COMMANDS, ids=[place for place, _ in COMMANDS])
def test_each_command_is_accepted(place, line):
    name, arguments = words_of(line)
    if not name:
        assert any(line.startswith(start) for start in REASONS), f"{place}: no test runs it; add one or a reason"
        return
    assert (REPOSITORY / TESTED_BY[name]).exists()
    if name == "benchmarks":
        assert (REPOSITORY / arguments[0]).is_file()
    elif "/" in name:
        assert (REPOSITORY / name).is_file()
    else:
        command = importlib.import_module(f"vislab.commands.{name.replace('-', '_')}")
        parser = argparse.ArgumentParser(exit_on_error=False)
        command.add_arguments(parser)
        parser.parse_args(["1" if word == "N" else word for word in arguments])
    for word in arguments:
        if re.match(r"configs/\w+/\w+\.py", word):
            assert (REPOSITORY / word).is_file(), place
    for word in arguments[:1]:
        if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+){2,}", word):  # the name of a config
            assert [*REPOSITORY.glob(f"configs/*/{word}.py")], place


def test_the_tests_name_the_commands():
    for name, place in TESTED_BY.items():
        path = REPOSITORY / place
        files = [path] if path.is_file() else path.rglob("*.py")
        texts = "".join(file.read_text() for file in files)
        assert Path(name).stem.replace("-", "_").split("_")[0] in texts, f"{place} does not run {name}"


def test_count(capsys):
    ours = [words_of(line)[0] for _, line in COMMANDS]
    with capsys.disabled():
        print(f"\n{len(ours)} commands in README and docs: {sum(map(bool, ours))} of tools that tests run, "
              f"{sum(not name for name in ours)} with a reason")  # fmt: skip
    assert len(ours) > 100
