"""Test HIT-UAV on a tree in the published layout, and on the real images."""

import json

import numpy as np
import pytest

from tests.helpers.aerial_trees import BOX, make_hit_uav
from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.hit_uav import HITUAV
from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs
from vislab.errors import DataError

ARGUMENTS = {"ann_file": "annotations/train.json", "data_prefix": {"img": "train"}}


class TestHITUAV(DatasetBehavior):
    loaders = (LoadImage, lambda: LoadAnnotations(with_rbbox=True))

    def build(self, tmp_path, pipeline):
        return HITUAV(data_root=str(make_hit_uav(tmp_path, [BOX] * 5)), pipeline=pipeline, **ARGUMENTS)


def change(root, edit) -> HITUAV:
    path = make_hit_uav(root) / "annotations/train.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return HITUAV(data_root=str(root), **ARGUMENTS)


def test_angles_are_clockwise_radians(tmp_path):
    make_hit_uav(tmp_path, [BOX, (40, 30, 12, 30, BOX[4] + np.pi / 2)])
    found = HITUAV(data_root=str(tmp_path), **ARGUMENTS).get_data_info(0)["instances"]
    np.testing.assert_allclose([i["rbbox"] for i in found], [BOX, BOX], atol=1e-9)


def test_regions_to_ignore(tmp_path):
    make_hit_uav(tmp_path, [BOX] * 5)
    found = HITUAV(data_root=str(tmp_path), **ARGUMENTS).get_data_info(0)["instances"]
    assert [(i["label"], i["ignore"]) for i in found] == [(0, 0), (1, 0), (2, 0), (3, 0), *((k, 1) for k in range(4))]


def test_the_other_name_of_the_list(tmp_path):
    dataset = change(tmp_path, lambda c: c.update(annotation=c.pop("annotations")))
    assert len(dataset.get_data_info(0)["instances"]) == 1


@pytest.mark.parametrize(
    "edit, text",
    [
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, 4]), r"annotation 0 has bbox \[1, 2, 3, 4\], expected"),
        (lambda c: c["annotations"][0].update(bbox=[40, 30, 30, 12, 23.0]), "the angle is 23"),
        (lambda c: c["annotations"][0].update(bbox=[40, 30, 30, "x", 0]), "'x' is not a coordinate"),
        (lambda c: c["annotations"][0].update(image_id=99), "image_id 99, which is not the id of an image"),
        (lambda c: c["annotations"][0].update(category_id=9), "category_id 9, which is not the id of a category"),
        (lambda c: c["images"].append(c["images"][0]), "two images have the same id"),
        (lambda c: c["images"][0].update(filename="x.jpg"), "1 of 4 images are missing"),
        (lambda c: c.pop("categories"), "has no list categories"),
        (lambda c: c["categories"][1].update(id=0), "category 0: two categories share the id or the name 'Car'"),
        (lambda c: c["categories"][1].update(name="Person"), "category 1: two categories share"),
        (
            lambda c: c["annotations"][0].update(difficult="false"),
            "annotation 0 has difficult 'false', expected 0 or 1",
        ),
        (lambda c: c.pop("annotations"), "has no annotations; expected one"),
        (lambda c: c.update(annotation=[]), "has annotation and annotations; expected one"),
        (lambda c: c["images"][1].update(filename="0.jpg"), "the image 0.jpg occurs twice"),
    ],
)
def test_mistakes_are_named(tmp_path, edit, text):
    with pytest.raises(DataError, match=text):
        change(tmp_path, edit)


@pytest.mark.data
def test_real_images(data_root):
    arguments = {"data_root": str(data_root / "hit_uav"), "ann_file": "annotations/train.json"}
    dataset = HITUAV(**arguments, data_prefix={"img": "train"}, pipeline=[
        LoadImage(), LoadAnnotations(with_rbbox=True), PackInputs()])  # fmt: skip
    found = [i for k in range(len(dataset)) for i in dataset.get_data_info(k)["instances"]]
    assert len(dataset) == 300 and sum(not i["ignore"] for i in found) == 2509 - 16 - 12
    assert sum(i["ignore"] for i in found) == 4 * 16 + 12
    assert dataset[0]["data_samples"].img_shape == (512, 640)
    chosen = HITUAV(**arguments, data_prefix={"img": "train"}, label_share=0.01)
    assert len(chosen) == 3
