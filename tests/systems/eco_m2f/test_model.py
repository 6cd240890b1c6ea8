"""Test EcoM2F: losses at an exit, policies in a batch, and the common model tests."""

import pytest
import torch
from torch import nn

from tests.helpers.eco_m2f import (
    build_model,
    labeled_samples,
    random_images,
)
from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError


class TestBehavior(ModelBehavior):
    without_gradient = ("gate.",)
    batch_tolerance = 1e-4

    def build(self):
        return build_model()

    def inputs(self, count):
        return random_images(count)

    def samples(self, count):
        return labeled_samples(count)


def test_loss_at_an_exit_is_weighted_and_leaves_deeper_layers_alone():
    sample = labeled_samples(1)

    def losses(model, exit):
        torch.manual_seed(1)
        return model(random_images(1), sample, mode="loss", num_layers=exit)

    torch.manual_seed(0)
    linear = build_model(alpha="linear")
    constant = build_model(alpha="constant")
    constant.load_state_dict(linear.state_dict())
    linear.train(), constant.train()
    for module in (*linear.modules(), *constant.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    torch.testing.assert_close(losses(linear, 2)["loss_cls"], 2 * losses(constant, 2)["loss_cls"])
    linear.train_exit = 1
    sum(losses(linear, None).values()).backward()
    layers = linear.pixel_decoder.layers
    assert all(p.grad is None for p in (*layers[1].parameters(), *layers[2].parameters()))
    assert all(p.grad is not None for p in layers[0].parameters())
    everything = build_model(exit_mode="all")(random_images(1), sample, mode="loss")
    assert {key.split(".")[0] for key in everything} == {"e1", "e2", "e3"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exits": (1, 9)}, "deeper"),
        ({"exits": (3, 2)}, "rising"),
        ({"exit_mode": "some"}, "sample, all, full"),
        ({"alpha": "cubic"}, "constant"),
        ({"policy": 7}, "among the exits"),
        ({"policy": "guess"}, "gate, full"),
        ({"policy": "random", "histogram": (1.0,)}, "histogram"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        build_model(**change)


@torch.no_grad()
def test_the_gate_decides_for_each_image_whatever_its_batch():
    torch.manual_seed(0)
    model = build_model(policy="gate").eval()
    inputs = torch.cat([random_images(3), 1 - random_images(3)[:1] * 3])
    features = model.gate_features(model.pixel_decoder.project(model.backbone(inputs)))
    model.gate.weight.copy_(1e5 * (features[:3] - features.mean(0)))  # each row answers to an image
    model.gate.bias.copy_(-(model.gate.weight @ features.mean(0)))
    together = model(inputs)
    assert len(set(together["num_layers"].tolist())) > 1
    for i in range(4):
        alone = model(inputs[i : i + 1])
        assert alone["num_layers"].item() == together["num_layers"][i].item()
        torch.testing.assert_close(alone["mask_logits"], together["mask_logits"][i : i + 1], rtol=1e-3, atol=1e-3)
        fixed = model(inputs[i : i + 1], num_layers=int(together["num_layers"][i]))
        assert torch.equal(fixed["class_logits"], alone["class_logits"])


@torch.no_grad()
def test_the_dial_trades_depth_for_cost():
    model = build_model(policy="gate").eval()
    means = []
    for model.depth_penalty in (-100.0, 0.0, 100.0):
        means.append(model(random_images(3))["num_layers"].float().mean().item())
    assert means[0] == 3 and means[2] == 1 and means[0] >= means[1] >= means[2]


@torch.no_grad()
def test_fixed_oracle_and_random():
    model = build_model(policy=2).eval()
    assert model(random_images(2))["num_layers"].tolist() == [2, 2]
    model.set_policy("oracle")
    samples = labeled_samples(2)
    with pytest.raises(ConfigError, match="best_exit"):
        model(random_images(2), samples)
    for sample, k in zip(samples, (3, 1), strict=True):
        sample.set_metainfo({"best_exit": k})
    predicted = model(random_images(2), samples, mode="predict")
    assert [s.num_layers for s in predicted] == [3, 1]
    model.set_policy("random", (0, 0, 1))
    assert model(random_images(4))["num_layers"].tolist() == [3] * 4
