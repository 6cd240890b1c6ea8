"""Test rotated crops against OpenCV's warp, and the frozen encoder of crops."""

import cv2
import numpy as np
import pytest
import torch

from vislab.errors import ConfigError
from vislab.structures import rotated_boxes as rb
from vislab.systems.mutdet.crops import CropEncoder, rotated_crops

BOXES = torch.tensor([[40.0, 30.0, 30.0, 12.0, 0.4], [60, 20, 16, 16, -1.2], [5, 5, 40, 20, 0.1]])


def smooth_image(h=64, w=96) -> np.ndarray:
    coarse = np.random.default_rng(0).random((8, 12, 3), np.float32)
    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("enlarge", [1.0, 1.5])
def test_crops_are_those_of_opencv(enlarge):
    image, size = smooth_image(), 32
    crops = rotated_crops(
        torch.from_numpy(image).permute(2, 0, 1)[None], BOXES[:2], size=size, enlarge=enlarge, sampling=1
    )
    for crop, box in zip(crops, BOXES[:2].double().numpy(), strict=True):
        large = box * [1, 1, enlarge, enlarge, 1]
        source = rb.rboxes_to_corners(large)[:3].astype(np.float32) - 0.5  # OpenCV's pixels have integer centers
        target = np.array([[0, 0], [size, 0], [size, size]], np.float32) - 0.5
        expected = cv2.warpAffine(image, cv2.getAffineTransform(source, target), (size, size), flags=cv2.INTER_LINEAR)
        # OpenCV interpolates at multiples of 1/32 pixel
        np.testing.assert_allclose(crop.permute(1, 2, 0).numpy(), expected, atol=0.02)


def test_a_box_in_the_corner_is_filled_with_zeros():
    crop = rotated_crops(torch.ones(1, 3, 64, 96), BOXES[2:], size=16)[0]
    assert crop[:, 0, 0].abs().max() == 0 and crop[:, -1, -1].min() == 1


def test_turning_image_and_box_gives_the_same_crop():
    image = torch.from_numpy(smooth_image()).permute(2, 0, 1)[None]
    turned = torch.rot90(image, -1, (2, 3))  # clockwise, (1, 3, 96, 64)
    box = BOXES[:1].clone()
    moved = box.clone()
    moved[:, 0], moved[:, 1], moved[:, 4] = 64 - box[:, 1], box[:, 0], box[:, 4] + torch.pi / 2
    torch.testing.assert_close(rotated_crops(image, box), rotated_crops(turned, moved), atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def encoder() -> CropEncoder:
    torch.manual_seed(0)
    return CropEncoder(name="resnet10t", pretrained=False, size=32, batch_size=2)


def test_embeddings(encoder):
    image = (smooth_image() * 255).clip(0, 255).astype(np.uint8)
    found = encoder(image, BOXES.numpy())
    assert found.shape == (3, encoder.channels) and found.dtype == torch.float32
    torch.testing.assert_close(found[2:], encoder(image, BOXES[2:].numpy()), atol=1e-5, rtol=1e-4)
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert encoder(image, np.zeros((0, 5), np.float32)).shape == (0, encoder.channels)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="expected size >= 8"):
        CropEncoder(name="resnet10t", pretrained=False, size=0)


def test_the_encoder_is_frozen(encoder):
    assert not any(p.requires_grad for p in encoder.parameters()) and not encoder.encoder.training
