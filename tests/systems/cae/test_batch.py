"""Test the division of a batch into visible and masked patches, and the preprocessor that adds it to the batch."""

import pytest
import torch

from tests.helpers.cae import GRID, masks, samples
from tests.helpers.pretended_gpu import CUDA, pretended_gpu, to_pretended_gpu
from vislab.errors import DataError
from vislab.structures import DataSample
from vislab.systems.cae import MaskedImagePreprocessor, patch_ids


def test_indices_are_those_of_boolean_indexing():
    visible, masked = patch_ids(samples(4))
    for i, mask in enumerate(masks(4).flatten(1)):
        assert torch.equal(visible[i], (~mask).nonzero().flatten())
        assert torch.equal(masked[i], mask.nonzero().flatten())


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "has no patch_mask"),
        ([DataSample()], "has no patch_mask"),
        ([*samples(1, 7), *samples(1, 5)], "have 5 to 7 masked patches"),
        (samples(2, 0), "0 of 15 patches are masked, expected 1 to 14"),
        (samples(2, 15), "15 of 15 patches are masked"),
        ([*samples(1), DataSample(patch_mask=torch.ones(5, 3, dtype=torch.bool))], r"sizes \[\(3, 5\), \(5, 3\)\]"),
    ],
)
def test_masks_that_make_no_batch_are_refused(found, message):
    with pytest.raises(DataError, match=message):
        patch_ids(found)


def batch(count: int, **fields) -> dict:
    images = [torch.full((3, 12, 20), 51 * i, dtype=torch.uint8) for i in range(count)]
    return {"inputs": images, "data_samples": [DataSample(patch_mask=mask, **fields) for mask in masks(count)]}


def test_preprocessor_adds_the_indices():
    made = MaskedImagePreprocessor(mean=(0.2,) * 3, std=(0.5,) * 3)(batch(3))
    assert made["inputs"].shape == (3, 3, 12, 20) and made["inputs"][1].max() < 1e-6
    for found, expected in zip(made["patch_ids"], patch_ids(samples(3)), strict=True):
        assert torch.equal(found, expected)
    assert all(
        torch.equal(sample.patch_mask, mask) for sample, mask in zip(made["data_samples"], masks(3), strict=True)
    )


def test_preprocessor_leaves_images_without_masks():
    data = batch(2) | {"data_samples": [DataSample(), DataSample()]}
    assert "patch_ids" not in MaskedImagePreprocessor()(data)
    assert "patch_ids" not in MaskedImagePreprocessor()({"inputs": data["inputs"]})


def test_nothing_waits_for_the_device():
    data = batch(2)  # masks with content: their numbers are read on the CPU
    with pretended_gpu() as waits:
        made = to_pretended_gpu(MaskedImagePreprocessor(mean=(0.5,) * 3, std=(0.5,) * 3))(data, True)
        assert not waits and [tuple(part.shape) for part in made["patch_ids"]] == [(2, 8), (2, 7)]
        assert {part.device for part in made["patch_ids"]} == {CUDA}
        assert made["data_samples"][0].patch_mask.shape == GRID
