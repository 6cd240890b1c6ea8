"""Fixtures of the tests of datasets."""

import pytest

from vislab.datasets import pairs
from vislab.io import listing


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """The warnings of one test about files that are left out."""
    texts = []
    monkeypatch.setattr(listing.logger, "warning", texts.append)
    monkeypatch.setattr(pairs, "print_log", lambda text, *_, **__: texts.append(text))
    return texts
