"""Test the recall of proposals against hand-counted cases."""

import numpy as np

from tests.helpers.aerial_trees import BOX, make_hit_uav
from vislab.datasets.hit_uav import HITUAV
from vislab.systems.mutdet.recall import count_found, labeled_boxes, recall

A, B = (40.0, 30.0, 30.0, 12.0, 0.4), (80.0, 50.0, 10.0, 8.0, 0.0)


def test_counts_by_number_of_proposals():
    proposals = np.array([(10, 10, 5, 5, 0), (41, 30, 30, 12, 0.4), (90, 50, 10, 8, 0)])
    assert count_found(proposals, np.array([A, B]), (1, 2, 3)).tolist() == [0, 1, 1]
    assert count_found(proposals[:0], np.array([A]), (5,)).tolist() == [0]
    assert count_found(proposals, np.zeros((0, 5)), (5,)).tolist() == [0]


def test_recall_over_images():
    found = {"a": np.array([A]), "b": np.array([A]), "c": np.array([A])}
    values, total = recall(found, {"a": np.array([A, B]), "b": np.array([B]), "x": np.array([A])}, (1,))
    assert total == 3 and values == {1: 1 / 3}


def test_labels_of_a_dataset(tmp_path):
    make_hit_uav(tmp_path, [BOX] * 5, count=2)  # the fifth is DontCare
    dataset = HITUAV(data_root=str(tmp_path), ann_file="annotations/train.json", data_prefix={"img": "train"})
    found = labeled_boxes(dataset)
    assert len(found) == 2 and found[str(tmp_path / "train/0.jpg")].shape == (4, 5)
