"""The modes of forward, parts given as modules or configs, and the check for NaN."""

import pytest
import torch
from mmengine.model import BaseModel
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


LOSSES = {
    "one": {"loss": [0.5]},
    "with values to log": {"loss_cls": [0.25], "accuracy": [0.75], "d0.loss_cls": [1.5]},
    "not scalars": {"loss_a": [[1.0, 2.0]], "loss_b": [1.0, 3.0]},
    "many": {f"d{i}.loss": [0.1 * i] for i in range(40)},
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_summed_as_in_mmengine(name):
    """The sum, its gradients, and what is logged, in the same order."""
    found = []
    for parse in (Doubling.parse_losses, BaseModel.parse_losses):
        leaves = {k: [torch.tensor(x, requires_grad=True) for x in v] for k, v in LOSSES[name].items()}
        total, logged = parse(Doubling(), {k: v[0] if len(v) == 1 else v for k, v in leaves.items()})
        total.backward()
        gradients = [leaf.grad for part in leaves.values() for leaf in part]
        found.append((total.detach(), {k: v.detach() for k, v in logged.items()}, gradients))
    (total, logged, gradients), (their_total, their_logged, their_gradients) = found
    assert torch.allclose(total, their_total, rtol=1e-6) and logged.keys() == their_logged.keys()
    assert list(logged)[0] == "loss" and all(torch.equal(logged[k], their_logged[k]) for k in list(logged)[1:])
    pairs = zip(gradients, their_gradients, strict=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in pairs)


def test_wrong_losses_are_named():
    with pytest.raises(TypeError, match="loss_a is not a tensor"):
        Doubling().parse_losses({"loss_a": 1.0})
    with pytest.raises(TrainingError, match="accuracy, but no loss"):
        Doubling().parse_losses({"accuracy": torch.ones(())})
