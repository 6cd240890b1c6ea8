"""Test the pyramid of a plain transformer: sizes, what each map is made of, refusals, and a head that needs it."""

import pytest
import torch

from tests.helpers.mask2former_names import small_model
from vislab.errors import ConfigError
from vislab.models.encoders.pyramid import PyramidEncoder
from vislab.models.encoders.timm_encoder import TimmEncoder

TINY = {"name": "vit_tiny_patch16_224", "img_size": 64, "model_args": {"depth": 4, "embed_dim": 48}}


def test_strides_of_a_pyramid():
    encoder = PyramidEncoder(encoder=TINY).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(2, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [(2, 48, 64 // s, 96 // s) for s in (4, 8, 16, 32)]
    assert encoder.strides == (4, 8, 16, 32) and encoder.channels == (48,) * 4
    assert encoder.mean == encoder.encoder.mean and encoder.std == encoder.encoder.std


def test_maps_of_the_stride_of_the_patches_stay():
    encoder = PyramidEncoder(encoder=TINY).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        plain, made = encoder.encoder(images), encoder(images)
    assert torch.equal(made[2], plain[2])
    assert torch.equal(made[3], torch.nn.functional.max_pool2d(plain[3], 2))


def test_small_patches():
    encoder = PyramidEncoder(encoder=TINY | {"model_args": {"depth": 4, "embed_dim": 48, "patch_size": 4}}).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 64, 64))
    assert [x.shape[-1] for x in maps] == [16, 8, 4, 2]


def test_all_parameters_are_trained_and_keep_their_depth():
    encoder = PyramidEncoder(encoder=TINY | {"out_norm": "final"})
    sum(x.sum() for x in encoder(torch.rand(1, 3, 64, 64))).backward()
    assert not [name for name, p in encoder.named_parameters() if p.grad is None]
    assert max(encoder.encoder.layer_ids().values()) == 4


def test_a_head_that_needs_a_pyramid():
    with pytest.raises(ConfigError, match="expected 4, 8, 16"):
        small_model(backbone=TINY)
    model = small_model(backbone={"type": PyramidEncoder, "encoder": TINY}).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize(
    "encoder, words",
    [
        ({"name": "resnet18"}, r"strides \(4, 8, 16, 32\), expected four of one stride"),
        (TINY | {"out_indices": [1, 3]}, r"strides \(16, 16\)"),
        ({"name": "vit_small_patch14_dinov2", "img_size": 28}, r"strides \(14, 14, 14, 14\)"),
    ],
)
def test_other_encoders_are_refused(encoder, words):
    with pytest.raises(ConfigError, match=words):
        PyramidEncoder(encoder=TimmEncoder(**encoder))
