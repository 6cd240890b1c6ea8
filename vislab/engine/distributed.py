"""Process groups on machines without a GPU, where mmengine would select a CUDA device; work for rank 0 alone."""

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast, broadcast_object_list, get_world_size, is_main_process
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, MMDistributedDataParallel, is_model_wrapper
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vislab.engine.sharding import FullyShard
from vislab.errors import ConfigError, VislabError
from vislab.registry import MODEL_WRAPPERS

T = TypeVar("T")

_VARIABLES = {  # how each launcher names (rank, local rank, world size)
    "pytorch": ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    "slurm": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
}


def unwrap(model: nn.Module) -> nn.Module:
    """Returns the model inside the wrappers for several processes and for test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def read_launcher(launcher: str) -> None:
    """Check what the launcher tells this process, and put it where torch.distributed looks for it.

    Args:
        launcher: "pytorch" (torchrun), "slurm" or "mpi".

    Raises:
        ConfigError: unknown launcher, or its environment variables are not set, no numbers, or contradict the machine.
    """
    if launcher not in _VARIABLES:
        raise ConfigError(f"launcher={launcher!r}; expected one of none, {', '.join(_VARIABLES)}")
    numbers = {}
    for name, source in zip(("RANK", "LOCAL_RANK", "WORLD_SIZE"), _VARIABLES[launcher], strict=True):
        text = os.environ.get(source)
        if text is None:
            raise ConfigError(
                f"--launcher {launcher} expects the environment variable {source}, which is not set. "
                "Start the run with tools/dist_train.sh or tools/slurm_train.sh, or leave --launcher away."
            )
        if not text.isdecimal():
            raise ConfigError(f"--launcher {launcher}: the environment variable {source} is {text!r}, not a number")
        os.environ[name] = text
        numbers[name] = int(text)
    if numbers["RANK"] >= numbers["WORLD_SIZE"]:
        raise ConfigError(
            f"--launcher {launcher}: process {numbers['RANK']} of {numbers['WORLD_SIZE']}; they count from 0"
        )
    if torch.cuda.is_available() and numbers["LOCAL_RANK"] >= torch.cuda.device_count():
        raise ConfigError(
            f"process {numbers['LOCAL_RANK']} of this machine has no GPU: there are {torch.cuda.device_count()}. "
            "Start as many processes as there are GPUs (CUDA_VISIBLE_DEVICES counts)."
        )


def prepare_processes(launcher: str, timeout: float | None = None) -> None:
    """Check what the launcher tells, and join the group on the CPU; on GPUs mmengine joins afterwards."""
    if not torch.cuda.is_available() and get_device() == "cpu":
        init_cpu_process_group(launcher, timeout)
    else:
        read_launcher(launcher)


def init_cpu_process_group(launcher: str, timeout: float | None = None) -> None:
    """Join the gloo group that a launcher set up.

    Args:
        launcher: "pytorch" (torchrun), "slurm" or "mpi".
        timeout: Seconds a collective may take.

    Raises:
        ConfigError: as `read_launcher`, or the processes cannot meet at MASTER_ADDR:MASTER_PORT.
    """
    read_launcher(launcher)
    address = os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    port = os.environ.setdefault("MASTER_PORT", "29500")
    options = {} if timeout is None else {"timeout": timedelta(seconds=timeout)}
    try:
        torch.distributed.init_process_group("gloo", **options)
    except (RuntimeError, ValueError) as error:  # DistNetworkError among them
        reason = str(error).strip().splitlines()[0][:200]
        raise ConfigError(
            f"the {os.environ['WORLD_SIZE']} processes cannot meet at {address}:{port}: {reason}. If another run uses "
            "that port, choose one: MASTER_PORT=29501 (PORT=29501 for tools/dist_train.sh)."
        ) from error


def call_on_main(function: Callable[[], T]) -> T:
    """Call `function` on the main process and return its result on every rank.

    Raises:
        VislabError: what `function` raised, on every rank, so that none waits for the others.
    """
    outcome: list = [None, None]
    if is_main_process():
        try:
            outcome[0] = function()
        except VislabError as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    result, error = outcome
    if error is not None:
        raise error
    return result


def synchronize_norms(model: nn.Module, kind: str | None) -> nn.Module:
    """`model` with batch norms over all processes, for `sync_bn="torch"`; unchanged for None.

    Raises:
        ConfigError: another `kind`.
    """
    if kind is None:
        return model
    if kind != "torch":
        raise ConfigError(f"sync_bn={kind!r}; expected 'torch' or None")
    if get_device() == "cpu":
        print_log("sync_bn needs GPUs: each process keeps its own batch statistics", "current", logging.WARNING)
        return model
    from timm.layers import convert_sync_batchnorm  # torch's own drops the activation in timm's norms

    return convert_sync_batchnorm(model)


def share_statistics(model: nn.Module) -> None:
    """Give the running statistics of batch norms on process 0 to all processes: what checkpoints hold.

    Each process gathers statistics of its own batches, and metrics are to be those of one model.
    """
    if get_world_size() == 1:
        return
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for statistics in part.buffers(recurse=False):
                broadcast(statistics)


def wrap_for_processes(model: nn.Module, find_unused_parameters: bool) -> nn.Module:
    """DistributedDataParallel around `model`, on the CPU or this process's GPU.

    Args:
        model: On its device.
        find_unused_parameters: Steps leave parameters without a gradient. A model of which this is always true has an
            attribute `find_unused_parameters`, which counts as well.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # its successor is not in torch 2.11
        return MMDistributedDataParallel(
            module=model,
            device_ids=None if device.type == "cpu" else [int(os.environ["LOCAL_RANK"])],
            broadcast_buffers=False,
            find_unused_parameters=find_unused_parameters or getattr(model, "find_unused_parameters", False),
        )


def distribute(
    model: nn.Module, wrapper: Mapping[str, Any] | None, run: Mapping[str, Any], *, training: bool
) -> nn.Module:
    """`model` in the wrapper that a config describes, DistributedDataParallel by default.

    Args:
        model: On its device.
        wrapper: The config's `model_wrapper_cfg`; without `type`, arguments of DistributedDataParallel.
        run: The whole config.
        training: Call the model's `init_weights()` before a FullyShard splits its weights.

    Raises:
        ConfigError: the wrapper does not take these arguments, or does not go with this model or config.
    """
    model = synchronize_norms(model, run.get("sync_bn"))
    if wrapper is None:
        return wrap_for_processes(model, run.get("find_unused_parameters", False))
    wrapper = {"type": MMDistributedDataParallel, **wrapper}
    kind = wrapper["type"] if isinstance(wrapper["type"], type) else MODEL_WRAPPERS.get(wrapper["type"])
    if isinstance(kind, type) and issubclass(kind, DistributedDataParallel) and get_device() != "cpu":
        wrapper.setdefault("device_ids", [int(os.environ["LOCAL_RANK"])])
    if isinstance(kind, type) and issubclass(kind, FullyShard):
        if refused := [key for key in ("compile", "find_unused_parameters") if run.get(key)]:
            raise ConfigError(f"model_wrapper_cfg: FullyShard does not go with {refused[0]}: remove one of the two")
        if training and hasattr(model, "init_weights"):
            model.init_weights()
        for value in model.state_dict().values():
            broadcast(value)
    try:
        return MODEL_WRAPPERS.build(wrapper, default_args={"module": model})
    except TypeError as error:
        raise ConfigError(f"model_wrapper_cfg: {error}") from error
