"""Test that metrics use the coordinates of the original image or raise an error."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from vislab.datasets.transforms import (
    Albu,
    CenterCrop,
    LoadAnnotations,
    LoadImage,
    PackInputs,
    Pad,
    PanopticToInstances,
    RandomFlip,
    Resize,
    SemSegToInstances,
)
from vislab.errors import DataError
from vislab.evaluation.coco import CocoMetric
from vislab.evaluation.depth import DepthMetric
from vislab.evaluation.frame import original_labels
from vislab.evaluation.panoptic import PanopticMetric
from vislab.evaluation.semantic import SemSegMetric
from vislab.structures import DataSample

BOXES = [[10.0, 10, 30, 30], [52, 22, 68, 24]]
POLYGONS = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in BOXES]
RESIZE = Resize(size=(120, 240))


def evaluate(*steps, iou_types=("bbox",)) -> dict[str, float]:
    """AP of perfect detections in the original frame; the image is 60x80."""
    instances = [
        {"bbox": b, "label": 0, "mask": m, "id": 1, "area": None} for b, m in zip(BOXES, POLYGONS, strict=True)
    ]
    results = {"img": np.zeros((60, 80, 3), np.uint8), "img_path": "a.jpg", "instances": instances}
    for step in [LoadImage(), *steps, PackInputs()]:
        results = step(results)
    sample = results["data_samples"]
    masks = torch.zeros(2, 60, 80, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, np.array(BOXES, int), strict=True):
        mask[y1:y2, x1:x2] = True
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(BOXES),
        labels=torch.zeros(2, dtype=torch.long),
        scores=torch.tensor([0.9, 0.8]),
        masks=masks,
    )
    metric = CocoMetric(iou_types=iou_types)
    metric.process({}, [sample.to_dict()])
    return metric.compute_metrics(metric.results)


@pytest.mark.parametrize(
    "steps",
    [
        [LoadAnnotations(), RESIZE],
        [RESIZE, LoadAnnotations()],
        [Resize(size=(30, 40)), LoadAnnotations(), RESIZE],
        [LoadAnnotations(with_mask=True), RESIZE],
        [LoadAnnotations(), Albu(transforms=[{"name": "Resize", "height": 120, "width": 240, "p": 1}])],
        [LoadAnnotations(), RandomFlip(prob=0), CenterCrop(size=100), Pad(size=5)],
    ],
)
def test_boxes_are_compared_in_the_original_frame(steps):
    values = evaluate(*steps)
    assert values["bbox_mAP"] == 100 and values["bbox_mAP_s"] == 100 and "bbox_mAP_m" not in values


def test_masks_behind_a_resize_are_compared_and_before_it_refused():
    assert evaluate(RESIZE, LoadAnnotations(with_mask=True), iou_types=("bbox", "segm"))["segm_mAP"] == 100
    with pytest.raises(DataError, match=r"masks of a\.jpg"):
        evaluate(LoadAnnotations(with_mask=True), RESIZE, iou_types=("segm",))


def test_ground_truth_that_vanished_in_a_resize_is_not_lost_silently():
    for shrink in (Resize(size=(6, 8)), Albu(transforms=[{"name": "Resize", "height": 6, "width": 8, "p": 1}])):
        with pytest.raises(DataError, match=r"1 labeled instances of a\.jpg lost all pixels.*LoadAnnotations aft"):
            evaluate(LoadAnnotations(with_mask=True), shrink)


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (RandomFlip(prob=1), "flip"),
        (CenterCrop(size=50), "crop"),
        (Pad(size=200), "pad"),
        (Albu(transforms=[{"name": "OneOf", "transforms": [{"name": "VerticalFlip"}]}]), "Albu VerticalFlip"),
    ],
)
def test_an_image_that_left_its_frame_is_refused_by_every_metric(step, name):
    with pytest.raises(DataError, match=rf"CocoMetric: a\.jpg went through {name} in the test pipeline.*remove"):
        evaluate(LoadAnnotations(), step)
    results = PackInputs()(step(LoadImage()({"img": np.zeros((60, 80, 3), np.uint8), "img_path": "a.jpg"})))
    sample = results["data_samples"]
    for kind, metric in (
        ("sem_seg", SemSegMetric(num_classes=2)),
        ("depth", DepthMetric()),
        ("panoptic", PanopticMetric()),
    ):
        for side in ("gt", "pred"):
            setattr(sample, f"{side}_{kind}", PixelData(data=torch.ones(1, 60, 80, dtype=torch.int32)))
        metric.dataset_meta = {"classes": ("a", "b")}
        with pytest.raises(DataError, match=f"{type(metric).__name__}: a.jpg went through {name}"):
            metric.process({}, [sample.to_dict()])


def test_instances_made_of_a_map_lie_in_its_frame():
    ids = np.zeros((60, 80), np.int32)
    for k, (x1, y1, x2, y2) in enumerate(np.array(BOXES, int), start=1):
        ids[y1:y2, x1:x2] = k
    labels = {"gt_panoptic": ids, "gt_sem_seg": np.where(ids > 0, ids - 1, 255).astype(np.uint8)}
    labels["segments_info"] = [{"id": k, "category": k - 1, "iscrowd": 0} for k in (1, 2)]

    def load(results):
        return results | labels

    for make in (PanopticToInstances(), SemSegToInstances()):
        for steps in ([load, make, RESIZE], [load, RESIZE, make]):
            results = {"img": np.zeros((60, 80, 3), np.uint8), "img_path": "a.jpg"}
            for step in [LoadImage(), *steps, PackInputs()]:
                results = step(results)
            sample = results["data_samples"]
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor(BOXES), labels=torch.tensor([0, 1]), scores=torch.tensor([0.9, 0.8])
            )
            metric = CocoMetric()
            metric.process({}, [sample.to_dict()])
            assert metric.compute_metrics(metric.results)["bbox_mAP"] == 100


def test_labels_are_brought_back_from_unequal_scales():
    objects = InstanceData(
        labels=torch.tensor([0]),
        bboxes=torch.tensor([[2.0, 3.0, 4.0, 6.0]]),
        rbboxes=torch.tensor([[3.0, 4.5, 2.0, 3.0, 0.0]]),
    )
    sample = DataSample(metainfo={"ori_shape": (12, 24), "gt_scale_factor": (1 / 3, 0.5)}, gt_instances=objects)
    moved = original_labels(sample).gt_instances
    torch.testing.assert_close(moved.bboxes, torch.tensor([[6.0, 6.0, 12.0, 12.0]]))
    torch.testing.assert_close(moved.rbboxes, torch.tensor([[9.0, 9.0, 6.0, 6.0, 0.0]]))
    assert sample.gt_instances.bboxes[0, 0] == 2 and moved.labels == 0
