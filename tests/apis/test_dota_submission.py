"""Test merging detections in tiles by the index file, and the archive for the evaluation server."""

import json
import zipfile

import numpy as np
import pytest

from vislab.apis.dota_submission import merge_tiles, write_submission
from vislab.errors import ConfigError, DataError
from vislab.structures import rotated_boxes as rb

BOX = (150.0, 60.0, 40.0, 12.0, 0.5)  # in the frame of the image P1
PLACES = {"x": ("P1", 0), "y": ("P1", 100), "z": ("P2", 0)}  # names say nothing about places


def write(root, found: dict[str, list[dict]]):
    tiles = [{"name": n, "image": i, "left": left, "top": 0, "width": 200, "height": 100}
             for n, (i, left) in PLACES.items()]  # fmt: skip
    images = [{"name": name, "height": 100, "width": 300} for name in ("P1", "P2")]
    (root / "tiles.json").write_text(json.dumps({"images": images, "tiles": tiles}))
    content = {name: [{"instances": found.get(name, [])}] for name in PLACES} | (
        {} if set(found) <= set(PLACES) else {name: [{"instances": []}] for name in found}
    )
    (root / "predictions.json").write_text(json.dumps(content))
    return root / "tiles.json", root / "predictions.json"


def item(name="ship", score=0.5, box=BOX, left=0) -> dict:
    return {"label": {"id": 0, "name": name}, "score": score, "rbbox": [box[0] - left, *box[1:]]}


def test_one_object_seen_in_two_tiles(tmp_path):
    found = {"x": [item(score=0.5), item("plane", 0.3)], "y": [item(score=0.8, left=100)], "z": []}
    images, names = merge_tiles(*write(tmp_path, found))
    assert names == ["ship", "plane"] and len(images["P2"]) == 0
    assert images["P1"].scores.tolist() == [0.8, 0.3] and images["P1"].labels.tolist() == [0, 1]
    np.testing.assert_allclose(images["P1"].rbboxes.numpy(), [BOX, BOX])
    assert merge_tiles(*write(tmp_path, found), min_score=0.4)[0]["P1"].scores.tolist() == [0.8]


def test_archive(tmp_path):
    images, names = merge_tiles(*write(tmp_path, {"x": [item(score=0.25)]}))
    write_submission(images, names, tmp_path / "Task1.zip", ("plane", "ship"))
    with zipfile.ZipFile(tmp_path / "Task1.zip") as archive:
        assert archive.namelist() == ["Task1_plane.txt", "Task1_ship.txt"]
        assert archive.read("Task1_plane.txt") == b""
        words = archive.read("Task1_ship.txt").decode().split()
    assert words[:2] == ["P1", "0.250000"]
    np.testing.assert_allclose(np.array(words[2:], float), rb.to_dota(np.array(BOX)), atol=0.01)
    with pytest.raises(DataError, match="class 'ship', which is not one of plane"):
        write_submission(images, names, tmp_path / "b.zip", ("plane",))
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize(
    "found, text",
    [
        ({"w": []}, "1 of 4 tiles have no entry in .*tiles.json, the first is w"),
        ({"x": [{"label": 3, "score": 0.5, "rbbox": [*BOX]}]}, "detection 0 of x needs a label with a name"),
        ({"x": [item() | {"rbbox": [1, 2, 3]}]}, "rbbox has 3 numbers"),
        ({"x": [item(), item(score=float("nan"))]}, r"detection 1 of x: score nan and rbbox .*: expected finite"),
        ({"x": [item(box=(float("inf"), *BOX[1:]))]}, "expected finite numbers"),
        ({"x": [item(box=(*BOX[:2], -4.0, *BOX[3:]))]}, "sides of at least 0"),
        ({"x": [item(box=(*BOX[:4], 45.0))]}, "an angle in radians"),
    ],
)
def test_mistakes_are_named(tmp_path, found, text):
    with pytest.raises(DataError, match=text):
        merge_tiles(*write(tmp_path, found))


def test_settings_are_checked(tmp_path):
    for changed in ({"threshold": 10}, {"threshold": float("nan")}, {"min_score": -1}):
        with pytest.raises(ConfigError, match="expected an IoU and a score in 0..1"):
            merge_tiles(*write(tmp_path, {}), **changed)


def test_missing_and_damaged_predictions(tmp_path):
    index, predictions = write(tmp_path, {})
    with pytest.raises(DataError, match="cannot read the predictions"):
        merge_tiles(index, tmp_path / "none.json")
    predictions.write_text('{"x": [{"instances": []}]}')
    with pytest.raises(DataError, match="2 of 3 tiles have no predictions"):
        merge_tiles(index, predictions)
    for text in ("[]", '{"x": 3}', "{"):
        predictions.write_text(text)
        with pytest.raises(DataError, match="is not the predictions.json"):
            merge_tiles(index, predictions)
