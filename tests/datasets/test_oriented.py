"""Test what all datasets with rotated boxes share: classes by name, label shares, difficult objects, empty images."""

import inspect
import typing

import numpy as np
import pytest

from tests.helpers.aerial_trees import BOX, make_hit_uav
from vislab.datasets.corner_text import DOTA, CornerText
from vislab.datasets.dior import DIOR
from vislab.datasets.hit_uav import HITUAV
from vislab.datasets.oriented import OrientedArguments, OrientedDataset
from vislab.datasets.transforms import Albu, LoadAnnotations, LoadImage, PackInputs, RandomFlip
from vislab.engine.config.schema import arguments_of
from vislab.errors import ConfigError, DataError
from vislab.structures import rotated_boxes as rb


def build(root, **arguments) -> HITUAV:
    return HITUAV(data_root=str(root), ann_file="annotations/train.json", data_prefix={"img": "train"}, **arguments)


def test_labels_are_places_in_the_given_list(tmp_path):
    make_hit_uav(tmp_path, [BOX] * 4)
    given = ("tree", "bicycle", "Other Vehicle", "person", "car")
    dataset = build(tmp_path, metainfo={"classes": given})
    assert [i["label"] for i in dataset.get_data_info(0)["instances"]] == [3, 4, 1, 2]
    assert dataset.metainfo["classes"] == given


def test_a_class_that_is_not_in_the_list_is_refused(tmp_path):
    make_hit_uav(tmp_path, [BOX] * 2)
    with pytest.raises(DataError, match="3 problems(?s:.)*unknown class 'Car'; did you mean 'Cart'"):
        build(tmp_path, metainfo={"classes": ["Person", "Cart"]})


def test_a_share_of_the_labels(tmp_path, logged):
    make_hit_uav(tmp_path, count=20)
    few, more = (build(tmp_path, label_share=share, label_seed=2) for share in (0.25, 0.5))
    chosen = [{dataset.get_data_info(i)["img_id"] for i in range(len(dataset))} for dataset in (few, more)]
    assert len(chosen[0]) == 5 and chosen[0] < chosen[1]
    assert "label_share=0.25, label_seed=2: 5 of 20 images are used" in logged()
    with pytest.raises(ConfigError, match="did you mean 0.1"):
        build(tmp_path, label_share=10)


def test_images_without_objects_are_legal_and_can_be_left_out(tmp_path):
    make_hit_uav(tmp_path)
    assert len(build(tmp_path)) == 4 and len(build(tmp_path, filter_empty=True)) == 3
    item = build(tmp_path, pipeline=[LoadImage(), LoadAnnotations(with_rbbox=True), PackInputs()])[3]
    assert item["data_samples"].gt_instances.rbboxes.shape == (0, 5)


def test_a_thousand_objects(tmp_path):
    make_hit_uav(tmp_path, [BOX] * 1000)
    item = build(tmp_path, pipeline=[LoadImage(), LoadAnnotations(with_rbbox=True), PackInputs()])[0]
    assert len(item["data_samples"].gt_instances) == 1000 + 3 * 200  # DontCare stands for each of four classes


def test_all_problems_are_named_together(tmp_path):
    make_hit_uav(tmp_path, [(500, 30, 30, 12, 0), (40, 30, 30, 12, 90)])
    with pytest.raises(DataError, match="(?s)6 problems.*in degrees.*outside the image"):
        build(tmp_path)


def test_settings_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="difficult='skip' is not one of"):
        build(tmp_path, difficult="skip")
    with pytest.raises(ConfigError, match=r"needs classes=\[\.\.\.\]"):
        OrientedDataset(data_root="")
    with pytest.raises(ConfigError, match="differ only in case"):
        OrientedDataset(data_root="", classes=["Small Vehicle", "small-vehicle"])


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_boxes_follow_the_pixels_when_flipped(tmp_path, direction):
    before, after = _bright_box(tmp_path, RandomFlip(prob=1.0, direction=direction))
    assert not np.allclose(before, after)


@pytest.mark.parametrize("angle", [90, 180, 37])
def test_boxes_follow_the_pixels_when_rotated(tmp_path, angle):
    _bright_box(tmp_path, Albu(transforms=[{"name": "Affine", "rotate": (angle, angle), "fit_output": True}]))


def _bright_box(root, step) -> tuple[np.ndarray, np.ndarray]:
    """The box before and after a transform, whose pixels are bright and all others dark."""
    make_hit_uav(root, [BOX], count=2)
    y, x = np.mgrid[:64, :96] + 0.5
    cos, sin = np.cos(BOX[4]), np.sin(BOX[4])
    u, v = (x - BOX[0]) * cos + (y - BOX[1]) * sin, (y - BOX[1]) * cos - (x - BOX[0]) * sin
    inside = (np.abs(u) <= BOX[2] / 2) & (np.abs(v) <= BOX[3] / 2)

    def paint(results):
        results["img"] = np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
        return results

    dataset = build(root, pipeline=[LoadImage(), paint, LoadAnnotations(with_rbbox=True), step, PackInputs()])
    item = dataset[0]
    box = item["data_samples"].gt_instances.rbboxes[0].numpy().astype(float)
    seen = rb.mask_to_rbox((item["inputs"][0] > 127).numpy())
    np.testing.assert_allclose(box[:4], seen[:4], atol=2)
    assert abs((box[4] - seen[4] + np.pi / 2) % np.pi - np.pi / 2) < 0.1
    return np.array(BOX), box


@pytest.mark.parametrize("kind", [CornerText, DIOR, DOTA, HITUAV])
def test_subclasses_take_and_check_the_common_arguments(kind):
    signature = inspect.signature(OrientedDataset.__init__).parameters
    hints = typing.get_type_hints(OrientedDataset.__init__)
    common = {name: hints[name] for name in OrientedArguments.__annotations__}
    assert typing.get_type_hints(OrientedArguments) == common
    assert set(signature) == {*common, "self", "data_root", "ann_file", "data_prefix"}
    known = arguments_of(kind)
    assert common.items() <= known.kinds.items() and not known.open
    with pytest.raises(TypeError, match="lable_share"):
        kind(data_root="", **({"ann_file": ""} if kind is HITUAV else {}), lable_share=0.1)
