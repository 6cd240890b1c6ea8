"""Test the dataset of pseudo boxes: boxes and embeddings stay together through flips, crops and filtering."""

import numpy as np
import pytest
import torch

from tests.helpers.aerial_trees import write_picture
from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.transforms import (
    Albu,
    LoadAnnotations,
    LoadImage,
    PackInputs,
    PanopticToInstances,
    RandomCrop,
    RandomFlip,
    Resize,
)
from vislab.errors import DataError
from vislab.systems.mutdet.pseudo_boxes import PseudoBoxes
from vislab.systems.mutdet.pseudo_file import PseudoImage, PseudoObjects, write_pseudo_labels

CENTERS = np.array([(20, 20), (70, 15), (30, 50), (80, 48)], np.float32)


def make(root, counts=(4, 2, 0)):
    """Images with boxes whose width, cluster and embedding tell their number."""
    images, objects = [], []
    for i, count in enumerate(counts):
        write_picture(root / f"images/{i}.png", seed=i)
        number = np.arange(count)
        rboxes = np.column_stack([CENTERS[:count], 12 + number, np.full((count, 2), (5, 0.3))]).astype(np.float32)
        embeddings = np.eye(4, dtype=np.float32)[:count]
        images.append(PseudoImage(f"{i}.png", 64, 96))
        objects.append(PseudoObjects(rboxes, np.ones(count, np.float32), number, embeddings))
    write_pseudo_labels(root / "p.safetensors", images, objects, 4)
    return root


def build(root, *steps, **arguments) -> PseudoBoxes:
    pipeline = [LoadImage(), LoadAnnotations(with_rbbox=True), *steps, PackInputs()]
    path = str(root / "p.safetensors")
    return PseudoBoxes(data_root=str(root / "images"), pseudo_labels=path, pipeline=pipeline, **arguments)


class TestPseudoBoxes(DatasetBehavior):
    loaders = (LoadImage,)

    def build(self, tmp_path, pipeline):
        root = tmp_path if (tmp_path / "images").exists() else make(tmp_path)
        return PseudoBoxes(data_root=str(root / "images"), pseudo_labels=str(root / "p.safetensors"), pipeline=pipeline)


@pytest.mark.parametrize(
    "step, count",
    [
        (RandomFlip(prob=1.0, direction="horizontal"), 4),
        (RandomFlip(prob=1.0, direction="diagonal"), 4),
        (Resize(size=(128, 192)), 4),
        (RandomCrop(size=(64, 48), min_visibility=0.5), None),
        (Albu(transforms=[{"name": "Affine", "rotate": (40, 40), "p": 1.0}], min_visibility=0.5), None),
        (Albu(transforms=[{"name": "RandomRotate90", "p": 1.0}]), 4),
    ],
)
def test_rows_stay_together(tmp_path, step, count):
    item = build(make(tmp_path), step)[0]["data_samples"].gt_instances
    scale = 2 if isinstance(step, Resize) else 1
    assert count in (None, len(item)) and len(item) > 0
    assert item.embeddings.argmax(dim=1).tolist() == item.labels.tolist() == item.ids.tolist()
    if count:
        torch.testing.assert_close(item.rbboxes[:, 2], scale * (12.0 + item.labels), atol=1e-3, rtol=0)
    assert item.embeddings.shape == (len(item), 4) and item.embeddings.dtype == torch.float32


def test_images_without_objects(tmp_path):
    make(tmp_path)
    assert len(build(tmp_path)) == 2
    item = build(tmp_path, filter_empty=False)[2]["data_samples"].gt_instances
    assert item.embeddings.shape == (0, 4) and item.rbboxes.shape == (0, 5)


def test_classes_and_limit(tmp_path):
    dataset = build(make(tmp_path), max_objects=3)
    assert dataset.metainfo["classes"] == ("cluster_1", "cluster_2", "cluster_3", "cluster_4")
    assert len(dataset[0]["data_samples"].gt_instances) == 3
    with pytest.raises(DataError, match="remove metainfo classes"):
        build(tmp_path, metainfo={"classes": ["ship"]})


def test_different_lengths_are_refused(tmp_path):
    def shift(results):
        results["gt_embeddings"] = results["gt_embeddings"][1:]
        return results

    with pytest.raises(DataError, match="instance labels differ in length.*'gt_embeddings': 3"):
        build(make(tmp_path), shift)[0]


def test_embeddings_of_other_instances_are_removed():
    results = {"gt_panoptic": np.ones((4, 4), np.int32), "segments_info": [{"id": 1, "category": 0}],
               "gt_embeddings": np.ones((1, 3), np.float32)}  # fmt: skip
    assert "gt_embeddings" not in PanopticToInstances()(results)


def test_missing_images(tmp_path):
    make(tmp_path)
    (tmp_path / "images/1.png").unlink()
    with pytest.raises(DataError, match="1 of 3 images are missing, the first is .*1.png"):
        build(tmp_path)


def test_one_class_for_all_objects(tmp_path):
    data = build(make(tmp_path), single_class=True)
    assert data.metainfo["classes"] == ("object",)
    instances = data[0]["data_samples"].gt_instances
    assert instances.labels.tolist() == [0] * 4 and instances.embeddings.shape == (4, 4)
