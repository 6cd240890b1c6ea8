"""Test the classifier with any encoder: common model tests, frozen encoders, poolings, norms, refusals."""

import pytest
import timm
import torch
from torch import nn

from tests.helpers.model_behavior import ModelBehavior
from tests.models.test_classifier import labeled
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.errors import ConfigError
from vislab.models.encoder_classifier import EncoderClassifier, ProbeHead, build_pool
from vislab.models.encoders.tokens import encode_tokens
from vislab.models.encoders.vit import ViT
from vislab.models.preprocessor import ImagePreprocessor


def vit() -> nn.Module:
    args = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}
    return timm.create_model("vit_tiny_patch16_224", **args)


def build(**options) -> EncoderClassifier:
    options = {"encoder": vit(), "num_classes": 5, "data_preprocessor": ImagePreprocessor(), **options}
    return EncoderClassifier(**options)


class TestFineTuning(ModelBehavior):
    bf16_tolerance = 0.1

    def build(self):
        return build(norm="encoder", head_std=0.5)

    def inputs(self, count):
        return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def samples(self, count):
        return labeled(*range(count))


class TestViT(TestFineTuning):
    """The published fine-tuning: mean of the patches, then the encoder's norm; relative position bias."""

    def build(self):
        encoder = ViT(img_size=32, patch_size=8, dim=16, depth=2, num_heads=2, init_values=0.5, rel_pos_bias=True)
        return build(encoder=encoder, norm="encoder", head_std=0.5)


def test_learning_rates_of_the_published_fine_tuning():
    """decay^(L + 1 - id) for embedding (id 0) and blocks (id i + 1); the full rate for norm and head."""
    model = TestViT().build()
    wrapper = {"optimizer": {"type": "AdamW", "lr": 1.0, "weight_decay": 0.1}}
    groups = LayerDecayOptimConstructor(wrapper, {"layer_decay": 0.5})(model).optimizer.param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    parts = [model.encoder.cls_token, model.encoder.blocks[0].norm1.weight, model.encoder.blocks[1].mlp.fc1.weight]
    assert [rates[id(p)] for p in parts] == [0.125, 0.25, 0.5]
    assert rates[id(model.encoder.norm.weight)] == rates[id(model.head.classifier.weight)] == 1.0


class TestFrozenAttentive(TestFineTuning):
    without_gradient = ("encoder.",)
    bf16_tolerance = 0.2

    def build(self):
        model = build(frozen=True, pool="attentive", norm="batch", head_std=0.5)
        nn.init.normal_(model.head.pool.query)  # zero: keys get a gradient from the second step on
        return model

    def losses(self, model, count=4):
        return super().losses(model, count)

    def test_a_frozen_encoder_stays_as_it_is(self):
        model = self.make().train()
        assert not model.encoder.training and model.head.training
        self.total(self.losses(model)).backward()
        assert all(p.grad is None for p in model.encoder.parameters())
        assert model.head.norm.running_mean.abs().sum() > 0


def test_the_encoders_norm_is_applied_after_pooling():
    model = build(norm="encoder").eval()
    images = TestFineTuning().inputs(2)
    tokens = encode_tokens(model.encoder, images, -1)
    expected = model.head(model.encoder.norm(tokens.patches.mean(dim=1)))
    assert torch.equal(model(images)["logits"], expected)
    model(images, labeled(0, 1), mode="loss")["loss"].backward()
    assert model.encoder.norm.weight.grad.abs().sum() > 0 and model.encoder.blocks[0].attn.qkv.weight.grad is not None


def test_the_linear_probe_of_the_paper():
    model = build(frozen=True, pool="class", norm="batch")
    assert not list(model.head.norm.parameters()) and model.head.norm.eps == 1e-6
    assert 0.005 < model.head.classifier.weight.std() < 0.02 and not model.head.classifier.bias.any()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        "head.classifier.weight",
        "head.classifier.bias",
    ]


def test_a_timm_encoder_from_a_config_with_its_own_statistics():
    model = EncoderClassifier(encoder={"name": "resnet18", "out_indices": (4,)}, num_classes=3, pool="efficient")
    assert model(torch.zeros(1, 3, 64, 64))["logits"].shape == (1, 3)
    assert model.data_preprocessor.gain is not None
    wrapper = {"optimizer": {"type": "AdamW", "lr": 1.0, "weight_decay": 0.1}}
    groups = LayerDecayOptimConstructor(wrapper, {"layer_decay": 0.5})(model).optimizer.param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(model.head.classifier.weight)] == 1.0 and rates[id(model.encoder.model.conv1.weight)] < 0.1


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="norm='layer' is not one of"):
        build(norm="layer")
    with pytest.raises(ConfigError, match="pool='max' is not one of"):
        build(pool="max")
    with pytest.raises(ConfigError, match="no class token"):
        build(encoder={"name": "resnet18"}, pool="class").eval()(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ConfigError, match="needs a transformer"):
        build(encoder={"name": "resnet18"}, norm="encoder")
    with pytest.raises(ConfigError, match="returns no tokens"):
        build(encoder=nn.Conv2d(3, 3, 1))
    with pytest.raises(ConfigError, match="set data_preprocessor"):
        build(data_preprocessor=None)
    with pytest.raises(ConfigError, match="not divisible"):
        build_pool("attentive", 16, {"num_heads": 3})
    with pytest.raises(ConfigError, match="takes no arguments"):
        build_pool("mean", 16, {"num_heads": 4})


def test_heads_that_divide_the_width_are_chosen():
    assert build_pool("attentive", 192).num_heads == 12 and build_pool("attentive", 128).num_heads == 8
    assert build_pool("efficient", 12).num_queries == 4
    head = ProbeHead(dim=6, num_classes=2, pool=build_pool("efficient", 6))
    assert head(torch.randn(3, 5, 6)).shape == (3, 2)
