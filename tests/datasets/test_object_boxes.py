"""Test the checks of object boxes: each kind of mistake is named, with its place, in one error."""

import math

import numpy as np
import pytest

from vislab.datasets.object_boxes import Entry, Problems, check_angle, read_numbers, to_instances
from vislab.errors import DataError
from vislab.structures import rotated_boxes as rb

BOX = (40.0, 30.0, 30.0, 12.0, 0.4)


def convert(*entries: Entry, classes=("ship", "ground-track-field")) -> tuple[list[dict], Problems]:
    problems = Problems("set")
    return to_instances([list(entries)], [(64, 96)], classes, problems)[0], problems


def entry(box=BOX, name="ship", ignore=False) -> Entry:
    return Entry(name, tuple(box), ignore, "file, line 3", 3)


def test_all_kinds_of_boxes_become_instances():
    corners = rb.to_dota(np.array(BOX))
    found, problems = convert(entry(), entry(corners, "Ground Track_Field"), entry((1, 2, 30, 40)))
    assert not problems.texts
    np.testing.assert_allclose([found[0]["rbbox"], found[1]["rbbox"]], [BOX, BOX], atol=1e-9)
    assert found[2]["bbox"] == [1, 2, 30, 40] and "rbbox" not in found[2]
    assert [i["label"] for i in found] == [0, 1, 0] and found[0]["id"] == 3


def test_boxes_are_brought_to_the_convention_of_the_project():
    found, _ = convert(entry((40, 30, 12, 30, 0.4 + math.pi / 2)))
    np.testing.assert_allclose(found[0]["rbbox"], BOX, atol=1e-9)


def test_a_region_without_class_is_ignored_for_each_class():
    found, _ = convert(entry(name=None, ignore=True))
    assert [(i["label"], i["ignore"]) for i in found] == [(0, 1), (1, 1)]


@pytest.mark.parametrize(
    "bad, text",
    [
        (entry(name="shipp"), r"unknown class 'shipp'; did you mean 'ship'"),
        (entry((200, 30, 30, 12, 0)), r"outside the image of 64x96 \(h x w\): \(200, 30, 30, 12, 0\)"),
        (entry((-40, -30, 20, 12, 0)), "outside the image"),
        (entry((40, 30, 400, 12, 0)), "outside the image"),  # reaches more than one image length beyond
        (entry((40, 30, -30, 12, 0)), "negative side"),
        (entry((40, 30, 20, 50)), "negative side"),
        (entry((0.4, 0.5, 0.3, 0.1, 0.4)), r"in fractions of the image: \(0.4, 0.5, 0.3, 0.1, 0.4\); expected pixels"),
        (entry((0.1, 0.1, 0.5, 0.6)), "in fractions"),
        (entry((0.1, 0.1, 0.4, 0.1, 0.4, 0.105, 0.1, 0.105)), "in fractions"),
    ],
)
def test_mistakes_are_named(bad, text):
    _, problems = convert(entry(), bad)
    with pytest.raises(DataError, match=f"set: 1 problem in the annotations:\n  file, line 3: .*{text}"):
        problems.refuse()


def test_a_pixel_in_the_corner_is_no_fraction():
    found, problems = convert(entry((0, 0, 1, 1)), entry((0.5, 0.5, 9.0, 1.0, 0.1)))
    assert len(found) == 2 and not problems.texts


def test_boxes_that_cross_the_border_are_legal():
    found, problems = convert(entry((94, 30, 30, 12, 0.4)))
    assert len(found) == 1 and not problems.texts


@pytest.mark.parametrize("box", [(40, 30, 0, 12, 0.4), (10, 10, 10, 20), (10, 10, 30, 10, 30, 10, 10, 10)])
def test_boxes_without_area_are_skipped_with_one_warning(box, logged):
    found, problems = convert(entry(box), entry(box), entry())
    assert len(found) == 1 and not problems.texts
    assert "set: 2 of 3 boxes have no area" in logged() and logged().count("no area") == 1


def test_many_problems_are_counted():
    problems = Problems("set")
    problems.refuse()
    for i in range(14):
        problems.add(f"problem {i}")
    with pytest.raises(DataError, match="(?s)14 problems.*problem 9\n  and 4 more$"):
        problems.refuse()


def test_an_angle_in_degrees_is_refused():
    problems = Problems("set")
    assert check_angle(math.pi, "a", problems) and check_angle(-3.1416, "a", problems) and not problems.texts
    assert not check_angle(45, "b", problems)
    assert "b: the angle is 45, beyond pi: it seems to be in degrees" in problems.texts[0]


@pytest.mark.parametrize("word", ["x", "nan", "inf", "1e9", None, "1_0", "１２", "1,5", True, [1], math.nan, 10**400])
def test_what_is_no_coordinate_is_named(word):
    problems = Problems("set")
    assert read_numbers(["1", word], "a", problems) is None
    assert f"a: {word!r} is not a coordinate" in problems.texts[0]
    assert read_numbers(["1", " 2.5"], "a", problems) == (1, 2.5)


def test_no_objects_and_a_thousand():
    assert to_instances([[], []], [(8, 8), (8, 8)], ("a",), Problems("set")) == [[], []]
    found, problems = convert(*[entry()] * 1000)
    assert len(found) == 1000 and not problems.texts
