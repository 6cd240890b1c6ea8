"""Test the validation of launcher variables."""

import socket

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from vislab.engine import distributed
from vislab.engine.distributed import init_cpu_process_group, read_launcher, synchronize_norms, wrap_for_processes
from vislab.errors import ConfigError


@pytest.fixture
def launched(monkeypatch):
    def launch(**variables):
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return launch


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "expects the environment variable RANK"),
        ({"RANK": "0", "LOCAL_RANK": "0"}, "WORLD_SIZE, which is not set"),
        ({"RANK": "zero", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, "RANK is 'zero', not a number"),
        ({"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, "process 2 of 2"),
    ],
)
def test_variables_that_cannot_be(launched, variables, message):
    launched(**variables)
    with pytest.raises(ConfigError, match=message):
        read_launcher("pytorch")


def test_port_in_use(launched, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        launched(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(ConfigError, match="cannot meet at 127.0.0.1:.*MASTER_PORT=29501"):
            init_cpu_process_group("pytorch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="one gloo process on the CPU")
def test_a_model_can_ask_for_unused_parameters(launched, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    init_cpu_process_group("pytorch", timeout=60)
    try:
        model = nn.Linear(1, 1)
        assert not wrap_for_processes(model, find_unused_parameters=False).find_unused_parameters
        model.find_unused_parameters = True
        assert wrap_for_processes(model, find_unused_parameters=False).find_unused_parameters
    finally:
        torch.distributed.destroy_process_group()


def test_synchronized_norms_keep_the_activation_of_timms(monkeypatch):
    model = nn.Sequential(nn.BatchNorm2d(2), BatchNormAct2d(2))
    assert synchronize_norms(model, None) is model
    if not torch.cuda.is_available():
        assert synchronize_norms(model, "torch") is model  # torch has none for the CPU
    monkeypatch.setattr(distributed, "get_device", lambda: "cuda")
    plain, act = synchronize_norms(model, "torch")
    assert type(plain) is nn.SyncBatchNorm and isinstance(act, nn.SyncBatchNorm) and isinstance(act.act, nn.ReLU)
    with pytest.raises(ConfigError, match="sync_bn='mmcv'; expected 'torch'"):
        synchronize_norms(model, "mmcv")
