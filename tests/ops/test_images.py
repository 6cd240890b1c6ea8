"""Image batches before the first layer: normalization and padding, by hand."""

import pytest
import torch

from vislab.ops.images import normalize, pad_to_multiple


@pytest.mark.parametrize("shape", [(2,), (1, 2, 1, 1)])
def test_each_channel_has_its_own_numbers(shape):
    images = torch.tensor([4.0, 9.0]).view(1, 2, 1, 1).expand(3, 2, 2, 2)
    mean, std = torch.tensor([1.0, 5.0]).view(shape), torch.tensor([3.0, 0.5]).view(shape)
    found = normalize(images, mean, std)
    assert found.shape == (3, 2, 2, 2) and (found[:, 0] == 1).all() and (found[:, 1] == 8).all()


@pytest.mark.parametrize(
    ("size", "multiple", "padded"), [((5, 8), 4, (8, 8)), ((8, 9), 8, (8, 16)), ((1, 1), 32, (32, 32))]
)
def test_padding_is_below_and_to_the_right(size, multiple, padded):
    images = torch.rand(2, 3, *size)
    found = pad_to_multiple(images, multiple, value=7.0)
    assert found.shape == (2, 3, *padded) and torch.equal(found[..., : size[0], : size[1]], images)
    assert (found[..., size[0] :, :] == 7).all() and (found[..., size[1] :] == 7).all()


def test_nothing_is_copied_where_nothing_is_padded():
    images = torch.rand(1, 3, 8, 16)
    assert pad_to_multiple(images, 8) is images
