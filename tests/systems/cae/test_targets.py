"""Test pixel targets: labels by hand, drawing puts the statistics back, constant patches."""

import pytest
import torch

from tests.helpers.cae import GRID, SIDE, images, samples, small_cae
from vislab.errors import ConfigError
from vislab.models.preprocessor import ImagePreprocessor
from vislab.ops.patches import patchify
from vislab.systems.cae import MaskedBatch, NormPixelTarget, PixelTarget, Target, patch_ids


def batch(x: torch.Tensor) -> MaskedBatch:
    visible, masked = patch_ids(samples(len(x)))
    return MaskedBatch(images=x, patches=patchify(x, SIDE), ids_visible=visible, ids_masked=masked)


def test_labels_are_the_pixels_of_the_masked_patches():
    x = images(2)
    labels, masked = PixelTarget().labels(batch(x)), patch_ids(samples(2))[1]
    for i in range(2):
        for j, place in enumerate(masked[i].tolist()):
            y, column = SIDE * (place // GRID[1]), SIDE * (place % GRID[1])
            assert torch.equal(labels[i, j], x[i, :, y : y + SIDE, column : column + SIDE].flatten())


def test_normalized_labels_have_mean_0_and_unbiased_variance_1():
    labels = NormPixelTarget().labels(batch(images(2)))
    assert labels.mean(dim=2).abs().max() < 1e-6
    torch.testing.assert_close(labels.var(dim=2, unbiased=True), torch.ones(2, 7), atol=1e-4, rtol=0)


@pytest.mark.parametrize("target", [NormPixelTarget(), PixelTarget()])
def test_drawing_the_labels_gives_the_patches(target):
    b = batch(images(2))
    torch.testing.assert_close(target.draw(target.labels(b), b), PixelTarget().labels(b), atol=1e-6, rtol=0)


def test_constant_patches_are_finite():
    b = batch(torch.full((2, 3, 12, 20), 0.7))
    labels = NormPixelTarget().labels(b)
    assert labels.abs().max() < 1e-3
    torch.testing.assert_close(NormPixelTarget().draw(labels, b), PixelTarget().labels(b))


@pytest.mark.parametrize(("kind", "expected"), [("l2", 4.0), ("l1", 2.0)])
def test_loss_of_each_token_in_float32(kind, expected):
    labels = torch.zeros(2, 7, 48)
    found = PixelTarget(kind=kind).loss(torch.full((2, 7, 48), -2.0, dtype=torch.bfloat16), labels)
    assert found.dtype == torch.float32 and torch.equal(found, torch.full((2, 7), expected))


def test_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="kind='l3' is not one of l2, l1"):
        NormPixelTarget(kind="l3")


def test_pixels_undo_the_normalization():
    preprocessor = ImagePreprocessor(mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))
    raw = torch.randint(0, 256, (2, 3, 12, 20), dtype=torch.uint8)
    b = batch(preprocessor({"inputs": raw})["inputs"])
    b.preprocessor = preprocessor
    torch.testing.assert_close(b.pixels, raw / 255, atol=1e-6, rtol=0)
    b.preprocessor = None
    assert b.pixels is b.images


def test_channels_suit_the_patches():
    assert NormPixelTarget().fit(small_cae().encoder, 16) == 48
    assert (NormPixelTarget.tokens, NormPixelTarget.needs_latents) == ("masked", False)
    assert Target().extras(torch.zeros(1), torch.zeros(1)) == {} and Target().draw(torch.zeros(1), None) is None
