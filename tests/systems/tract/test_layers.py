"""Test which layers of models are selected, and errors."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.tract_oracle import tract_gradient
from vislab.errors import ConfigError
from vislab.systems.tract import apply_tract, find_first_layer


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("resnet10t", "conv1.0"),
        ("vit_tiny_patch16_224", "patch_embed.proj"),
        ("tf_efficientnet_lite0", "conv_stem"),
        ("convnext_atto", "stem.0"),
        ("mixer_s32_224", "stem.proj"),
    ],
)
def test_the_first_layer_of_timm_models(name, first):
    model = timm.create_model(name)
    layer = find_first_layer(model)
    assert layer is model.get_submodule(first)
    assert find_first_layer(model, first) is layer


@pytest.mark.parametrize("size", [(32, 32), (33, 30), (35, 37)])
def test_tensorflow_padding_of_a_timm_stem(size):
    layer = timm.create_model("tf_efficientnet_lite0").conv_stem.double()
    assert type(layer).__name__ == "Conv2dSame"
    x = torch.randn(4, 3, *size, dtype=torch.float64)
    down, right = (max((-(-n // 2) - 1) * 2 + 3 - n, 0) for n in size)
    padded = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
    a = F.unfold(padded, 3, stride=2).transpose(1, 2).reshape(-1, 27)
    g = torch.randn_like(layer(x))
    apply_tract(layer)
    layer(x).backward(g)
    wanted = tract_gradient(a, g.movedim(1, -1).reshape(-1, g.shape[1]), 0.1)
    torch.testing.assert_close(layer.weight.grad.flatten(1), wanted)


def test_what_cannot_be_used_is_refused():
    class Scaled(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight * 2)

    frozen = nn.Sequential(nn.Conv2d(3, 4, 3))
    frozen[0].weight.requires_grad_(False)
    replaced = nn.Linear(2, 2)
    replaced.forward = lambda x: x
    for module, message in [
        (nn.ReLU(), "ReLU has no Linear or Conv2d"),
        (frozen, "layer '0' of Sequential is frozen"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "computed from other parameters"),
        (nn.Sequential(Scaled(2, 2)), "is a Scaled, whose forward"),
        (replaced, "whose forward"),
    ]:
        with pytest.raises(ConfigError, match=message):
            apply_tract(module)
    with pytest.raises(ConfigError, match="'1' of Sequential is a ReLU"):
        find_first_layer(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "1")
