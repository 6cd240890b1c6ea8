"""Process groups on machines without a GPU: mmengine always selects a CUDA device first, which fails there."""

import os
from datetime import timedelta

import torch

from vislab.errors import ConfigError

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
