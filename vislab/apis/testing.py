"""Evaluate a checkpoint with the config's test loader and metrics, optionally with test-time augmentation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from vislab.apis.build import Launcher, checked, existing, prepare
from vislab.apis.prediction_file import PredictionFile
from vislab.apis.published import published_options, resolve_weights, use_checkpoint_classes
from vislab.engine.config.defaults import set_test_defaults
from vislab.engine.config.source import is_name
from vislab.errors import ConfigError
from vislab.io.paths import usable_file, usable_folder
from vislab.models.encoders.initial_weights import initial_weights


def test(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    out: str | Path | None = None,
    show_dir: str | Path | None = None,
    tta: bool = False,
    work_dir: str | Path | None = None,
    launcher: Launcher = "none",
    cfg_options: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Evaluate a checkpoint and return its metrics, which are also added to WORK_DIR/metrics.json.

    Sections for testing that the config does not have default to those for validation.

    Args:
        config: Path of a config file, or a Config.
        checkpoint: Weights, which must match the model. Default: the published ones for a name of the catalogue.
        out: A .pkl file for all predictions, a list with one dict per image; see vislab.apis.prediction_file.
        show_dir: Folder for images of all predictions.
        tta: Use test-time augmentation, with `tta_model` and `tta_pipeline` of the config.
        work_dir, launcher, cfg_options: As in `train`.

    Raises:
        ConfigError, DataError, CheckpointError: See vislab.errors.
    """
    options = published_options(config, checkpoint)
    cfg = prepare(config, work_dir=work_dir, launcher=launcher, cfg_options={**options, **(cfg_options or {})})
    set_test_defaults(cfg)
    if not cfg.get("test_dataloader"):
        raise ConfigError(
            "this config has neither test_dataloader nor val_dataloader, and test needs one of them: add "
            "val_dataloader with val_evaluator, or test_dataloader with test_evaluator"
        )
    if checkpoint is None and not is_name(config):
        raise ConfigError("no weights were given: pass a checkpoint, or a name of the catalogue instead of a config")
    checkpoint = resolve_weights(config if checkpoint is None else checkpoint)
    cfg.load_from, cfg.resume = existing(checkpoint), False
    if options:
        use_checkpoint_classes(cfg.test_dataloader.dataset, checkpoint)
    if tta:
        _use_tta(cfg)
    if show_dir is not None:
        show_dir = usable_folder(show_dir, "show_dir")
        _draw_all(cfg, show_dir)
    if out is not None:
        out = usable_file(out, (".pkl", ".pickle"), "out")
    from vislab.engine.runner import Runner

    with initial_weights(load=False):
        runner = Runner.from_cfg(checked(cfg, train=False))
    if out is not None:
        runner.test_evaluator.metrics.append(PredictionFile(out))
    return dict(runner.test())


test.__test__ = False  # pytest must not collect it where it is imported


def _use_tta(cfg: Config) -> None:
    missing = [key for key in ("tta_model", "tta_pipeline") if not cfg.get(key)]
    if missing:
        raise ConfigError(f"tta: this config has no {' and no '.join(missing)}; see mmengine.model.BaseTTAModel")
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:  # wrappers
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def _draw_all(cfg: Config, show_dir: str | Path) -> None:
    cfg.custom_hooks = [
        hook for hook in cfg.get("custom_hooks", []) if "VisualizationHook" not in str(hook.get("type"))
    ]
    drawing = {"type": "VisualizationHook", "test_out_dir": str(Path(show_dir).absolute())}
    cfg.default_hooks = {**(cfg.get("default_hooks") or {}), "visualization": drawing}
