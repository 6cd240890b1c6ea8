"""Distributed training, including CPU process groups, which mmengine does not support."""

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
from vislab.models.encoders.initial_weights import are_loaded
from vislab.registry import MODEL_WRAPPERS

T = TypeVar("T")

_VARIABLES = {  # environment variables of each launcher: (rank, local rank, world size)
    "pytorch": ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    "slurm": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
}


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model without wrappers for distributed training and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def read_launcher(launcher: str) -> None:
    """Check the environment variables of the launcher, and set those of torch.distributed.

    Args:
        launcher: "pytorch" (torchrun), "slurm" or "mpi".

    Raises:
        ConfigError: Unknown launcher, or its environment variables are missing, invalid, or do not match the machine.
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
    """Check the environment variables of the launcher, and initialize the process group on the CPU."""
    if not torch.cuda.is_available() and get_device() == "cpu":
        init_cpu_process_group(launcher, timeout)
    else:
        read_launcher(launcher)


def init_cpu_process_group(launcher: str, timeout: float | None = None) -> None:
    """Initialize the gloo process group of a launcher.

    Args:
        launcher: "pytorch" (torchrun), "slurm" or "mpi".
        timeout: Timeout of collectives in seconds.

    Raises:
        ConfigError: As in `read_launcher`, or the processes cannot connect to MASTER_ADDR:MASTER_PORT.
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
    """Call `function` on the main process and return its result on all ranks.

    Raises:
        VislabError: The error of `function`, on all ranks, so that none of them waits.
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
    """Convert batch norms of `model` to synchronized ones for `sync_bn="torch"`; None returns `model` unchanged.

    Raises:
        ConfigError: If `kind` is unknown.
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
    """Broadcast the running statistics of batch norms from rank 0, whose statistics are saved in checkpoints.

    Each process collects statistics of its own batches, but all processes must evaluate the same model.
    """
    if get_world_size() == 1:
        return
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for statistics in part.buffers(recurse=False):
                broadcast(statistics)


def wrap_for_processes(model: nn.Module, find_unused_parameters: bool) -> nn.Module:
    """Wrap `model` with DistributedDataParallel, on the CPU or the GPU of this process.

    Args:
        model: The model, on its device.
        find_unused_parameters: Whether parameters may have no gradient in a step. Models can also set it as an
            attribute.
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
    """Wrap `model` with the wrapper of a config, DistributedDataParallel by default.

    Args:
        model: The model, on its device.
        wrapper: `model_wrapper_cfg` of the config; without `type`, arguments of DistributedDataParallel.
        run: The whole config.
        training: Call the model's `init_weights()` before a FullyShard splits its weights.

    Raises:
        ConfigError: The wrapper does not take these arguments, or does not support this model or config.
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
            raise ConfigError(f"model_wrapper_cfg: FullyShard does not support {refused[0]}: remove one of the two")
        if training and are_loaded() and hasattr(model, "init_weights"):
            model.init_weights()
        for value in model.state_dict().values():
            broadcast(value)
    try:
        return MODEL_WRAPPERS.build(wrapper, default_args={"module": model})
    except TypeError as error:
        raise ConfigError(f"model_wrapper_cfg: {error}") from error
