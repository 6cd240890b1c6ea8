"""Test settings of interrupted runs: equal, changed, none, and files that are damaged or of another program."""

import json

import pytest

from vislab.errors import DataError
from vislab.io.run_settings import changed_settings

SETTINGS = {"size": (4, 5), "source": "a", "options": {"x": None, "y": [1]}}


def test_settings_are_compared_as_json(tmp_path):
    path = tmp_path / "settings.json"
    assert changed_settings(path, SETTINGS) is None
    path.write_text(json.dumps(SETTINGS))
    assert changed_settings(path, SETTINGS) == {}
    changed = {"size": (4, 6), "source": "a", "options": {"x": 0, "y": [1]}}
    assert changed_settings(path, changed) == {"size": [4, 5], "options": {"x": None, "y": [1]}}


@pytest.mark.parametrize("content", [b"", b'{"size": [4,', b"\xff\xfe\x00", b"[" * 100_000, b"not JSON"])
def test_damaged_files(tmp_path, content):
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"settings.json is damaged .*remove {tmp_path} and repeat the command"):
        changed_settings(path, SETTINGS)


def test_a_folder_in_place_of_the_file(tmp_path):
    with pytest.raises(DataError, match="is damaged .Is a directory"):
        changed_settings(tmp_path, SETTINGS)


@pytest.mark.parametrize("content", [[], None, 3, {}, {"size": [4, 5]}, SETTINGS | {"more": 1}])
def test_files_of_another_program(tmp_path, content):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="does not have the settings size, source, options of this command"):
        changed_settings(path, SETTINGS)
