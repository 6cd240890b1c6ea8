"""Test the names of EfficientNet's weights: those of the packages, written here in the order of their files."""

import pytest
import timm
import torch

from vislab.models.classifier import ImageClassifier
from vislab.models.encoders.efficientnet_convert import convert, detect
from vislab.zoo.foreign import load_foreign

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
STAGES = {"tf_efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1), "tf_efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1)}


def names_of(stages: tuple[int, ...]) -> list[str]:
    """Names of the weights in efficientnet_pytorch's files, in their order, which is timm's."""

    def norm(name: str) -> list[str]:
        return [f"{name}.{part}" for part in NORM]

    names = ["_conv_stem.weight", *norm("_bn0")]
    for block in range(sum(stages)):
        place = f"_blocks.{block}."
        names += [f"{place}_expand_conv.weight", *norm(f"{place}_bn0")] if block else []
        names += [f"{place}_depthwise_conv.weight", *norm(f"{place}_bn1")]
        names += [f"{place}_project_conv.weight", *norm(f"{place}_bn2")]
    return [*names, "_conv_head.weight", *norm("_bn1"), "_fc.weight", "_fc.bias"]


def published(name: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A model of timm, and its weights with the names of the packages."""
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    state = model.state_dict()
    return model, dict(zip(names_of(STAGES[name]), state.values(), strict=True))


@pytest.mark.parametrize("name", STAGES)
def test_every_weight_gets_timms_name(name):
    with torch.device("meta"):
        model, state = published(name)
    assert detect(state) == "efficientnet_pytorch"
    converted = convert(state, "efficientnet_pytorch")
    own = model.state_dict()
    assert converted.keys() == {f"network.{key}" for key in own}
    assert all(value is state_value for value, state_value in zip(converted.values(), state.values(), strict=True))
    assert list(converted) == [f"network.{key}" for key in own]


def test_timms_names_get_the_prefix_of_the_classifier():
    state = {"conv1.weight": torch.zeros(1)}
    assert detect(state) == "timm" and detect({"network.conv1.weight": torch.zeros(1)}) is None
    assert list(convert(state, "timm")) == ["network.conv1.weight"]


def test_the_loaded_model_is_timms(tmp_path):
    reference, state = published("tf_efficientnet_lite0")
    torch.save(state, tmp_path / "lite0.pth")
    model = ImageClassifier(name="tf_efficientnet_lite0", num_classes=1000).eval()
    report = load_foreign(model, tmp_path / "lite0.pth")
    assert not (report.missing or report.unexpected or report.mismatched)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(images, mode="tensor")["logits"], reference(images))
