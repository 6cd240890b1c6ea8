"""Test where the names of numbered classes come from."""

import pytest

from vislab.apis.new_config.names import named_classes
from vislab.errors import DataError


@pytest.mark.parametrize("text", ["names: [road, car]\nnc: 2\n", "names:\n  1: car\n  0: road\n"])
def test_names_of_yolo_files(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    notes = []
    assert named_classes(tmp_path, 2, notes) == ("road", "car")
    assert notes == ["the names of the classes are those of data.yaml."]
    (tmp_path / "classes.txt").write_text("Road\n\n Car \n")
    assert named_classes(tmp_path, 2, notes) == ("Road", "Car")


def test_numbers_where_nothing_names_the_classes(tmp_path):
    (tmp_path / "data.yaml").write_text("train: images/train\n")
    notes = []
    assert named_classes(tmp_path, 2, notes) == ("class0", "class1")
    assert "data.yaml" in notes[0] or "classes.txt" in notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [road]", "1 names, but the labels contain class 1"),
        ("names: [road, road]", "'road' twice"),
        ("names: {1: road, 2: car}", "expected 0, 1, 2"),
        ("names: {", "data.yaml is damaged"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, text, message):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        named_classes(tmp_path, 2, [])
