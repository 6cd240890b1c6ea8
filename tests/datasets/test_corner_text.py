"""Test text files of corners: DOTA's format and fractions, which the lines tell apart, and the real tiles of DOTA."""

import numpy as np
import pytest

from tests.helpers.aerial_trees import BOX, dota_line, fraction_line, make_corner_text
from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.corner_text import DOTA, CornerText
from vislab.datasets.transforms import LoadAnnotations, LoadImage
from vislab.errors import DataError

HEADER = ["imagesource:GoogleEarth", "gsd:0.146343590398"]


class TestCornerText(DatasetBehavior):
    loaders = (LoadImage, lambda: LoadAnnotations(with_rbbox=True))

    def build(self, tmp_path, pipeline):
        root = tmp_path / "set"
        if not root.exists():
            make_corner_text(root, [fraction_line(), fraction_line(label=1)])
        return CornerText(data_root=str(root), images="images/*.jpg", classes=["ship", "plane"], pipeline=pipeline)


class TestDOTA(DatasetBehavior):
    loaders = (LoadImage, lambda: LoadAnnotations(with_rbbox=True))

    def build(self, tmp_path, pipeline):
        root = tmp_path / "set"
        if not root.exists():
            make_corner_text(root, [*HEADER, dota_line(), dota_line(name="plane", difficult=1)], suffix=".png")
        return DOTA(data_root=str(root), pipeline=pipeline)


def read(root, *lines) -> list[dict]:
    make_corner_text(root, [*lines])
    return DOTA(data_root=str(root), images="images/*.jpg").get_data_info(0)["instances"]


def test_both_formats_give_the_same_boxes(tmp_path):
    pixels = read(tmp_path, *HEADER, dota_line(name="Storage_Tank"), dota_line(name="ship", difficult=1))
    np.testing.assert_allclose([i["rbbox"] for i in pixels], [BOX, BOX], atol=2e-3)
    assert [(i["label"], i["ignore"], i["id"]) for i in pixels] == [(9, 0, 3), (6, 1, 4)]
    make_corner_text(tmp_path / "b", [fraction_line(label=6)])
    fractions = DOTA(data_root=str(tmp_path / "b"), images="images/*.jpg").get_data_info(0)["instances"]
    np.testing.assert_allclose(fractions[0]["rbbox"], BOX, atol=2e-3)
    assert fractions[0]["label"] == 6


def test_a_line_without_difficulty(tmp_path):
    assert read(tmp_path, dota_line().removesuffix(" 0"))[0]["ignore"] == 0


@pytest.mark.parametrize(
    "line, text",
    [
        ("1 2 3 4 ship 0", r"P0000.txt, line 1: '1 2 3 4 ship 0' has 6 words; expected 'x1 y1"),
        ("0 .5 .5 .1 .1", "has 5 words"),
        (dota_line(name="shap"), "unknown class 'shap'; did you mean 'ship'"),
        (dota_line().removesuffix("0") + "easy", "'easy' is not a difficulty"),
        (dota_line((400, 30, 30, 12, 0)), "outside the image of 64x96"),
        (fraction_line(label=15), "class number is '15'; there are 15 classes, 0..14"),
        (fraction_line().replace("0 ", "0.5 ", 1), "class number is '0.5'"),
        (fraction_line((40, 300, 30, 12, 0)), "is not a fraction of the image"),
        (" ".join(fraction_line().split()[1:]) + " ship 0", "in fractions of the image"),
        (dota_line().removesuffix("0") + "²", "'²' is not a difficulty"),
        (fraction_line().replace("0 ", "9" * 5000 + " ", 1), "class number is '9+'; there are 15"),
        (fraction_line().replace("0 ", "١ ", 1), "has 9 words"),
        ("nan " + " ".join(dota_line().split()[1:]), "'nan' is not a coord"),
    ],
)
def test_mistakes_are_named(tmp_path, line, text):
    with pytest.raises(DataError, match=f"1 problem(?s:.)*{text}"):
        read(tmp_path, line, dota_line())


def test_an_image_without_text_file_is_refused(tmp_path):
    make_corner_text(tmp_path, [dota_line()])
    (tmp_path / "labelTxt/P0001.txt").unlink()
    with pytest.raises(DataError, match="1 of 3 images .* have no label file"):
        DOTA(data_root=str(tmp_path), images="images/*.jpg")


@pytest.mark.data
@pytest.mark.parametrize("name, images, count", [("dota8", 4, 125), ("dior_photos", 60, 2197)])
def test_real_images(data_root, name, images, count):
    classes = [f"class {i}" for i in range(15)]
    root = str(data_root / name)
    dataset = CornerText(data_root=root, images="images/train/*.jpg", labels="labels/train/*.txt", classes=classes)
    found = [i for k in range(len(dataset)) for i in dataset.get_data_info(k)["instances"]]
    assert len(dataset) == images and len(found) == count
