"""Trackers of experiments as visualization backends: Weights & Biases, and MLflow in a local database.

mmengine's classes lose the step of scalars (wandb), upload the code in the current folder (wandb), need a file store
that MLflow no longer opens, and copy the whole work directory (MLflow).
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.visualization import MLflowVisBackend, TensorboardVisBackend, WandbVisBackend
from mmengine.visualization.vis_backend import force_init_env

from vislab.errors import ConfigError, check_choice
from vislab.io.download import is_offline
from vislab.registry import VISBACKENDS


@VISBACKENDS.register_module()
class WandbBackend(WandbVisBackend):
    """Sends scalars with their step, images and the config to Weights & Biases.

    With WANDB_MODE=offline, or VISLAB_OFFLINE without a WANDB_MODE, all is written to files for `wandb sync`.

    The project is WANDB_PROJECT, else "vislab". Arguments are those of mmengine's WandbVisBackend.
    """

    def _init_env(self) -> None:
        _require("wandb")
        self._init_kwargs = {"project": os.environ.get("WANDB_PROJECT", "vislab"), **(self._init_kwargs or {})}
        if is_offline() and not os.environ.get("WANDB_MODE"):
            self._init_kwargs.setdefault("mode", "offline")
        super()._init_env()
        self._wandb.define_metric("*", step_metric="step")

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        self._wandb.config.update(config.to_dict(), allow_val_change=True)  # a resumed run has one

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        self._wandb.log({name: self._wandb.Image(image), "step": step})

    @force_init_env
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        self._wandb.log({name: value, "step": step})

    @force_init_env
    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        self._wandb.log({**scalar_dict, "step": step})

    def close(self) -> None:
        if hasattr(self, "_wandb"):
            self._wandb.finish()


@VISBACKENDS.register_module()
class MLflowBackend(MLflowVisBackend):
    """Sends scalars, images and the config to the MLflow server at MLFLOW_TRACKING_URI, else to SAVE_DIR/mlflow.db.

    `mlflow ui --backend-store-uri sqlite:///SAVE_DIR/mlflow.db` shows a local database. The experiment is
    MLFLOW_EXPERIMENT_NAME, else "vislab". Arguments are those of mmengine's MLflowVisBackend.
    """

    def _init_env(self) -> None:
        _require("mlflow")
        import mlflow

        self._mlflow, folder = mlflow, Path(self._save_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        uri = self._tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(uri or f"sqlite:///{folder}/mlflow.db")
        name = self._exp_name or os.environ.get("MLFLOW_EXPERIMENT_NAME", "vislab")
        if mlflow.get_experiment_by_name(name) is None:
            place = self._artifact_location or (None if uri else (folder / "mlartifacts").as_uri())
            mlflow.create_experiment(name, artifact_location=place)
        mlflow.set_experiment(name)
        mlflow.start_run(run_name=self._run_name, tags=self._tags)
        if self._params:
            mlflow.log_params(self._params)

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        keys = self._tracked_config_keys or config.keys()
        params = list(self._flatten({key: config.to_dict()[key] for key in keys if key in config}).items())
        for start in range(0, len(params), _BATCH):
            self._mlflow.log_params(dict(params[start : start + _BATCH]))
        self._mlflow.log_text(config.pretty_text, "config.py")

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        self._mlflow.log_image(image, key=name, step=step)

    @force_init_env
    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        numbers = {name: float(value) for name, value in scalar_dict.items() if name != "step" and _is_number(value)}
        self._mlflow.log_metrics(numbers, step)

    def close(self) -> None:
        if hasattr(self, "_mlflow"):
            self._mlflow.end_run()


_BATCH = 100
"""Largest number of parameters in one request of MLflow."""
TRACKERS = {"tensorboard": TensorboardVisBackend, "wandb": WandbBackend, "mlflow": MLflowBackend}


def add_tracker(visualizer: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the config of a visualizer with a tracker added, unless it has it.

    Args:
        visualizer: The config.
        name: One of TRACKERS.

    Raises:
        ConfigError: Another name, or the package of the tracker is not installed.
    """
    check_choice("log", name, TRACKERS)
    _require(name)
    kind = TRACKERS[name]
    backends = list(visualizer.get("vis_backends") or [{"type": "LocalVisBackend"}])
    if not {_text(b["type"]).rpartition(".")[2] for b in backends} & {base.__name__ for base in kind.__mro__[:2]}:
        backends.append({"type": kind})
    backends = [{**backend, "type": _text(backend["type"])} for backend in backends]
    return {**visualizer, "type": _text(visualizer.get("type", "Visualizer")), "vis_backends": backends}


def _text(kind: type | str) -> str:
    """Return the name of a class of a config, which is written to work_dir as text."""
    return f"{kind.__module__}.{kind.__name__}" if isinstance(kind, type) else str(kind)


def _require(package: str) -> None:
    if find_spec(package) is None:
        raise ConfigError(f"the package {package} is not installed: pip install {package}")


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) and np.size(value) == 1
