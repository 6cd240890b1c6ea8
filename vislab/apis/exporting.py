"""Export models to ONNX and torch.export, and check the files against the models before they get their name."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from mmengine.config import Config
from torch import nn

import vislab
from vislab.apis.build import build_model, load
from vislab.apis.export_check import Difference, check_runs
from vislab.apis.export_formats import SUFFIX, Format, to_onnx, to_torch, trace
from vislab.apis.predictor import evaluated_dataset, test_pipeline
from vislab.engine.class_lists import checkpoint_classes
from vislab.errors import CheckpointError, ConfigError, check_choice
from vislab.io.atomic import write_atomically
from vislab.io.checkpoint import load_checkpoint
from vislab.io.paths import usable_file
from vislab.models.deformable_detr import DeformableDETR
from vislab.models.export_graph import ExportGraph
from vislab.models.mask2former import Mask2Former
from vislab.zoo.catalogue import find_entry
from vislab.zoo.pretrained import download, load_pretrained

Dynamic = Literal["batch", "size"]
Size = tuple[int, int]


class Exported(NamedTuple):
    """Result of `export`.

    Attributes:
        path: The file.
        metadata: What the file says about itself: classes, size, input and outputs.
        differences: Largest difference of each output to the model, for each checked input.
        choices: Number of discrete choices of the model (ops/choices.py), which were compared up to ties.
    """

    path: Path
    metadata: dict[str, str]
    differences: list[Difference]
    choices: int

    @property
    def largest(self) -> Difference:
        """The largest difference."""
        return max(self.differences, key=lambda difference: difference.relative)


def export(
    config: str | Path | Config,
    checkpoint: str | Path | None,
    out: str | Path,
    *,
    format: Format = "onnx",
    size: Size | None = None,
    dynamic: Collection[Dynamic] = ("batch",),
    exit: int | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Exported:
    """Export a model to a file, which is written only if its outputs agree with those of the model.

    Args:
        config: Path of a config file, a Config, or a name of the catalogue.
        checkpoint: Weights. None: those of the catalogue for a name.
        out: File to write, *.onnx or *.pt2; an existing one is replaced.
        format: "onnx", or "torch" for torch.export.
        size: (height, width) of the images. Default: that of the model, or of its test pipeline if that is fixed.
        dynamic: What stays free in the file: "batch", and "size" for models that allow it.
        exit: Number of encoder layers, for Mask2Former and ECO-M2F.
        cfg_options: Changes of the config by dotted key.

    Raises:
        ConfigError: An argument does not fit the model, or the file cannot be written.
        CheckpointError: There are no weights, or they do not fit.
        ExportError: The model has no export, or the exported file differs from it; nothing is written.
    """
    path = check_target(out, format)
    entry = None
    if checkpoint is None:
        if isinstance(config, Config) or Path(config).suffix:
            raise CheckpointError("export needs weights: pass a checkpoint, or a name of the catalogue that has some")
        entry = find_entry(str(config))
    cfg = load(config, {**(entry.options if entry else {}), **(cfg_options or {})})
    if entry:
        download(entry)
    model = build_model(cfg, checkpoint, device="cpu", initial=False)
    if entry:
        classes = load_pretrained(model, entry).get("classes")
    else:
        classes = checkpoint_classes(load_checkpoint(checkpoint))
    facts = {"config": Path(cfg.filename).stem if cfg.filename else ""}
    facts |= {"checkpoint": Path(checkpoint).name if checkpoint else "catalogue"}
    return export_model(
        model,
        path,
        format=format,
        size=size or _configured_size(cfg),
        dynamic=dynamic,
        exit=exit,
        classes=classes or _configured_classes(cfg),
        facts=facts,
    )


def export_model(
    model: nn.Module,
    out: str | Path,
    *,
    format: Format = "onnx",
    size: Size | None = None,
    dynamic: Collection[Dynamic] = ("batch",),
    exit: int | None = None,
    classes: Sequence[str] | None = None,
    facts: Mapping[str, str] | None = None,
    tolerance: float = 1e-4,
) -> Exported:
    """Export a model that is in memory; see `export`.

    Args:
        model: A VisionModel on the CPU.
        out, format, size, dynamic, exit: As in `export`.
        classes: Names of the classes, for the metadata.
        facts: More metadata.
        tolerance: Largest allowed difference, as a part of the range of an output.
    """
    path = check_target(out, format)
    model.eval()
    graph = export_graph(model, exit).eval()
    size = check_size(graph, size)
    dynamic = check_dynamic(graph, dynamic)
    metadata = {**_describe(graph, size, dynamic, exit, classes), **(facts or {})}
    program = trace(graph, size, dynamic, format)
    if format == "onnx":
        run, finish = to_onnx(program, graph, metadata)
    else:
        run, finish = to_torch(program, trace(graph, size, dynamic, format, record=False), graph, metadata)
    differences = check_runs(graph, run, check_cases(graph, size, dynamic), tolerance)
    content = finish()
    write_atomically(path, lambda file: file.write(content))
    choices = len(program.graph_signature.user_outputs) - len(graph.outputs)
    return Exported(path, metadata, differences, choices)


def check_target(out: str | Path, format: Format) -> Path:
    """Return the path of the file, in a folder that can be written to.

    Raises:
        ConfigError: The name does not fit the format, or the folder cannot be written to.
    """
    check_choice("format", format, SUFFIX)
    if Path(out).suffix != SUFFIX[format]:
        raise ConfigError(f"--out {out}: files of --format {format} are named *{SUFFIX[format]}")
    return Path(usable_file(out))


def export_graph(model: nn.Module, exit: int | None = None) -> ExportGraph:
    """Return the graph of a model.

    Raises:
        ConfigError: The model has no such exit.
        ExportError: The model has no export.
    """
    if exit is not None and not isinstance(model, (Mask2Former, DeformableDETR)):
        raise ConfigError(
            f"--exit {exit}: {type(model).__name__} has no exits; only Mask2Former, DeformableDETR and models derived "
            "from them have"
        )
    return model.export_graph() if exit is None else model.export_graph(exit)


def check_size(graph: ExportGraph, size: Size | None) -> Size:
    """Return (height, width) of the frames of a graph; None stands for the only one that the model takes.

    Raises:
        ConfigError: There is no size, or the model does not take it.
    """
    if graph.img_size is not None:
        if size not in (None, graph.img_size):
            raise ConfigError(f"--size {_text(size)}: the model takes images of {_text(graph.img_size)} only")
        return graph.img_size
    if size is None:
        raise ConfigError("the size of the images depends on the image in the test pipeline: set --size HEIGHT WIDTH")
    divisor = max(graph.divisor, graph.stride)
    if min(size) < 1 or any(side % divisor for side in size):
        near = [max(divisor, round(side / divisor) * divisor) for side in size]
        raise ConfigError(f"--size {_text(size)}: sides must be multiples of {divisor}, such as {_text(near)}")
    return tuple(size)


def check_dynamic(graph: ExportGraph, dynamic: Collection[str]) -> tuple[str, ...]:
    """Return the free axes in the order of Dynamic.

    Raises:
        ConfigError: An unknown name, or a size that cannot be free.
    """
    unknown = sorted(set(dynamic) - set(get_args(Dynamic)))
    if unknown:
        raise ConfigError(f"--dynamic {unknown[0]}: expected some of {', '.join(get_args(Dynamic))}")
    if "size" in dynamic and not graph.any_size:
        raise ConfigError(
            "--dynamic size: positions and sampling points of this model are computed for one size; export a file for "
            "each size"
        )
    return tuple(name for name in get_args(Dynamic) if name in dynamic)


def check_cases(graph: ExportGraph, size: Size, dynamic: Collection[str]) -> list[tuple[int, Size]]:
    """Return batch size and (height, width) of three inputs that a file is checked with."""
    step = max(graph.divisor, graph.stride)
    height, width = size
    sizes = [size] * 3
    if "size" in dynamic:
        sizes = [size, (height + step, width), (max(2, height // step - 1) * step, width + 2 * step)]
    return list(zip((1, 2, 3) if "batch" in dynamic else (1, 1, 1), sizes, strict=True))


def _describe(
    graph: ExportGraph, size: Size, dynamic: Sequence[str], exit: int | None, classes: Sequence[str] | None
) -> dict[str, str]:
    """Return the metadata of a file: texts, with JSON for lists and dicts."""
    facts: dict[str, Any] = {
        "vislab_version": vislab.__version__,
        "task": graph.task,
        "size": list(size),
        "dynamic": list(dynamic),
        "input": {graph.input_name: graph.about_input},
        "outputs": graph.outputs,
    }
    if "size" in dynamic:
        facts["size_divisor"] = max(graph.divisor, graph.stride)
    if graph.statistics is not None:
        facts["mean"], facts["std"] = graph.statistics
    if exit is not None:
        facts["exit"] = exit
    if classes:
        facts["classes"] = list(classes)
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


def _configured_size(cfg: Config) -> Size | None:
    """Return the size of all images after the test pipeline; None if it depends on the image."""
    dataset = evaluated_dataset(cfg) or {}
    frame = dataset.get("resize") or dataset.get("crop")
    if frame:  # of videos
        return tuple(frame)
    if not dataset.get("pipeline"):
        return None
    pipeline, found = test_pipeline(cfg), set()
    for height, width in ((480, 640), (531, 333)):
        image = np.zeros((height, width, 3), np.uint8)
        record = {"img": image, "img_path": "", "ori_shape": (height, width), "img_shape": (height, width)}
        sample = pipeline({**record, "scale_factor": (1.0, 1.0), "sample_idx": 0})
        found.add(tuple(sample["inputs"].shape[-2:]))
    return found.pop() if len(found) == 1 else None


def _configured_classes(cfg: Config) -> Sequence[str] | None:
    """Return the class names of the test data, as far as the config states them."""
    dataset = evaluated_dataset(cfg) or {}
    meta = dataset.get("metainfo") or getattr(dataset.get("type"), "METAINFO", None) or {}
    return meta.get("classes")


def _text(size: Sequence[int]) -> str:
    return f"{size[0]} {size[1]}"
