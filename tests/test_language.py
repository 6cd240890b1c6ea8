"""Test the rule of CONTRIBUTING.md on language, as far as a program can: spelling, first words, keys of transforms."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from vislab.registry import TRANSFORMS

REPOSITORY = Path(__file__).parents[1]
FOLDERS = ("vislab", "tools", "benchmarks", "configs", "docs", "data")
SOURCES = sorted(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py"))
TEXTS = [
    *SOURCES,
    *(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.md")),
    REPOSITORY / "README.md",
]
BRITISH = re.compile(
    r"\b\w*(normalis|initialis|optimis|serialis|recognis|organis|summaris|visualis|minimis|maximis|behaviour|colour|"
    r"centre\b|grey\b|neighbour|labell(ed|ing)|modell(ed|ing)|analyse)\w*",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_spelling_is_american(path):
    found = [match[0] for match in BRITISH.finditer(path.read_text(encoding="utf-8"))]
    assert not found


def test_docstrings_state_what_a_function_does():
    wrong = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node) or ""
                if re.match(r"(What|Where|Which|How|Whether)\b", text) and not _is_property(node):
                    wrong.append(f"{path.relative_to(REPOSITORY)}: {text.splitlines()[0]}")
    assert not wrong


def _is_property(node: ast.AST) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ()))


def test_transforms_state_the_keys_that_they_read_and_write():
    TRANSFORMS.import_from_location()
    own = {cls for cls in TRANSFORMS.module_dict.values() if cls.__module__.startswith("vislab.")}
    assert len(own) > 20
    lacking = [
        cls.__name__
        for cls in own
        if not all(words in (inspect.getdoc(cls) or "") for words in ("Required keys:", "Modified keys:"))
    ]
    assert not lacking
