"""Fixtures of the tests of metrics."""

import pytest

from vislab.evaluation import checks


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """The warnings that metrics log while the test runs."""
    messages: list[str] = []
    monkeypatch.setattr(checks, "print_log", lambda text, **options: messages.append(text))
    return messages
