"""Test DIOR and DIOR-R on trees in the published layout: both dialects of XML, CRLF, names in any case."""

import numpy as np
import pytest

from tests.helpers.aerial_trees import BOX, dior_xml, make_dior, robndbox
from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.dior import DIOR
from vislab.datasets.transforms import LoadAnnotations, LoadImage
from vislab.errors import ConfigError, DataError
from vislab.structures import rotated_boxes as rb


class TestDIOR(DatasetBehavior):
    loaders = (LoadImage, lambda: LoadAnnotations(with_rbbox=True))

    def build(self, tmp_path, pipeline):
        root = tmp_path / "DIOR"
        return DIOR(data_root=str(root if root.exists() else make_dior(root)), pipeline=pipeline)


def boxes(dataset, index=0) -> np.ndarray:
    return np.array([i["rbbox"] for i in dataset.get_data_info(index)["instances"]])


def test_splits(tmp_path):
    make_dior(tmp_path)
    root = str(tmp_path)
    assert len(DIOR(data_root=root, split="train")) == 2 and len(DIOR(data_root=root, split=["train", "val"])) == 4
    test = DIOR(data_root=root, split="test")
    assert test.get_data_info(0)["img_path"].endswith("JPEGImages-test/11726.jpg")
    assert len(test.metainfo["classes"]) == 20


@pytest.mark.parametrize("dialect", ["corners", "center"])
def test_dialects(tmp_path, dialect):
    make_dior(tmp_path, [("Ship", robndbox(dialect=dialect)), ("expressway-service-area", robndbox(dialect="corners"))])
    dataset = DIOR(data_root=str(tmp_path), split="train")
    np.testing.assert_allclose(boxes(dataset), [BOX, BOX], atol=1e-4)
    names = [dataset.metainfo["classes"][i["label"]] for i in dataset.get_data_info(0)["instances"]]
    assert names == ["ship", "Expressway-Service-area"]


def test_horizontal_boxes(tmp_path):
    dataset = DIOR(data_root=str(make_dior(tmp_path)), split="val", boxes="horizontal")
    expected = rb.rboxes_to_hboxes(np.array(BOX)).round()
    np.testing.assert_allclose(dataset.get_data_info(0)["instances"][0]["bbox"], expected)


def test_difficult_objects(tmp_path):
    make_dior(tmp_path)
    path = tmp_path / "Annotations/Oriented Bounding Boxes/00001.xml"
    path.write_bytes(dior_xml([("ship", robndbox())], difficult=1))
    for difficult, ignored in (("ignore", 1), ("use", 0)):
        dataset = DIOR(data_root=str(tmp_path), split="train", difficult=difficult)
        assert dataset.get_data_info(0)["instances"][0]["ignore"] == ignored


@pytest.mark.parametrize(
    "objects, text",
    [
        ([("ship", robndbox(dialect="upright"))], r"00001.xml, object 1 has a horizontal box.*boxes='horizontal'"),
        ([("ship", "<robndbox><a>1</a><b>2</b></robndbox>")], "robndbox contains a, b; expected the corners"),
        ([("ship", "<polygon/>")], "no robndbox"),
        (
            [("ship", robndbox((40, 30, 30, 12, 57.0), "center"))],
            "the angle is 57, beyond pi: it seems",
        ),
        ([("ship", robndbox().replace("40", "4O"))], "is not a coordinate"),
        ([("ship", robndbox().replace("y_left_top", "z"))], "robndbox has no y_left_top"),
        ([("windmil", robndbox())], "unknown class 'windmil'; did you mean 'windmill'"),
        ([("", robndbox())], "object 1 has no name"),
        (
            [("ship", robndbox() + "</object><object><name>dam</name><difficult>yes</difficult>" + robndbox())],
            "object 2: 'yes' is not a difficulty",
        ),
        ([("ship", robndbox((400, 30, 30, 12, 0.1)))], "outside the image of 64x96"),
    ],
)
def test_mistakes_are_named(tmp_path, objects, text):
    make_dior(tmp_path, objects)
    with pytest.raises(DataError, match=f"1 problem(?s:.)*{text}"):
        DIOR(data_root=str(tmp_path))


def test_missing_and_damaged_files_are_named_together(tmp_path):
    make_dior(tmp_path)
    folder = tmp_path / "Annotations/Oriented Bounding Boxes"
    (folder / "00001.xml").unlink()
    (folder / "00002.xml").write_text("<annotation><object>")
    (tmp_path / "JPEGImages-trainval/00003.jpg").unlink()
    with pytest.raises(
        DataError, match="(?s)3 problems.*00001.xml is missing.*00002.xml is not a readable XML.*image 00003 is listed"
    ):
        DIOR(data_root=str(tmp_path))


@pytest.mark.parametrize(
    "content, text",
    [
        ("<kml><Placemark/></kml>", "00001.xml contains <kml>; expected <annotation>"),
        ('<annotation xmlns="http://x"></annotation>', "contains <{http://x}annotation>"),
        ('<?xml version="1.0" encoding="foo"?><annotation></annotation>', "unknown encoding: foo"),
    ],
)
def test_files_of_another_kind_are_not_images_without_objects(tmp_path, content, text):
    make_dior(tmp_path)
    (tmp_path / "Annotations/Oriented Bounding Boxes/00001.xml").write_text(content)
    with pytest.raises(DataError, match=text):
        DIOR(data_root=str(tmp_path))


def test_two_images_of_one_name_are_refused(tmp_path):
    make_dior(tmp_path)
    (tmp_path / "JPEGImages-test/00001.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="JPEGImages-trainval/00001.jpg and .*JPEGImages-test/00001.jpg are two images"):
        DIOR(data_root=str(tmp_path))


def test_difficult_objects_are_ignored_in_all_spellings(tmp_path):
    make_dior(tmp_path)
    path = tmp_path / "Annotations/Oriented Bounding Boxes/00001.xml"
    text = path.read_text()
    for word, ignore in (("1", 1), ("true", 1), ("False", 0), ("", 0), (" 0 ", 0)):
        path.write_text(text.replace("<difficult>0<", f"<difficult>{word}<"))
        found = DIOR(data_root=str(tmp_path)).get_data_info(0)["instances"]
        assert [i["ignore"] for i in found] == [ignore]


def test_a_rotated_box_is_not_read_as_horizontal(tmp_path):
    make_dior(tmp_path, [("ship", robndbox())])
    with pytest.raises(DataError, match="a rotated box"):
        DIOR(data_root=str(tmp_path), boxes="horizontal")


def test_settings_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="boxes='rotated' is not one of"):
        DIOR(data_root=str(tmp_path), boxes="rotated")
    for split in (3, [], ["train", None]):
        with pytest.raises(ConfigError, match="expected the name of a list"):
            DIOR(data_root=str(tmp_path), split=split)
    (tmp_path / "ImageSets").mkdir()
    with pytest.raises(DataError, match="has no images"):
        DIOR(data_root=str(tmp_path))
    make_dior(tmp_path / "all")
    with pytest.raises(DataError, match="cannot read the list .*tests.txt"):
        DIOR(data_root=str(tmp_path / "all"), split="tests")
