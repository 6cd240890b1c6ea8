"""Test mixed precision: bfloat16 without a scaler on CPUs, mmengine's wrapper on GPUs."""

import pytest
import torch

from tests.helpers.toy_run import ToyModel, make_runner, toy_config
from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.errors import ConfigError
from vislab.io.checkpoint import load_checkpoint


class Watching(ToyModel):
    seen: set = set()

    def forward(self, inputs, data_samples=None, mode: str = "tensor"):
        type(self).seen.add((mode, self.head(torch.zeros(1, 8)).dtype))
        return super().forward(inputs, data_samples, mode)


def amp(**options) -> dict:
    return {"type": "AmpOptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}, **options}


def test_runs_on_the_cpu_in_bfloat16(tmp_path):
    Watching.seen = set()
    runner = make_runner(
        tmp_path, total=2, model={"type": Watching}, optim_wrapper=amp(dtype="float16"), custom_hooks=[]
    )
    runner.train()
    assert type(runner.optim_wrapper) is AmpOptimWrapper
    assert Watching.seen == {("loss", torch.bfloat16), ("predict", torch.float32)}
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())
    assert "loss_scaler" not in load_checkpoint(tmp_path / "epoch_2.pth")["optimizer"]


def test_validation_under_autocast_where_asked(tmp_path):
    Watching.seen = set()
    make_runner(tmp_path, total=1, model={"type": Watching}, val_cfg={"amp": True}, custom_hooks=[]).train()
    assert ("predict", torch.bfloat16) in Watching.seen and ("loss", torch.float32) in Watching.seen


def test_resume_is_exact_too(tmp_path):
    whole = make_runner(tmp_path, optim_wrapper=amp(clip_grad={"max_norm": 1.0}))
    whole.train()
    path = str(tmp_path / "epoch_2.pth")
    again = make_runner(tmp_path / "again", optim_wrapper=amp(clip_grad={"max_norm": 1.0}), resume=path)
    again.train()
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_state_saved_on_a_gpu_loads_on_the_cpu():
    parameter = torch.nn.Parameter(torch.zeros(2))
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD([parameter], lr=0.1))
    state = wrapper.state_dict() | {"loss_scaler": {"scale": 65536.0}}
    wrapper.load_state_dict(state)
    assert "loss_scaler" in state  # the caller's dict is not touched


def test_accumulation(tmp_path):
    runner = make_runner(tmp_path, total=1, optim_wrapper=amp(accumulative_counts=3))
    runner.train()
    assert runner.optim_wrapper.inner_count == 6


def test_wrong_dtype_and_argument():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ConfigError, match="'half'"):
        AmpOptimWrapper(optimizer=optimizer, dtype="half")
    with pytest.raises(TypeError):
        AmpOptimWrapper(optimizer=optimizer, dtyp="bfloat16")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_on_a_gpu(tmp_path, dtype):
    runner = make_runner(tmp_path, total=2, optim_wrapper=amp(dtype=dtype))
    runner.train()
    assert ("loss_scaler" in load_checkpoint(tmp_path / "epoch_2.pth")["optimizer"]) == (dtype == "float16")
    assert toy_config(tmp_path) and make_runner(tmp_path, total=3, optim_wrapper=amp(dtype=dtype), resume=True).train()
