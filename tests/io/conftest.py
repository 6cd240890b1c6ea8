"""Fixtures of the tests of files."""

import pytest

from vislab.io import file_checks


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """The warnings of one test about image files; each kind comes once a process."""
    texts = []
    monkeypatch.setattr(file_checks, "_said", set())
    monkeypatch.setattr(file_checks.logger, "warning", texts.append)
    return texts
