"""Common tests of all models; subclass it and define how the model and its input are built.
    class TestMyModel(ModelBehavior):
        def build(self): return MyModel(width=8)
        def inputs(self, count): return torch.rand(count, 3, 32, 32)

Models are built small: the whole class should take a few seconds.
"""

import copy
from collections.abc import Callable

import pytest
import torch
from mmengine.model import BaseModel
from torch import Tensor

from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.errors import TrainingError
from vislab.models.preprocessor import move_samples
from vislab.structures import DataSample


def flatten(value) -> list[Tensor]:
    """All tensors in nested dicts, lists, tuples and data elements, in a fixed order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for key in sorted(value) for t in flatten(value[key])]
    if isinstance(value, list | tuple):
        return [t for item in value for t in flatten(item)]
    if hasattr(value, "all_items"):
        return [t for _, item in sorted(value.all_items(), key=lambda kv: kv[0]) for t in flatten(item)]
    return []


def same(a, b, tolerance: float = 0.0) -> bool:
    pairs = list(zip(flatten(a), flatten(b), strict=True))
    return bool(pairs) and all(torch.allclose(x.float(), y.float(), rtol=0, atol=tolerance) for x, y in pairs)


class ModelBehavior:
    """Tests inherited by each model; the attributes say where a model rightly differs."""

    batch_tolerance = 1e-5
    """Tolerance of an output to other samples in the batch (summation order)."""
    bf16_tolerance = 0.1
    """Relative difference allowed between the loss under bf16 autocast and in float32."""
    without_gradient: tuple[str, ...] = ()
    """Beginnings of the names of parameters that rightly get no gradient (frozen, or used in another mode)."""

    def build(self) -> BaseModel:
        """A small model with random weights."""
        raise NotImplementedError

    def inputs(self, count: int) -> Tensor:
        """`count` preprocessed inputs (B, C, H, W) float; the same ones at every call."""
        raise NotImplementedError

    def samples(self, count: int) -> list[DataSample]:
        """Labels of the inputs."""
        return [DataSample() for _ in range(count)]

    def make(self) -> BaseModel:
        torch.manual_seed(0)
        return self.build()

    def losses(self, model: BaseModel, count: int = 2) -> dict[str, Tensor]:
        torch.manual_seed(1)
        return model(self.inputs(count), self.samples(count), mode="loss")

    def outputs(self, model: BaseModel, count: int = 2, mode: str = "tensor"):
        model.eval()
        torch.manual_seed(1)
        with torch.no_grad():
            return model(self.inputs(count), self.samples(count), mode=mode)

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        return sum(value.sum() for name, value in losses.items() if "loss" in name)

    def test_loss_mode_gives_finite_float32_scalars(self):
        losses = self.losses(self.make())
        assert any("loss" in name for name in losses)
        for name, value in losses.items():
            assert value.dtype == torch.float32 and value.isfinite().all(), name

    def test_predict_mode_fills_one_sample_an_input(self):
        predictions = self.outputs(self.make(), 3, "predict")
        assert len(predictions) == 3
        for sample in predictions:
            assert isinstance(sample, DataSample)
            assert [key for key in sample.all_keys() if key.startswith("pred_")]

    def test_tensor_mode_gives_outputs_by_name(self):
        outputs = self.outputs(self.make())
        assert isinstance(outputs, dict) and flatten(outputs)
        assert all(t.isfinite().all() for t in flatten(outputs))

    def test_broken_weights_predict_nothing(self):
        model = self.make()
        for parameter in model.parameters():
            parameter.data.fill_(float("nan"))
        with pytest.raises(TrainingError, match="not finite"):
            self.outputs(model, 1, "predict")

    def test_unknown_mode_is_refused(self):
        with pytest.raises(ValueError, match="mode"):
            self.make()(self.inputs(1), self.samples(1), mode="train")

    def test_every_parameter_gets_a_gradient(self):
        model = self.make().train()
        self.total(self.losses(model)).backward()
        without = [
            name
            for name, p in model.named_parameters()
            if (p.grad is None or not p.grad.abs().sum() > 0) and not name.startswith(self.without_gradient)
        ]
        assert not without

    def test_state_dict_round_trip(self):
        model, other = self.make(), self.build()
        expected = self.outputs(model)
        state = copy.deepcopy(model.state_dict())
        other.load_state_dict(state, strict=True)
        assert same(expected, self.outputs(other))

    def test_bf16_step(self):
        """Losses in float32 and near those of float32; one step leaves finite weights in float32."""
        model = self.make()
        expected = self.total(self.losses(model))
        losses = self.amp_step(model, "bfloat16", lambda: self.losses(model))
        assert self.total(losses).item() == pytest.approx(expected.item(), rel=self.bf16_tolerance)

    @pytest.mark.slow
    def test_float16_losses(self):
        """No value of a forward pass leaves the range of float16."""
        model = self.make()
        expected = self.total(self.losses(model))
        with torch.autocast("cpu", dtype=torch.float16):
            losses = self.losses(model)
        assert all(value.dtype == torch.float32 for value in losses.values())
        assert self.total(losses).item() == pytest.approx(expected.item(), rel=self.bf16_tolerance)

    @pytest.mark.gpu
    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_mixed_precision_on_a_gpu(self, dtype):
        device = torch.device("cuda")
        model = self.make().to(device)
        inputs, samples = self.inputs(2).to(device), move_samples(self.samples(2), device)

        def losses() -> dict[str, Tensor]:
            torch.manual_seed(1)
            return model(inputs, samples, mode="loss")

        expected = self.total(losses())
        found = self.amp_step(model, dtype, losses)
        assert self.total(found).item() == pytest.approx(expected.item(), rel=self.bf16_tolerance)

    def amp_step(self, model: BaseModel, dtype: str, losses: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """A training step with AmpOptimWrapper; returns its losses."""
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        trained = [p for p in model.parameters() if p.requires_grad]
        wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(trained, lr=1e-3), dtype=dtype, loss_scale=128.0)
        with wrapper.optim_context(model):
            found = losses()
            total, _ = model.parse_losses(found)
        assert all(value.dtype == torch.float32 for value in found.values())
        wrapper.update_params(total)
        after = dict(model.named_parameters())
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in after.values())
        assert any(not torch.equal(p, before[name]) for name, p in after.items())
        return found

    def test_a_prediction_does_not_depend_on_its_batch(self):
        model = self.make()
        alone, together = self.outputs(model, 1, "predict"), self.outputs(model, 3, "predict")
        assert same(alone[0], together[0], self.batch_tolerance)

    def test_evaluation_is_deterministic(self):
        model = self.make()
        first = self.outputs(model)
        assert same(first, self.outputs(model))
        assert same(first, self.outputs(self.make()))

    def test_weights_do_not_change_in_evaluation(self):
        model = self.make()
        before = copy.deepcopy(model.state_dict())
        self.outputs(model, 2, "predict")
        assert same(before, model.state_dict())
