"""The modes of forward, parts given as modules or configs, and the check for NaN."""

import pytest
import torch
from torch import nn

from vislab.errors import TrainingError
from vislab.losses import L2Loss
from vislab.models.base import VisionModel, build_part, require_finite
from vislab.registry import MODELS
from vislab.structures import DataSample


class Doubling(VisionModel):
    def forward_tensor(self, inputs, data_samples, factor=2):
        return {"output": factor * inputs}

    def forward_loss(self, inputs, data_samples, factor=2):
        return {"loss": factor * inputs.sum() + len(data_samples)}

    def forward_predict(self, inputs, data_samples, factor=2):
        for sample, one in zip(data_samples, factor * inputs, strict=True):
            sample.set_metainfo({"sum": one.sum().item()})
        return data_samples


INPUTS = torch.ones(2, 1, 1, 1)


def test_each_mode_runs_its_own_method():
    model, samples = Doubling(), [DataSample(), DataSample()]
    assert model(INPUTS)["output"].flatten().tolist() == [2, 2]
    assert model(INPUTS, samples, mode="loss")["loss"] == 6
    assert model(INPUTS, samples, mode="predict")[1] is samples[1] and samples[1].get("sum") == 2
    with pytest.raises(ValueError, match="mode='losses' is not one of tensor, loss, predict"):
        model(INPUTS, samples, mode="losses")


@pytest.mark.parametrize("given", [None, []])
def test_predict_makes_samples_where_none_are_given(given):
    assert [s.get("sum") for s in Doubling()(INPUTS, given, mode="predict")] == [2, 2]


def test_options_reach_the_method_and_unknown_ones_are_refused():
    assert Doubling()(INPUTS, factor=3)["output"].sum() == 6
    with pytest.raises(TypeError, match="facto"):
        Doubling()(INPUTS, facto=3)


def test_parts_are_built_or_taken_as_they_are():
    own = nn.L1Loss()
    assert build_part(own, L2Loss) is own
    assert isinstance(build_part(None, L2Loss), L2Loss)
    assert isinstance(build_part({}, L2Loss), L2Loss)
    assert build_part({"type": "CrossEntropy", "label_smoothing": 0.1}, L2Loss, MODELS).label_smoothing == 0.1


def test_finite_outputs_pass_as_they_are():
    for output in (torch.randn(3, 4), torch.zeros(0), torch.arange(3), torch.full((2,), 6e4).half()):
        assert require_finite(output, "logits") is output


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_others_are_counted(value):
    output = torch.zeros(3, 4)
    output[1, :2] = value
    with pytest.raises(TrainingError, match="2 of 12 logits are not finite"):
        require_finite(output, "logits")


def test_every_model_inherits_the_modes():
    from vislab.models.classifier import ImageClassifier
    from vislab.models.dense import DepthEstimator, SemanticSegmentor
    from vislab.models.mask2former import Mask2Former
    from vislab.systems.eco_m2f import EcoM2F
    from vislab.systems.hnerv import HNeRV

    for model in (ImageClassifier, DepthEstimator, SemanticSegmentor, Mask2Former, EcoM2F, HNeRV):
        assert model.forward is VisionModel.forward
