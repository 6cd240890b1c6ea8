"""Test proposals: duplicates and thin boxes, masks of SAM's files and of a model."""

import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as coco

from vislab.errors import DataError
from vislab.structures import DataSample
from vislab.structures import rotated_boxes as rb
from vislab.systems.mutdet.proposals import MaskFileProposer, MaskModelProposer, choose, from_masks

BOX = (40.0, 30.0, 30.0, 12.0, 0.4)
IMAGE = np.zeros((64, 96, 3), np.uint8)


def mask(box=BOX) -> np.ndarray:
    y, x = np.mgrid[:64, :96] + 0.5
    u = (x - box[0]) * np.cos(box[4]) + (y - box[1]) * np.sin(box[4])
    v = (y - box[1]) * np.cos(box[4]) - (x - box[0]) * np.sin(box[4])
    return ((np.abs(u) <= box[2] / 2) & (np.abs(v) <= box[3] / 2)).astype(np.uint8)


def test_duplicates_and_thin_boxes_are_left_out():
    rboxes = np.array([BOX, (40.5, 30, 30, 12, 0.4), (70, 30, 20, 1.5, 0), (80, 50, 10, 10, 0)])
    found = choose(rboxes, np.array([0.5, 0.9, 2.0, 0.1]), threshold=0.7, limit=None)
    np.testing.assert_allclose(found.rboxes, rboxes[[1, 3]])
    assert found.scores.tolist() == pytest.approx([0.9, 0.1]) and found.rboxes.dtype == np.float32
    assert len(choose(rboxes, np.ones(4), threshold=0.7, limit=1).rboxes) == 1
    assert choose(rboxes[:0], np.ones(0), threshold=0.7, limit=1).rboxes.shape == (0, 5)


def test_boxes_of_masks_are_tight_and_the_largest_comes_first():
    found = from_masks([mask((60, 40, 10, 8, 0.0)), mask()], None, None)
    np.testing.assert_allclose(found.rboxes[0], BOX, atol=2)
    np.testing.assert_allclose(found.rboxes[1, :4], (60, 40, 10, 8), atol=1e-3)


@pytest.mark.parametrize("wrapped", [False, True])
def test_masks_of_files(tmp_path, wrapped):
    coded = coco.encode(np.asfortranarray(mask()))
    entries = [
        {"segmentation": {"size": [64, 96], "counts": coded["counts"].decode()}, "predicted_iou": 0.9},
        {"segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]]},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"annotations": entries} if wrapped else entries))
    found = MaskFileProposer(tmp_path)(IMAGE, "x/a.png")
    np.testing.assert_allclose(found.rboxes[0], BOX, atol=2)
    assert len(found.rboxes) == 2 and len(MaskFileProposer(tmp_path, 1)(IMAGE, "a.png").rboxes) == 1


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "cannot read the masks"),
        ("{", "is not a JSON file"),
        ("[3]", "is not a list of masks"),
        ('{"a": 1}', "is not a list of masks"),
        ('[{"segmentation": {"size": [9, 9], "counts": [81]}}]', "a.json: mask 0"),
    ],
)
def test_damaged_mask_files(tmp_path, text, message):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        MaskFileProposer(tmp_path)(IMAGE, "a.png")


def test_masks_of_a_model():
    found = InstanceData(masks=torch.from_numpy(np.stack([mask(), mask()])), scores=torch.tensor([0.9, 0.1]))
    sample = DataSample(pred_instances=found)
    proposals = MaskModelProposer(lambda images: [sample])(IMAGE, "a")
    np.testing.assert_allclose(proposals.rboxes, [BOX], atol=2)
    assert proposals.scores.tolist() == pytest.approx([0.9])
    sample.pred_instances = found[:0]
    assert MaskModelProposer(lambda images: [sample])(IMAGE, "a").rboxes.shape == (0, 5)
    ids = torch.from_numpy(mask().astype(np.int32) * 7)[None]
    panoptic = DataSample(pred_panoptic=PixelData(data=ids, metainfo={"segments_info": [{"id": 7}]}))
    np.testing.assert_allclose(MaskModelProposer(lambda images: [panoptic])(IMAGE, "a").rboxes, [BOX], atol=2)
    with pytest.raises(DataError, match="it predicts neither"):
        MaskModelProposer(lambda images: [DataSample()])(IMAGE, "a")


def test_masks_fit_their_boxes():
    assert abs(rb.mask_to_rbox(mask())[4] - 0.4) < 0.1
