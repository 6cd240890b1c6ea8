"""Test the values of COCO files: unambiguous values are accepted, others raise an error with their place."""

import json
import logging

import numpy as np
import pytest

from vislab.datasets import coco_entries
from vislab.datasets.coco_entries import (
    area,
    check_boxes,
    far_outside,
    find,
    flag,
    identifier,
    is_box,
    objects,
    palette,
    read_json,
    segmentation,
    shown,
    side,
    text,
)
from vislab.errors import DataError

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("read", "understood", "refused"),
    [
        (
            lambda v: identifier(v, "x", "k"),
            [(7, 7), (-3, -3), (7.0, 7), ("7", 7), ("007", 7), ("a7", "a7"), ("-7", "-7"), ("7" * 20, "7" * 20)],
            [None, "", 7.5, True, [], NAN, INFINITY],
        ),
        (
            lambda v: flag(v, "x", "k"),
            [(0, 0), (1, 1), (True, 1), (False, 0), (None, 0), ("1", 1), ("0", 0), (1.0, 1)],
            [2, "", "yes", [], 0.5, NAN],
        ),
        (
            lambda v: side(v, "x", "k"),
            [(480, 480), (480.0, 480), ("480", 480), (" 480.0 ", 480),
             (None, None), (0, None), (-1, None), ("-5", None)],
            [480.5, "480px", True, [], NAN, INFINITY, 10**400, 1e8, "1" * 10],
        ),
        (
            lambda v: area(v, "x"),
            [(0, 0.0), (2.5, 2.5), (None, None), (-4, None), (NAN, None)],
            ["4", True, [], INFINITY, 10**400],
        ),
        (lambda v: text(v, "x", "k"), [("a b", "a b"), (7, "7")], [None, "", "a\0b", 1.5, True, []]),
        (
            lambda v: segmentation(v, "x"),
            [(None, None), ([], None), ([1, 2, 3], [[1, 2, 3]]),
             ([[1], [2]], [[1], [2]]), ({"counts": 0}, {"counts": 0})],
            ["RLE", 7, {"size": [1, 2]}],
        ),
    ],
    ids=["identifier", "flag", "side", "area", "text", "segmentation"],
)  # fmt: skip
def test_values(read, understood, refused):
    for given, meant in understood:
        found = read(given)
        assert found == meant and type(found) is type(meant)
    for given in refused:
        with pytest.raises(DataError, match=r"^x has "):
            read(given)


def test_boxes_are_four_finite_numbers():
    assert is_box([0, 0.5, -3, 1e7]) and is_box([0] * 4)
    for wrong in (None, [], [1, 2, 3], [1] * 5, (1, 2, 3, 4), [1, 2, 3, NAN], [1, 2, 3, INFINITY], [1, 2, 3, 10**400],
                  [1, 2, 3, "4"], [1, 2, 3, True], [1, 2, 3, 2e7]):  # fmt: skip
        assert not is_box(wrong)


def test_entries_are_found_by_id():
    table = {7: "seven", "a": "letter"}
    for given, expected in ((7, "seven"), ("7", "seven"), (7.0, "seven"), ("a", "letter")):
        assert find(table, {"image_id": given}, "image_id", "x", "is not listed") == expected
    with pytest.raises(DataError, match="x has image_id 8, which is not listed"):
        find(table, {"image_id": 8}, "image_id", "x", "is not listed")
    with pytest.raises(DataError, match="x has image_id null, expected a whole number or a text"):
        find(table, {}, "image_id", "x", "is not listed")


def test_files_and_their_lists(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": [], "categories": [{}], "n": 1}))
    assert read_json(str(path), ("images", "categories"))["n"] == 1
    with pytest.raises(DataError, match="it has no list n and no list annotations"):
        read_json(str(path), ("images", "n", "annotations"))
    for broken in (b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"[1]"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"a.json is not a (readable JSON|COCO annotation) file"):
            read_json(str(path), ("images",))
    with pytest.raises(FileNotFoundError):
        read_json(str(tmp_path / "gone.json"), ())
    assert objects({"a": [{}, {"b": 1}]}, "a", "p") == [{}, {"b": 1}] and objects({}, "a", "p") == []
    with pytest.raises(DataError, match=r"p: a\[1\] is \[\], expected an object"):
        objects({"a": [{}, []]}, "a", "p")
    with pytest.raises(DataError, match="p: a is 7, expected a list"):
        objects({"a": 7}, "a", "p")


def test_colors(monkeypatch):
    said = []
    monkeypatch.setattr(coco_entries, "print_log", lambda message, **options: said.append((message, options["level"])))
    given = [{"id": 1, "color": "#0aFF10"}, {"id": 2, "color": [1, 2.0, 255]}]
    assert palette(given, "p") == ((10, 255, 16), (1, 2, 255))
    assert palette([], "p") is None and palette([*given, {"id": 3}], "p") is None and not said
    for wrong in ("#0aff1", "red", [1, 2], [1, 2, 256], [1, 2, True], {"r": 1}):
        assert palette([*given, {"id": 3, "color": wrong}], "p") is None
        message, level = said.pop()
        assert message.startswith("p: category 3 has color ") and level == logging.WARNING


def check(*boxes, size=(100, 50)) -> None:
    check_boxes([list(box) for box in boxes], [size] * len(boxes), list(range(10, 10 + len(boxes))), "p")


def test_what_all_boxes_together_show(monkeypatch):
    said = []
    monkeypatch.setattr(coco_entries, "print_log", lambda message, **_: said.append(message))
    check()
    check((0, 0, 1, 1))  # one whole pixel, not a share
    check((0, 0, 100, 50), (90, 40, 14, 5))  # 4 of 100 pixels over the edge
    check((50, 20, 60, 40), (50, 20, 60, 40), size=(None, 50))  # no corner is proved where a side is unknown
    assert not said
    with pytest.raises(DataError, match=r"relative to the image size \(annotation 10: \[0.5, 0.2, 0.25, 1\]\)"):
        check((0.5, 0.2, 0.25, 1), (0, 0, 1, 1))
    with pytest.raises(DataError, match=r"3 of 3 boxes .* all fit as \[x1, y1, x2, y2\]"):
        check((50, 20, 60, 40), (55, 20, 90, 40), (60, 20, 90, 40))
    check((50, 20, 60, 40), (55, 20, 90, 40), (60, 20, 90, 10))  # the last is no pair of corners
    assert "2 of 3 boxes exceed their image" in said[0] or "3 of 3 boxes exceed" in said[0]
    assert "annotation 12: [60, 20, 90, 10]" in said[0]
    with pytest.raises(DataError, match=r"annotation 11 has bbox \[250, 0, 5, 5\].*far outside its image of 50x100"):
        check((0, 0, 9, 9), (250, 0, 5, 5))


def test_far_is_more_than_one_image_length_away():
    """The longer side counts, 100 here: 200 to the right or below 150 is the limit, -100 on the other side."""
    boxes = np.array([[0, 0, 200, 150], [0, 0, 201, 9], [0, 0, 9, 151], [-100, -100, 1, 1], [-101, 0, 1, 1]], float)
    assert far_outside(boxes, np.array([100.0, 50.0])).tolist() == [False, True, True, False, True]
    assert not far_outside(boxes, np.array([np.nan, 50.0]))[1]


def test_values_are_shown_as_json_shows_them():
    assert [shown(v) for v in (None, True, 7, "a")] == ["null", "true", "7", "'a'"]
    assert len(shown("x" * 500)) == 60 and shown("x" * 500).endswith("...")
