"""Test TrActHook in runs: the selected layer, gradients, error messages."""

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from tests.helpers.tract_oracle import expected
from vislab.datasets.base import BaseDataset
from vislab.engine.runner import Runner
from vislab.errors import ConfigError
from vislab.systems.tract import TrActHook, get_tract


class Points(BaseDataset):
    def load_data_list(self):
        return [{"point": p} for p in np.random.RandomState(0).randn(16, 6).astype(np.float32)]


def pack(results: dict) -> dict:
    return {"inputs": torch.from_numpy(results["point"])}


class Model(BaseModel):
    """`order` says in which order the two layers run; `head` always comes last."""

    def __init__(self, *, order: tuple[str, ...] = ("first", "second"), frozen: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 1)
        self.order = order
        self.first.requires_grad_(not frozen)
        self.seen = []

    def forward(self, inputs, data_samples=None, mode: str = "tensor"):
        x = torch.stack(list(inputs))
        self.seen.append(x)
        for name in self.order:
            x = getattr(self, name)(x).tanh()
        return {"loss": (self.head(x) - 1).square().mean()}


class KeepGradients(torch.optim.SGD):
    """Notes the gradient of the first parameter group's first weight at every step."""

    def step(self, closure=None):
        gradient = self.param_groups[0]["params"][0].grad
        self.noted = [*getattr(self, "noted", []), None if gradient is None else gradient.clone()]
        return super().step(closure)


def run(tmp_path, hook: dict, model: dict | None = None, *, checkpoint=None, resume=False, **optim) -> Runner:
    runner = Runner(
        model={"type": Model, **(model or {})},
        work_dir=str(tmp_path),
        train_dataloader={
            "dataset": {"type": Points, "pipeline": [pack]},
            "sampler": {"type": "EpochSampler", "shuffle": True},
            "batch_size": 8,
        },
        train_cfg={"by_epoch": True, "max_epochs": 2},
        optim_wrapper={"optimizer": {"type": KeepGradients, "lr": 0.1}, **optim},
        default_hooks={"logger": {"type": "LoggerHook", "interval": 2}, "checkpoint": checkpoint},
        resume=resume,
        custom_hooks=[{"type": TrActHook, **hook}],
        randomness={"seed": 0},
        experiment_name=f"tract_{tmp_path.name}",
    )
    runner.train()
    return runner


def first_gradient(model: Model, inputs: torch.Tensor) -> torch.Tensor:
    """Return TrAct's update of the initial weights on these inputs, by its definition."""
    twin = Model()
    twin.load_state_dict(model.initial)
    out = twin.first(inputs)
    out.retain_grad()
    (twin.head(twin.second(out.tanh()).tanh()) - 1).square().mean().backward()
    return expected(twin.first, inputs, out.grad)


@pytest.fixture(autouse=True)
def _keep_initial_weights(monkeypatch):
    stock = Model.init_weights

    def init_weights(self):
        stock(self)
        self.initial = {k: v.clone() for k, v in self.state_dict().items()}

    monkeypatch.setattr(Model, "init_weights", init_weights)


def test_one_line_turns_it_on_and_the_end_of_training_turns_it_off(tmp_path):
    runner = run(tmp_path, {"lam": 0.1})
    model = runner.model
    wanted = first_gradient(model, model.seen[0])
    torch.testing.assert_close(runner.optim_wrapper.optimizer.noted[0], wanted, rtol=1e-3, atol=1e-5)
    assert get_tract(model.first) is None
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "TrAct: layer 'first'" in log and "tract_norm" in log and "tract_gain" in log
    assert "could not be factorized" not in log


def test_deferred_is_exact_under_accumulation_and_comes_before_clipping(tmp_path):
    runner = run(tmp_path, {"reduce": "deferred"}, accumulative_counts=2, clip_grad={"max_norm": 1e-3})
    model, noted = runner.model, runner.optim_wrapper.optimizer.noted
    wanted = first_gradient(model, torch.cat(model.seen[:2]))
    assert len(noted) == 2 and noted[0].norm() < 1.001e-3  # clipped after it was preconditioned
    torch.testing.assert_close(noted[0] / noted[0].norm(), wanted / wanted.norm(), rtol=1e-3, atol=1e-5)
    assert "step" not in vars(runner.optim_wrapper)


@pytest.mark.parametrize("reduce", ["deferred", "local"])
def test_resume_inside_an_accumulation_window(tmp_path, reduce):
    """At the end of the first epoch two of three iterations of a step are done."""
    options = {"accumulative_counts": 3, "checkpoint": {"type": "CheckpointHook"}}
    whole = run(tmp_path / f"whole_{reduce}", {"reduce": reduce}, **options)
    path = str(tmp_path / f"whole_{reduce}/epoch_1.pth")
    resumed = run(tmp_path / f"resumed_{reduce}", {"reduce": reduce}, resume=path, **options)
    assert len(resumed.model.seen) == 2
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_layer_may_be_named(tmp_path):
    runner = run(tmp_path, {"layer": "second"}, {"order": ("second", "first")})
    assert "TrAct: layer 'second'" in next(tmp_path.glob("*/*.log")).read_text()
    assert not runner.model.second._forward_hooks


@pytest.mark.parametrize(
    ("hook", "model", "message"),
    [
        ({}, {"order": ("second", "first")}, "'second' ran before it.*layer='second'"),
        ({}, {"order": ("second",)}, "'first' was not called.*'second' ran first"),
        ({}, {"frozen": True}, "'first' of Model is frozen"),
        ({"layer": "frist"}, {}, "'frist' of Model does not exist.*did you mean 'first'"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(tmp_path, hook, model, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, hook, model)


def test_settings_are_checked_when_built():
    with pytest.raises(ConfigError, match="did you mean 'global'"):
        TrActHook(reduce="globl")
    with pytest.raises(ConfigError, match="lam is -1"):
        TrActHook(lam=-1)
