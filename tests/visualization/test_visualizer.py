"""Test the visualizer on samples of all tasks."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, LabelData, PixelData
from mmengine.visualization import LocalVisBackend
from pycocotools import mask as coco

from vislab.datasets.scenes import Scenes
from vislab.datasets.transforms import LoadImage, PackInputs, RandomFlip
from vislab.structures import DataSample
from vislab.visualization import Visualizer
from vislab.visualization.browse import browse

SCENES = {"type": Scenes, "length": 4, "size": (64, 96), "num_objects": (2, 3)}
PIPELINE = [{"type": LoadImage}, {"type": RandomFlip, "prob": 1.0}, {"type": PackInputs}]


@pytest.fixture
def item():
    item = Scenes(length=4, size=(64, 96), num_objects=(2, 3), pipeline=[LoadImage(), PackInputs()])[1]
    return np.ascontiguousarray(item["inputs"].permute(1, 2, 0).numpy()), item["data_samples"]


@pytest.fixture
def visualizer():
    visualizer = Visualizer(name="test")
    visualizer.dataset_meta = Scenes.METAINFO
    return visualizer


def _predict(sample: DataSample) -> DataSample:
    truth = sample.gt_instances
    sample.pred_instances = InstanceData(
        labels=truth.labels, bboxes=truth.bboxes, masks=truth.masks, scores=torch.linspace(0.9, 0.1, len(truth))
    )
    for task in ("sem_seg", "depth"):
        sample.set_field(PixelData(data=sample.get(f"gt_{task}").data), f"pred_{task}")
    sample.pred_panoptic = sample.gt_panoptic.clone()
    sample.pred_label = LabelData(label=torch.tensor([1]), score=torch.tensor([0.1, 0.7, 0.2, 0.0, 0.0]))
    sample.pred_image = torch.rand(3, 64, 96)
    return sample


def test_every_task_is_drawn_side_by_side(visualizer, item):
    image, sample = item
    picture = visualizer.draw_datasample(image, _predict(sample))
    assert picture.dtype == np.uint8 and picture.shape[1] == 3 * 96 + 2 * 4  # the reconstruction's three panels
    assert picture.shape[0] > 6 * 64
    assert (image == item[0]).all()


def test_compressed_masks_are_drawn_as_arrays_are(visualizer, item):
    image, sample = item
    arrays = _predict(sample).pred_instances
    rle = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in np.asarray(arrays.masks)]
    pictures = []
    for masks in (arrays.masks, rle):
        drawn = DataSample()
        drawn.pred_instances = InstanceData(labels=arrays.labels, scores=arrays.scores, masks=masks)
        pictures.append(visualizer.draw_datasample(image, drawn, draw_gt=False))
    assert np.array_equal(*pictures) and not np.array_equal(pictures[0], image)


def test_only_one_side(visualizer, item):
    image, sample = item
    sample = DataSample()
    sample.pred_sem_seg = PixelData(data=torch.zeros(1, 64, 96, dtype=torch.int64))
    picture = visualizer.draw_datasample(image, sample, draw_gt=False)
    assert picture.shape == image.shape  # as video frames need it
    assert visualizer.draw_datasample(image, sample, draw_pred=False).shape == image.shape
    assert np.array_equal(visualizer.draw_datasample(image), image)


def test_low_scores_are_left_out(visualizer, item):
    image, sample = item
    sample = DataSample()
    box = torch.tensor([[10.0, 10.0, 60.0, 50.0]])
    sample.pred_instances = InstanceData(labels=torch.tensor([0]), bboxes=box, scores=torch.tensor([0.29]))
    assert np.array_equal(visualizer.draw_datasample(image, sample), image)
    sample.pred_instances.scores = torch.tensor([0.31])
    assert not np.array_equal(visualizer.draw_datasample(image, sample), image)


def test_no_instances_and_labels_without_names(item):
    image, _ = item
    sample = DataSample()
    sample.gt_instances = InstanceData(labels=torch.zeros(0, dtype=torch.int64), bboxes=torch.zeros(0, 4))
    sample.gt_label = LabelData(label=torch.tensor([12]))
    Visualizer(name="bare").draw_datasample(image, sample)


def test_pictures_reach_the_file_and_the_back_end(tmp_path, item):
    image, sample = item
    visualizer = Visualizer(name="files", vis_backends=[{"type": LocalVisBackend}], save_dir=str(tmp_path))
    visualizer.add_datasample("val_0", image, sample, step=7)
    visualizer.add_datasample("val_0", image, sample, out_file=tmp_path / "new" / "a.png")
    assert cv2.imread(str(tmp_path / "new" / "a.png")) is not None
    assert [p.name for p in tmp_path.rglob("val_0_7.png")] == ["val_0_7.png"]


@pytest.mark.parametrize("stages", [False, True])
def test_browse_writes_the_augmented_samples(tmp_path, stages):
    cfg = {"train_dataloader": {"dataset": {**SCENES, "pipeline": PIPELINE}}}
    paths = browse(cfg, out=tmp_path, number=2, stages=stages)
    first = [cv2.imread(str(p)) for p in paths]
    assert len(first) == 2 and all(img is not None for img in first)
    again = browse(cfg, out=tmp_path, number=2, stages=stages)
    assert all(np.array_equal(a, cv2.imread(str(p))) for a, p in zip(first, again, strict=True))


def test_browse_without_the_split_is_refused(tmp_path):
    from vislab.errors import ConfigError

    with pytest.raises(ConfigError, match="no val_dataloader"):
        browse({"train_dataloader": {}}, out=tmp_path, split="val")


@pytest.mark.parametrize("count, legend", [(5, False), (30, True)])
def test_texts_do_not_hide_many_small_objects(visualizer, count, legend):
    image = np.full((400, 400, 3), 90, np.uint8)
    centers = np.stack(np.meshgrid(np.arange(6) * 60 + 40, np.arange(5) * 60 + 40), -1).reshape(-1, 2)[:count]
    rboxes = np.column_stack([centers, np.tile([14, 6, 0.5], (count, 1))]).astype(np.float32)
    found = InstanceData(labels=torch.zeros(count, dtype=torch.int64), rbboxes=torch.from_numpy(rboxes))
    picture = visualizer.draw_datasample(image, DataSample(pred_instances=found), draw_gt=False)
    changed = (picture != 90).any(axis=2)
    assert changed[380:, :60].any() == legend
    assert (changed[:350].sum() < 130 * count) == legend
