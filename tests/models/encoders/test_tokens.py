"""Test tokens of timm models, TimmEncoder and raw pixels, layers, and the encoder of each kind of model."""

import pytest
import timm
import torch

from vislab.errors import ConfigError
from vislab.models.classifier import ImageClassifier
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.encoders.tokens import RawPixels, Tokens, encode_tokens, find_encoder, grid_side, token_dim
from vislab.models.encoders.vit import ViT
from vislab.models.fpn import FPNNetwork
from vislab.systems.hnerv import HNeRV

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 0}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def vit(name: str = "vit_tiny_patch16_224", **changes) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, **{**VIT, **changes}).eval()


def test_a_transformer_has_class_token_and_patches():
    model = vit()
    tokens = encode_tokens(model, IMAGES)
    output = model.forward_features(IMAGES)
    assert torch.equal(tokens.cls, output[:, 0]) and torch.equal(tokens.patches, output[:, 1:])
    assert torch.equal(tokens.pool("mean"), output[:, 1:].mean(1)) and torch.equal(tokens.all(), output)
    assert token_dim(model) == 16 and grid_side(model) == 32


def test_register_tokens_are_not_patches():
    model = vit(reg_tokens=2)
    tokens = encode_tokens(model, IMAGES)
    assert tokens.patches.shape == (2, 16, 16) and torch.equal(tokens.cls, model.forward_features(IMAGES)[:, 0])


def test_layers_are_outputs_of_blocks_without_the_last_norm():
    model = vit()
    last = encode_tokens(model, IMAGES, layer=-1)
    assert torch.allclose(model.norm(last.all()), encode_tokens(model, IMAGES).all(), atol=1e-6)
    assert not torch.allclose(encode_tokens(model, IMAGES, layer=0).patches, last.patches)
    with pytest.raises(ConfigError, match="3 blocks"):
        encode_tokens(model, IMAGES, layer=3)
    assert not any(block._forward_hooks for block in model.blocks)


def test_our_transformer_likewise():
    torch.manual_seed(0)
    model = ViT(img_size=32, patch_size=8, dim=16, depth=3, num_heads=2).eval()
    output = model(IMAGES)
    tokens = encode_tokens(model, IMAGES)
    assert torch.equal(tokens.cls, output[:, 0]) and torch.equal(tokens.all(), output)
    assert (token_dim(model), grid_side(model)) == (16, 32)
    for layer in (-1, 2):
        assert torch.allclose(model.norm(encode_tokens(model, IMAGES, layer).all()), output, atol=1e-6)
    assert not torch.allclose(encode_tokens(model, IMAGES, 1).patches, encode_tokens(model, IMAGES, 2).patches)


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_maps_become_tokens_row_by_row(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **({"img_size": 64} if "swin" in name else {})).eval()
    images = torch.randn(1, 3, 64, 64)
    tokens = encode_tokens(model, images)
    assert tokens.cls is None and tokens.patches.shape == (1, 4, token_dim(model))
    pooled = model.forward_head(model.forward_features(images), pre_logits=True)
    assert torch.allclose(tokens.pool("mean"), pooled, atol=1e-5)  # timm's own global average


def test_timm_encoder_uses_its_last_map():
    encoder = TimmEncoder(name="resnet18").eval()
    tokens = encode_tokens(encoder, IMAGES)
    assert torch.equal(tokens.patches[0, 0], encoder(IMAGES)[-1][0, :, 0, 0]) and token_dim(encoder) == 512
    assert encode_tokens(encoder, IMAGES, layer=0).patches.shape == (2, 64, 64)


def test_raw_pixels_are_one_token():
    tokens = encode_tokens(RawPixels(), IMAGES)
    assert torch.equal(tokens.pool("mean"), IMAGES.flatten(1)) and tokens.cls is None


def test_pool_refuses_what_is_not_there():
    with pytest.raises(ConfigError, match="no class token"):
        Tokens(None, torch.zeros(1, 2, 3)).pool("class")
    with pytest.raises(ConfigError, match="'max' is not one of"):
        Tokens(None, torch.zeros(1, 2, 3)).pool("max")


def test_the_encoder_of_a_model():
    model = ImageClassifier(name="resnet18", num_classes=10)
    assert find_encoder(model) == ("network", model.network)
    fpn = FPNNetwork(encoder={"name": "resnet18"})
    holder = torch.nn.Module()
    holder.network = fpn
    assert find_encoder(holder) == ("network.encoder", fpn.encoder)
    assert find_encoder(holder, "network.encoder.model")[1] is fpn.encoder.model
    assert find_encoder(fpn.encoder) == ("", fpn.encoder)


def test_models_without_encoder_are_refused():
    model = HNeRV(strides=(4, 2), embed_dim=4, encoder_width=8, decoder_width=8)  # its encoder returns an embedding
    with pytest.raises(ConfigError, match="HNeRV has no encoder that can be probed; it has none"):
        find_encoder(model)
    holder = torch.nn.Module()
    holder.body = TimmEncoder(name="resnet18")
    with pytest.raises(ConfigError, match="choose one with part: body"):
        find_encoder(holder)
    with pytest.raises(ConfigError, match="no such part; did you mean 'body'"):
        find_encoder(holder, "boddy")
    with pytest.raises(ConfigError, match="is a Conv2d, not an encoder"):
        find_encoder(holder, "body.model.conv1")
