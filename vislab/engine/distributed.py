"""Process groups on machines without a GPU, where mmengine would select a CUDA device; work for rank 0 alone."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
from mmengine.dist import broadcast_object_list, is_main_process

from vislab.errors import ConfigError, VislabError

T = TypeVar("T")

_VARIABLES = {  # how each launcher names (rank, local rank, world size)
    "pytorch": ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    "slurm": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
}


def init_cpu_process_group(launcher: str, timeout: float | None = None) -> None:
    """Join the gloo group that a launcher set up.

    Args:
        launcher: "pytorch" (torchrun), "slurm" or "mpi".
        timeout: Seconds a collective may take.

    Raises:
        ConfigError: unknown launcher, or its environment variables are not set.
    """
    if launcher not in _VARIABLES:
        raise ConfigError(f"launcher={launcher!r}; expected one of none, {', '.join(_VARIABLES)}")
    for name, source in zip(("RANK", "LOCAL_RANK", "WORLD_SIZE"), _VARIABLES[launcher], strict=True):
        if source not in os.environ:
            raise ConfigError(
                f"--launcher {launcher} expects the environment variable {source}, which is not set. "
                "Start the run with tools/dist_train.sh or tools/slurm_train.sh, or leave --launcher away."
            )
        os.environ[name] = os.environ[source]
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    options = {} if timeout is None else {"timeout": timedelta(seconds=timeout)}
    torch.distributed.init_process_group("gloo", **options)


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
