"""Test SimMIM and MAE: references written out, what is seen and what is not, refusals, and the common tests."""

import pytest
import torch
from torch.nn import functional as F

from tests.helpers.cae import GRID, SIDE, SlowCAE, images, masks, perturb, positions, samples
from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError
from vislab.models.encoders.vit import ViT
from vislab.systems.cae import MAE, ClusterTarget, FeatureTarget, HogTarget, SimMIM
from vislab.systems.cae.controls import _Control


def encoder() -> ViT:
    return ViT(
        img_size=(GRID[0] * SIDE, GRID[1] * SIDE), patch_size=SIDE, dim=16, depth=2, num_heads=2, init_values=0.5
    )


def simmim(**settings) -> SimMIM:
    return SimMIM(encoder=encoder(), **settings)


def mae(width: int = 16, **settings) -> MAE:
    decoder = {"depth": 2, "num_heads": 2, "init_values": 0.5}
    return MAE(encoder=encoder(), decoder=decoder, decoder_dim=width, **settings)


class TestSimMIM(ModelBehavior):
    bf16_tolerance = 0.02

    def build(self):
        return simmim()

    def inputs(self, count):
        return images(count)

    def samples(self, count):
        return samples(count)


class TestMAE(TestSimMIM):
    def build(self):
        return mae(24)


class TestHog(TestSimMIM):
    def build(self):
        return mae(target=HogTarget(cell_size=2))


def in_double(model: _Control) -> _Control:
    model = model.double().eval()
    perturb(model)
    model.encoder.pos_embed[0, 1:] = positions(*GRID, model.encoder.dim)
    model.regressor.pos_embed.copy_(positions(*GRID, model.regressor.dim))
    return model


def run(model: _Control, x: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return model(x, samples(len(x)))


def embedded(model: _Control, image: torch.Tensor) -> torch.Tensor:
    """(N, dim), patches without positions."""
    convolution = model.encoder.patch_embed.proj
    return F.conv2d(image[None], convolution.weight, convolution.bias, stride=SIDE).flatten(2)[0].T


def test_simmim_written_out():
    """Mask tokens at their places in raster order, all blocks on all tokens, the head on the masked ones."""
    model = in_double(simmim())
    slow, x, mask = SlowCAE(model), images(2).double(), masks(2).flatten(1)
    found = run(model, x)["prediction"]
    for i in range(2):
        patches = torch.where(mask[i][:, None], model.regressor.mask_token[0], embedded(model, x[i]))
        tokens = torch.cat([model.encoder.cls_token[0], patches + positions(*GRID, 16)])
        for block in model.encoder.blocks:
            tokens = slow.block(block, tokens)
        latents = slow.norm(model.encoder.norm, tokens)[1:][mask[i]]
        expected = latents @ model.decoder.head.weight.T + model.decoder.head.bias
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("width", [16, 24])
def test_mae_written_out(width):
    """The encoder on visible patches; the decoder on class token, visible latents and mask tokens in raster order."""
    model = in_double(mae(width))
    slow, x, mask = SlowCAE(model), images(2).double(), masks(2).flatten(1)
    found = run(model, x)["prediction"]
    for i in range(2):
        visible = slow.adapt(slow.encode(x[i], ~mask[i]))
        tokens = model.regressor.mask_token[0].repeat(15, 1)
        tokens[~mask[i]] = visible[1:]
        tokens = torch.cat([visible[:1], tokens + positions(*GRID, width)])
        for block in model.decoder.blocks:
            tokens = slow.block(block, tokens)
        latents = slow.norm(model.decoder.norm, tokens)[1:][mask[i]]
        expected = latents @ model.decoder.head.weight.T + model.decoder.head.bias
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", [simmim, mae])
def test_masked_pixels_are_not_seen(make):
    model = in_double(make())
    x, mask = images(2).double(), masks(2)
    pixels = mask.repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)[:, None]
    before = run(model, x)
    hidden = run(model, torch.where(pixels, 9.0, x))
    shown = run(model, torch.where(pixels, x, x + 0.1))
    assert all(torch.equal(before[name], hidden[name]) for name in before)
    assert not torch.allclose(before["prediction"], shown["prediction"])


def test_only_the_encoder_of_simmim_sees_mask_tokens():
    for make, sees in ((simmim, True), (mae, False)):
        model = in_double(make())
        before = run(model, images(2).double())["visible"]
        with torch.no_grad():
            model.regressor.mask_token.add_(1)
        assert torch.equal(before, run(model, images(2).double())["visible"]) != sees


@pytest.mark.parametrize("make", [simmim, mae])
def test_every_parameter_is_trained(make):
    model = make()
    values = model(images(2), samples(2), mode="loss")
    assert set(values) == {"loss_reconstruction", "latent_std", "latent_rank"}
    values["loss_reconstruction"].backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@pytest.mark.parametrize("make", [simmim, mae])
def test_targets_of_latents_or_all_tokens_are_refused(make):
    name = "vit_tiny_patch16_224"
    features = FeatureTarget(teacher=name, pretrained=False, img_size=(48, 80))
    for target in (ClusterTarget(num_clusters=8), features):
        with pytest.raises(ConfigError, match=f"{type(target).__name__} needs predictions of all tokens or a teacher"):
            make(target=target)
    features = FeatureTarget(teacher=name, pretrained=False, img_size=(48, 80), tokens="masked")
    assert make(target=features)(images(2), samples(2), mode="loss")["loss_reconstruction"] > 0
