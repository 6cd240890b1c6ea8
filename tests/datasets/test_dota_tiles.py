"""Test the tiles of DOTA: pixels and objects, the index file, stopped runs and invalid input."""

import json

import cv2
import numpy as np
import pytest

from tests.helpers.aerial_trees import dota_line, write_picture
from vislab.datasets import dota_tiles
from vislab.datasets.corner_text import DOTA
from vislab.datasets.dota_tiles import cut_tiles, read_index
from vislab.errors import ConfigError, DataError

TILE = {"name": "a", "image": "b", "left": 0, "top": 0, "width": 1, "height": 1}
SETTINGS = {"size": 64, "overlap": 16}


def make(root, boxes=((30, 20, 20, 10, 0.3), (100, 60, 20, 10, 0.0), (64, 40, 24, 8, 0.0)), count=2):
    for i in range(count):
        write_picture(root / f"images/P{i}.png", (100, 150), seed=i)
        (root / "labelTxt").mkdir(exist_ok=True)
        lines = [dota_line(box, "ship", k % 2) for k, box in enumerate(boxes)]
        (root / f"labelTxt/P{i}.txt").write_text("\n".join(["imagesource:x", "gsd:1", *lines, ""]))
    return root


def cut(root, out, **settings):
    return list(cut_tiles(root, out, **{**SETTINGS, **settings}))


def test_pixels_and_objects(tmp_path):
    assert cut(make(tmp_path / "a"), tmp_path / "out") == [(1, 2), (2, 2)]
    sizes, places = read_index(tmp_path / "out/tiles.json")
    assert sizes == {"P0": (100, 150), "P1": (100, 150)} and len(places) == 2 * 3 * 2
    whole = cv2.imread(str(tmp_path / "a/images/P1.png"))
    tiles = DOTA(data_root=str(tmp_path / "out"))
    found = []
    for i in range(len(tiles)):
        record = tiles.get_data_info(i)
        place = places[record["img_id"]]
        if place.image != "P1":
            continue
        left, top, width, height = place.tile
        part = cv2.imread(record["img_path"])
        np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])
        found += [(*np.round(np.array(o["rbbox"][:2]) + (left, top)), o["ignore"]) for o in record["instances"]]
    assert {(30, 20, 0), (100, 60, 1), (64, 40, 0)} == set(found)


@pytest.mark.parametrize("limit, kept", [(0.7, False), (0.5, True)])
def test_objects_that_are_mostly_outside_are_left_out(tmp_path, limit, kept):
    """0.6 of the object is in the first tile, whose right border is at 64."""
    cut(make(tmp_path / "a", [(62, 20, 20, 8, 0.0)], 1), tmp_path / "out", min_visibility=limit)
    text = (tmp_path / "out/labelTxt/P0__0_0.txt").read_text()
    assert text == ("52 16 72 16 72 24 52 24 ship 0\n" if kept else "")


def test_a_stopped_run_is_continued(tmp_path, monkeypatch):
    make(tmp_path / "a")
    expected = {**files(cut_to(tmp_path / "a", tmp_path / "whole"))}
    written = []
    write = dota_tiles.write_atomically

    def stop(path, *args):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *args)

    monkeypatch.setattr(dota_tiles, "write_atomically", stop)
    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path / "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(dota_tiles, "write_atomically", lambda path, *args: (written.append(path), write(path, *args)))
    (tmp_path / "out.partial/images/x.png.77.tmp").write_bytes(b"half")
    with pytest.raises(ConfigError, match="is an incomplete run with size=64"):
        cut(tmp_path / "a", tmp_path / "out", size=80)
    with pytest.raises(ConfigError, match="is an incomplete run with classes=None: repeat"):  # else tiles are mixed
        cut(tmp_path / "a", tmp_path / "out", classes=["ship"])
    settings = tmp_path / "out.partial" / dota_tiles._SETTINGS
    kept = settings.read_bytes()
    for content, text in ((b"{", "is damaged"), (b"[]", "does not have the settings")):
        settings.write_bytes(content)
        with pytest.raises(DataError, match=text):
            cut(tmp_path / "a", tmp_path / "out")
    settings.write_bytes(kept)
    assert files(cut_to(tmp_path / "a", tmp_path / "out")) == expected
    assert len(written) == len(set(written)) == 12  # nothing was written twice


def cut_to(root, out):
    cut(root, out)
    return out


def files(root) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_several_processes_give_the_same(tmp_path):
    make(tmp_path / "a")
    one, two = tmp_path / "one", tmp_path / "two"
    cut(tmp_path / "a", one)
    cut(tmp_path / "a", two, workers=2)
    assert files(one) == files(two)


def test_a_split_without_labels(tmp_path):
    make(tmp_path / "a")
    cut(tmp_path / "a", tmp_path / "out", labels="")
    assert not list((tmp_path / "out/labelTxt").iterdir())
    assert "instances" not in DOTA(data_root=str(tmp_path / "out"), labels="").get_data_info(0)


def test_nothing_is_overwritten(tmp_path):
    make(tmp_path / "a")
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="out exists: choose another folder"):
        cut(tmp_path / "a", tmp_path / "out")
    (tmp_path / "new.partial").mkdir()
    with pytest.raises(ConfigError, match="new.partial exists and is not an incomplete run"):
        cut(tmp_path / "a", tmp_path / "new")


def test_invalid_labels_leave_no_folder(tmp_path):
    make(tmp_path / "a", [(900, 20, 20, 10, 0)])
    with pytest.raises(DataError, match="outside the image"):
        cut(tmp_path / "a", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    with pytest.raises(ConfigError, match="min_visibility=70"):
        cut(tmp_path / "a", tmp_path / "out", min_visibility=70)


@pytest.mark.parametrize(
    "content, text",
    [
        ("[", "is not an index of tiles"),
        (json.dumps({"images": []}), "is not an index of tiles"),
        (json.dumps({"images": [], "tiles": [TILE | {"left": float("inf")}]}), "is not an index of tiles"),
        (
            json.dumps({"images": [], "tiles": [TILE]}),
            "belongs to the image 'b', which is not listed",
        ),
    ],
)
def test_what_is_no_index(tmp_path, content, text):
    (tmp_path / "tiles.json").write_text(content)
    with pytest.raises(DataError, match=text):
        read_index(tmp_path / "tiles.json")
    with pytest.raises(DataError, match="cannot read the index"):
        read_index(tmp_path / "none.json")
