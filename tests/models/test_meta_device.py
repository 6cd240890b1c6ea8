"""Test that modules have their shapes, and that tensors with content are filled as always."""

import pytest
import timm
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vislab.models.meta_device import meta_device


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto", "resnet18"])
def test_models_are_those_of_the_device(name):
    shapes = lambda model: {key: (value.shape, value.dtype) for key, value in model.state_dict().items()}
    with torch.device("meta"):
        right = shapes(timm.create_model(name))
    with meta_device():
        model = timm.create_model(name)
    assert shapes(model) == right and all(p.is_meta and p.requires_grad for p in model.parameters())


def test_no_initializer_runs():
    """Operations that reach the dispatcher are seen by the innermost mode."""

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    names = []
    with Seen(), meta_device():
        layer = nn.Linear(3, 4)
        assert nn.init.trunc_normal_(layer.weight) is layer.weight
    assert "empty" in names and not {"uniform_", "normal_", "erfinv_", "clamp_"} & set(names), names


def test_operations_with_other_tensors_check_the_shapes():
    with meta_device():
        assert torch.zeros(2).add_(torch.zeros(1)).shape == (2,)
        for name in ("add_", "mul_", "copy_"):
            with pytest.raises(RuntimeError):
                getattr(torch.zeros(2), name)(torch.zeros(3))


def test_tensors_with_content_are_filled():
    with meta_device():
        assert torch.zeros(2, device="cpu").add_(1).fill_(3).tolist() == [3, 3]
    assert torch.empty(2).zero_().tolist() == [0, 0] and nn.Linear(2, 2).weight.device.type == "cpu"
