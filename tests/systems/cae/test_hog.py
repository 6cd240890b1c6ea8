"""Test histograms of oriented gradients against loops over pixels, and as the target of a model."""

import math

import pytest
import torch

from vislab.errors import ConfigError
from vislab.models.encoders.vit import ViT
from vislab.ops.patches import patchify
from vislab.systems.cae.hog import HogTarget, hog, patch_hog
from vislab.systems.cae.targets import MaskedBatch


def slow_hog(image: torch.Tensor, cell: int, bins: int) -> torch.Tensor:
    """(H, W) -> (h, w, bins), pixel by pixel, as scikit-image defines it for blocks of one cell and the L2 norm."""
    height, width = image.shape
    result = torch.zeros(height // cell, width // cell, bins, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            x = image[i, j + 1] - image[i, j - 1] if 0 < j < width - 1 else torch.tensor(0.0)
            y = image[i + 1, j] - image[i - 1, j] if 0 < i < height - 1 else torch.tensor(0.0)
            degrees = math.degrees(math.atan2(y, x)) % 180
            result[i // cell, j // cell, int(degrees // (180 / bins)) % bins] += math.hypot(x, y) / cell**2
    return result / (result.square().sum(dim=2, keepdim=True) + 1e-10).sqrt()


@pytest.mark.parametrize("cell, bins", [(4, 9), (2, 6), (8, 9)])
def test_every_pixel_adds_to_its_cell(cell, bins):
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    found = hog(images, cell, bins)
    assert found.shape == (2, 3, bins, 16 // cell, 24 // cell)
    for b in range(2):
        for c in range(3):
            expected = slow_hog(images[b, c].double(), cell, bins).float()
            torch.testing.assert_close(found[b, c].permute(1, 2, 0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("angle, bin", [(0, 0), (10, 0), (30, 1), (90, 4), (135, 6), (179, 8), (190, 0), (270, 4)])
def test_a_ramp_has_one_direction(angle, bin):
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    ramp = 0.02 * (math.cos(math.radians(angle)) * x + math.sin(math.radians(angle)) * y)
    inner = hog(ramp[None, None], cell_size=8)[0, 0, :, 1, 1]
    expected = torch.zeros(9)
    expected[bin] = 1
    torch.testing.assert_close(inner, expected, rtol=0, atol=1e-3)


def test_contrast_and_brightness_do_not_matter():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(hog(0.2 * image + 0.5, 8), hog(image, 8), rtol=0, atol=1e-3)


def test_constant_images_have_no_gradients():
    found = hog(torch.full((2, 3, 16, 16), 0.7), 4)
    assert torch.equal(found, torch.zeros_like(found))


def test_patches_hold_their_own_cells():
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(2))
    cells, rows = hog(images, 4), patch_hog(images, patch_size=8, cell_size=4)
    assert rows.shape == (2, 2 * 3, 3 * 9 * 4)
    patch = rows[1, 1 * 3 + 2].view(3, 9, 2, 2)  # second row, third column
    assert torch.equal(patch, cells[1, :, :, 2:4, 4:6])


def test_labels_are_those_of_the_masked_patches_whatever_the_precision():
    encoder = ViT(img_size=(8, 12), patch_size=4, dim=8, depth=1, num_heads=2)
    target = HogTarget(cell_size=2)
    assert target.fit(encoder, latent_dim=8) == 3 * 9 * 4
    images = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(3))
    ids = torch.tensor([[0, 5], [2, 3]])
    batch = MaskedBatch(images=images, patches=patchify(images, 4), ids_visible=ids, ids_masked=ids)
    labels = target.labels(batch)
    assert torch.equal(labels[1, 0], patch_hog(images, 4, 2)[1, 2])
    loss = target.loss(torch.zeros(2, 2, 108, dtype=torch.bfloat16), labels)
    torch.testing.assert_close(loss, labels.square().mean(dim=2))
    assert loss.dtype == torch.float32


def test_cells_that_do_not_divide_a_patch_are_refused():
    with pytest.raises(ConfigError, match="cell_size=3 does not divide the encoder's patch_size=4"):
        HogTarget(cell_size=3).fit(ViT(img_size=8, patch_size=4, dim=8, depth=1, num_heads=2), 8)
    with pytest.raises(ConfigError, match="bins=0"):
        HogTarget(bins=0)
