"""Test Prediction: arrays, names, pictures, and formats, for each task."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, LabelData, PixelData
from PIL import Image
from pycocotools import mask as coco

from vislab.apis.prediction import Prediction, class_indices
from vislab.errors import ConfigError
from vislab.structures import DataSample
from vislab.visualization import Visualizer

PHOTO = np.full((40, 60, 3), 90, np.uint8)
CLASSES = ("person", "dog", "sky")


def prediction(**fields) -> Prediction:
    sample = DataSample(metainfo={"ori_shape": (40, 60), "img_path": "a/photo.jpg"}, **fields)
    return Prediction(sample, PHOTO, path="a/photo.jpg", metainfo={"classes": CLASSES})


def objects(**extra) -> Prediction:
    """Three objects, of which the last is improbable."""
    boxes = torch.tensor([[0.0, 0, 10, 20], [20, 10, 30, 30], [1, 2, 5, 6]])
    found = InstanceData(labels=torch.tensor([0, 1, 0]), scores=torch.tensor([0.9, 0.5, 0.1]), bboxes=boxes, **extra)
    return prediction(pred_instances=found)


def with_masks() -> Prediction:
    masks = torch.zeros(3, 40, 60, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, objects().boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    return objects(masks=masks)


def panoptic() -> Prediction:
    ids = torch.zeros(1, 40, 60, dtype=torch.int32)
    ids[:, :10], ids[:, 20:, :30] = 3, 7
    segments = [{"id": 3, "category": 2, "score": 0.9}, {"id": 7, "category": 0, "score": 0.8}]
    return prediction(pred_panoptic=PixelData(data=ids, metainfo={"segments_info": segments}))


def semantic() -> Prediction:
    labels = torch.full((1, 40, 60), 2)
    labels[:, 30:] = 1
    labels[:, :, :6] = 255
    return prediction(pred_sem_seg=PixelData(data=labels))


def rotated() -> Prediction:
    boxes = torch.tensor([[30.0, 20, 20, 10, 0.5]])
    return prediction(pred_instances=InstanceData(labels=torch.tensor([1]), scores=torch.ones(1), rbboxes=boxes))


def depth() -> Prediction:
    return prediction(pred_depth=PixelData(data=torch.linspace(0, 8, 2400).view(1, 40, 60)))


def classified() -> Prediction:
    return prediction(pred_label=LabelData(label=torch.tensor([1]), score=torch.tensor([0.2, 0.7, 0.1])))


def video_frame() -> Prediction:
    return prediction(pred_image=torch.rand(3, 40, 60))


EACH = {
    objects: ("boxes", "labels", "scores"),
    with_masks: ("boxes", "masks", "labels", "scores"),
    rotated: ("boxes", "rotated_boxes", "corners", "labels", "scores"),
    panoptic: ("panoptic",),
    semantic: ("semantic",),
    depth: ("depth",),
    classified: ("label", "probabilities"),
    video_frame: ("reconstruction",),
}


@pytest.mark.parametrize("make", EACH, ids=lambda make: make.__name__)
def test_each_task(make, tmp_path):
    """The fields there are, their pictures in the visualizer's drawing, and messages for the others."""
    found = make()
    assert found.fields == EACH[make]
    for name in ("boxes", "masks", "depth", "semantic", "probabilities", "reconstruction"):
        assert hasattr(found, name) == (name in EACH[make])
    drawn = found.plot()
    visualizer = Visualizer()
    visualizer.dataset_meta = {"classes": CLASSES}
    np.testing.assert_array_equal(drawn, visualizer.draw_datasample(PHOTO, found.sample, draw_gt=False))
    assert drawn.dtype == np.uint8 and (drawn[:40, :60] != PHOTO).any() and (PHOTO == 90).all()
    written = found.save(tmp_path / "out")
    assert written == tmp_path / "out" / "photo.png"
    np.testing.assert_array_equal(np.asarray(Image.open(written)), drawn)
    assert isinstance(found.to_dict(), dict) and "40x60" in repr(found)


def test_what_is_not_predicted_is_said():
    with pytest.raises(AttributeError, match="does not predict 'depth'; it predicts boxes, labels, scores"):
        objects().depth  # noqa: B018
    assert prediction().fields == () and "nothing" in repr(prediction())


def test_objects_as_arrays():
    found = with_masks()
    assert found.boxes.dtype == np.float32 and found.labels.dtype == np.int64 and found.masks.dtype == bool
    assert found.boxes[1].tolist() == [20, 10, 30, 30] and found.names == ["person", "dog", "person"]
    assert found.masks.sum(axis=(1, 2)).tolist() == [200, 200, 16]
    assert found.summary() == "1 person, 1 dog" and found.filter(0.05).summary() == "2 person, 1 dog"
    assert found.filter(0.95).summary() == "no objects"
    coded = objects(masks=[coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in found.masks])
    np.testing.assert_array_equal(coded.masks, found.masks)
    none = prediction(pred_instances=InstanceData(labels=torch.zeros(0, dtype=torch.int64), masks=[]))
    assert none.boxes.shape == (0, 4) and none.masks.shape == (0, 40, 60) and none.summary() == "no objects"


def test_choosing_objects():
    found = with_masks()
    assert found.filter(0.5).scores.tolist() == pytest.approx([0.9, 0.5]) and len(found.scores) == 3
    dogs = found.filter(classes=["dog"])
    assert dogs.names == ["dog"] and dogs.masks.shape == (1, 40, 60) and dogs.path == found.path
    assert found.filter(0.6, classes=[1]).boxes.shape == (0, 4)
    with pytest.raises(ConfigError, match="'dgo' is not one of 3; did you mean 'dog'"):
        found.filter(classes=["dgo"])
    with pytest.raises(ConfigError, match="the model predicts depth"):
        depth().filter(0.5)
    low = found.filter(0.05)
    assert (low.plot() != found.plot()).any(), "those of the threshold are drawn"
    for wrong in ("dog", [3], [-1], ["1"]):
        with pytest.raises(ConfigError):
            class_indices(wrong, CLASSES)


def test_rotated_boxes_by_hand():
    box = rotated()
    cos, sin = np.cos(0.5), np.sin(0.5)
    first = (30 - 10 * cos + 5 * sin, 20 - 10 * sin - 5 * cos)
    assert np.abs(box.corners[0] - first).sum(axis=1).min() < 1e-4
    half = (10 * cos + 5 * sin, 10 * sin + 5 * cos)
    expected = [30 - half[0], 20 - half[1], 30 + half[0], 20 + half[1]]
    np.testing.assert_allclose(box.boxes[0], expected, atol=1e-4)


def test_maps_and_classes():
    assert panoptic().summary() == "1 sky, 1 person"
    assert [s["name"] for s in panoptic().segments] == ["sky", "person"] and panoptic().panoptic[0, 0] == 3
    assert semantic().summary() == "sky 68%, dog 22%, 255 10%"
    assert depth().depth.dtype == np.float32 and depth().summary() == "depth 0.00 to 8.00 m"
    assert classified().label == 1 and classified().name == "dog" and classified().summary().startswith("dog 0.70")
    assert classified().top(2)[1] == (0, "person", pytest.approx(0.2))
    assert video_frame().reconstruction.shape == (40, 60, 3)


def test_half_precision_and_unknown_names():
    found = InstanceData(labels=torch.tensor([4]), scores=torch.tensor([0.5], dtype=torch.bfloat16))
    one = Prediction(DataSample(pred_instances=found), PHOTO)
    assert one.scores.dtype == np.float32 and one.names == ["4"]


def test_coco(tmp_path):
    rows = with_masks().to_coco(7)
    assert [r["bbox"] for r in rows] == [[0, 0, 10, 20], [20, 10, 10, 20], [1, 2, 4, 4]]
    assert [r["area"] for r in rows] == [200, 200, 16] and rows[1]["category_name"] == "dog"
    assert (rows[0]["image_id"], rows[1]["category_id"], rows[2]["score"]) == (7, 1, pytest.approx(0.1))
    np.testing.assert_array_equal(coco.decode(rows[1]["segmentation"]), with_masks().masks[1])
    assert [r["category_id"] for r in objects().to_coco(7, category_ids=[1, 18, 5])] == [1, 18, 1]
    assert objects().to_coco()[0]["image_id"] == "photo"
    np.testing.assert_allclose(rotated().to_coco()[0]["segmentation"], rotated().corners.reshape(1, 8))
    sky, person = panoptic().to_coco()
    assert sky["bbox"] == [0, 0, 60, 10] and person["bbox"] == [0, 20, 30, 20] and person["area"] == 600
    assert [r["category_name"] for r in semantic().to_coco()] == ["dog", "sky"]
    with pytest.raises(ConfigError, match="no objects or segments here; the model predicts depth"):
        depth().to_coco()
    with pytest.raises(ConfigError, match="no panoptic here"):
        semantic().to_coco(kind="panoptic")


def test_an_image_is_not_overwritten(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    found = Prediction(classified().sample, PHOTO, path=str(tmp_path / "photo.png"))
    with pytest.raises(ConfigError, match="would overwrite"):
        found.save(tmp_path)
    assert found.save(tmp_path / "other.jpg").is_file()
    for path, name in (
        ("http://host/a%20b.jpg?size=2", "a b.png"),
        ("what?.png", "what?.png"),
        ("what?2.png", "what?2.png"),
    ):
        assert Prediction(classified().sample, PHOTO, path=path).save(tmp_path).name == name
    frame = Prediction(classified().sample, PHOTO, path="film.mp4/00012", frame=12, time=0.5)
    assert frame.save(tmp_path).name == "film_00012.png"
