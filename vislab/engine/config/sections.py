"""Names and kinds of the sections of a config that are not components."""

import functools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt, PositiveInt


class MultiProcessing(BaseModel):
    mp_start_method: Literal["fork", "spawn", "forkserver"] = "fork"
    opencv_num_threads: int = 0


class Distribution(BaseModel):
    backend: Literal["nccl", "gloo", "mpi", "cncl", "hccl", "mccl", "smddp"] = "nccl"
    init_backend: Literal["torch", "deepspeed", "smddp", "mpi"] = "torch"
    timeout: NonNegativeFloat | None = None
    port: PositiveInt | None = None
    init_method: str | None = None
    world_size: int = -1
    rank: int = -1
    device_id: Any = None


class Environment(BaseModel):
    cudnn_benchmark: bool = False
    mp_cfg: MultiProcessing | None = None
    dist_cfg: Distribution | None = None
    resource_limit: PositiveInt = 4096


class ScaleLr(BaseModel):
    base_batch_size: PositiveInt
    enable: bool = False


class Randomness(BaseModel):
    seed: NonNegativeInt | None = None
    diff_rank_seed: bool = False
    deterministic: bool = False


class Multipliers(BaseModel):
    lr_mult: NonNegativeFloat = 1.0
    decay_mult: NonNegativeFloat = 1.0


class Paramwise(BaseModel):
    """`paramwise_cfg` of mmengine's DefaultOptimWrapperConstructor."""

    bias_lr_mult: float = 1.0
    bias_decay_mult: float = 1.0
    norm_decay_mult: float = 1.0
    flat_decay_mult: float = 1.0
    dwconv_decay_mult: float = 1.0
    dcn_offset_lr_mult: float = 1.0
    bypass_duplicate: bool = False
    custom_keys: dict[str, Multipliers] = {}


class Settings(BaseModel):
    """Arguments of the Runner that are plain values."""

    launcher: Literal["none", "pytorch", "slurm", "mpi"] = "none"
    log_level: Literal["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"] = "INFO"
    work_dir: str | None = None
    experiment_name: str | None = None
    default_scope: Any = None  # compared with the scopes of the registries
    load_from: str | None = None
    resume: bool | str | None = None
    find_unused_parameters: bool | None = None
    env_cfg: Environment | None = None
    randomness: Randomness | None = None
    auto_scale_lr: ScaleLr | None = None
    sync_bn: Literal["torch", "mmcv"] | None = None
    compile: bool | Annotated[dict, functools.partial(torch.compile, None)] | None = None
    activation_checkpointing: Sequence[str] | None = None
