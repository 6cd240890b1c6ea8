"""Load weights of other projects into models, with a report of missing and unexpected names.

torch and safetensors files are read by vislab.io.checkpoint, pickles of detectron2 by an unpickler for arrays only.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vislab.errors import CheckpointError, ConfigError, check_choice
from vislab.io.array_pickle import read_array_pickle
from vislab.io.checkpoint import load_checkpoint
from vislab.io.weights import check_types, get_weights, weight_entries
from vislab.models.deformable_detr import convert as deformable_detr
from vislab.models.encoders import efficientnet_convert, vit_convert
from vislab.models.mask2former import convert as mask2former


class Converter(Protocol):
    """A module or object that converts the weights of other projects for one class of models.

    A converter may also have `ignored(state, layout) -> dict[str, int]`, the numbers of tensors that it leaves out by
    the first part of their names.
    """

    LAYOUTS: tuple[str, ...]

    def detect(self, state: Mapping[str, Tensor]) -> str | None:
        """Return the layout of a state dict; None if it is unknown."""

    def convert(self, state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
        """Return the weights with the names and shapes of the model."""


CONVERTERS: dict[str, Converter] = {
    "DeformableDETR": deformable_detr,
    "ImageClassifier": efficientnet_convert,
    "Mask2Former": mask2former,
    "ViT": vit_convert,
}


def add_converter(model_class: str, converter: Converter) -> None:
    """Use `converter` for models of this class and its subclasses; systems add theirs when they are imported."""
    CONVERTERS[model_class] = converter


@dataclass
class ForeignReport:
    """Names of the model that were loaded, missing, unexpected or mismatched."""

    layout: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    """Name -> (shape in the file, shape in the model); not loaded, e.g. a head for other classes."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Group of names -> number of tensors that are left out on purpose, such as a teacher or an optimizer's average."""

    def __str__(self) -> str:
        lines = [f"{self.layout}: {len(self.loaded)} tensors loaded"]
        for what in ("missing", "unexpected", "mismatched"):
            names = list(getattr(self, what))
            if names:
                lines.append(f"{len(names)} {what}, e.g. {', '.join(names[:3])}")
        if self.ignored:
            groups = ", ".join(f"{group} ({count})" for group, count in self.ignored.items())
            lines.append(f"{sum(self.ignored.values())} ignored: {groups}")
        return "; ".join(lines)


def load_foreign(
    model: nn.Module, source: str | Path | Mapping[str, Any], layout: str = "auto", *, part: str = ""
) -> ForeignReport:
    """Load weights of another project into `model`.

    Args:
        model: A model whose class or parent class is in CONVERTERS.
        source: A file, a folder with model.safetensors, or a state dict.
        layout: Layout of the names, one of those of the converter, or "vislab"; "auto" detects it.
        part: Load only this part of the model, such as "encoder", but exactly: a weight that is missing, unknown
            or of another shape is an error, and nothing is loaded.

    Raises:
        ConfigError: Unknown layout or part, or a model without a converter.
        CheckpointError: The file is invalid, has names of an unknown layout or other number types, no tensor matches,
            or the requested part is not complete.
    """
    converter = next((CONVERTERS[c.__name__] for c in type(model).__mro__ if c.__name__ in CONVERTERS), None)
    if converter is None:
        raise ConfigError(f"there is no converter for {type(model).__name__}; expected one of {', '.join(CONVERTERS)}")
    layouts = ("auto", *converter.LAYOUTS, "vislab")
    check_choice("layout", layout, layouts)
    name = "the state dict" if isinstance(source, Mapping) else str(source)
    state = _tensors(source if isinstance(source, Mapping) else read_tensors(source), name)
    own = model.state_dict()
    if part:
        own = {key: value for key, value in own.items() if key.startswith(f"{part}.")}
        if not own:
            parts = ", ".join(child for child, _ in model.named_children())
            raise ConfigError(f"part={part!r} of {type(model).__name__} has no weights; its parts are {parts}")
    if layout == "auto":
        layout = converter.detect(state) or ("vislab" if any(key in own for key in state) else "")
        if not layout:
            first = ", ".join(list(state)[:3])
            raise CheckpointError(f"{name}: its names are of an unknown layout, e.g. {first}")
    ignored: dict[str, int] = {}
    if layout != "vislab":
        ignored = converter.ignored(state, layout) if hasattr(converter, "ignored") else {}
        try:
            state = converter.convert(state, layout)
        except (RuntimeError, IndexError, ValueError) as error:  # unexpected shapes while joining and reordering
            raise CheckpointError(f"{name}: its weights have other shapes than {layout} files: {error}") from error
    if part:
        others = Counter(key.split(".")[0] for key in state if not key.startswith(f"{part}."))
        ignored = {**ignored, **others}
        state = {key: value for key, value in state.items() if key.startswith(f"{part}.")}
    report = ForeignReport(layout, ignored=ignored)
    fitting = {}
    for key, value in state.items():
        if key not in own:
            report.unexpected.append(key)
        elif value.shape != own[key].shape:
            report.mismatched[key] = (tuple(value.shape), tuple(own[key].shape))
        else:
            fitting[key] = value
            report.loaded.append(key)
    report.missing = [
        key for key in own if key not in state and not key.endswith("num_batches_tracked")
    ]  # frozen norms have no counter
    if part:
        _require_complete(report, part, name)
    if not fitting:
        raise CheckpointError(f"{name} does not fit: none of its {len(state)} tensors does ({report})")
    check_types(own, fitting, name)
    model.load_state_dict(fitting, strict=False)
    return report


def _require_complete(report: ForeignReport, part: str, name: str) -> None:
    shapes = [f"{key} {theirs} instead of {ours}" for key, (theirs, ours) in report.mismatched.items()]
    wrong = {"missing": report.missing, "unknown": report.unexpected, "of another shape": shapes}
    found = [f"{len(names)} weights are {what}, e.g. {', '.join(names[:2])}" for what, names in wrong.items() if names]
    if found:
        raise CheckpointError(
            f"{name} does not hold the {part} of this model: {'; '.join(found)}. Use a config with the depth, width "
            "and layer scale of these weights"
        )


def read_tensors(path: str | Path) -> dict[str, Any]:
    """Return the content of a weights file without executing code.

    Raises:
        CheckpointError: Missing, broken, or holding more than arrays and plain Python.
    """
    path = Path(path)
    if path.is_dir() and (path / "model.safetensors").is_file():
        path = path / "model.safetensors"
    if path.suffix not in (".pkl", ".pickle"):
        return load_checkpoint(path)
    return read_array_pickle(path)


def _tensors(content: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return names and tensors from the entry that contains them."""
    state = {}
    for name, value in weight_entries(content).items():
        if isinstance(value, np.ndarray) and value.dtype != object:
            try:
                value = torch.from_numpy(value.copy())
            except TypeError as error:
                raise CheckpointError(f"{source}: {name} is an array of {value.dtype}, which torch has not") from error
        state[name] = value
    return get_weights(state, source)
