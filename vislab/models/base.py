"""Base of all models: the three modes of forward, parts as modules or configs, and the check for NaN."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import Registry
from torch import Tensor, nn

from vislab.errors import ExportError, TrainingError
from vislab.models.export_graph import ExportGraph
from vislab.registry import MODELS
from vislab.structures import DataSample


class VisionModel(BaseModel):
    """Base class of models. `forward` calls the method of the mode, which subclasses implement."""

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        mode: str = "tensor",
        **options: Any,
    ) -> dict[str, Tensor] | list[DataSample]:
        """Run the model in one of its modes.

        Args:
            inputs: (B, C, H, W) from the data preprocessor.
            data_samples: B samples, with labels for "loss"; for "predict", predictions are stored in them.
            mode: "tensor": outputs of the network by name; "loss": scalars in float32; "predict": the samples with
                predictions in the frame of the original image.
            options: Additional arguments of the method of the mode.
        """
        if mode == "tensor":
            return self.forward_tensor(inputs, data_samples, **options)
        if mode == "loss":
            return self.forward_loss(inputs, data_samples, **options)
        if mode == "predict":
            samples = list(data_samples or (DataSample() for _ in inputs))
            return self.forward_predict(inputs, samples, **options)
        raise ValueError(f"mode={mode!r} is not one of tensor, loss, predict")

    def forward_tensor(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> dict[str, Tensor]:
        """Return the outputs of the network by name."""
        raise NotImplementedError

    def forward_loss(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> dict[str, Tensor]:
        """Return losses by name, and values to log whose names do not contain "loss"."""
        raise NotImplementedError

    def forward_predict(self, inputs: Tensor, data_samples: list[DataSample]) -> list[DataSample]:
        """Return the samples with predictions."""
        raise NotImplementedError

    def export_graph(self) -> ExportGraph:
        """Return the part of the model that is exported, as a module from one tensor to named tensors.

        Raises:
            ExportError: The model has no such form.
        """
        raise ExportError(f"{type(self).__name__} has no export: its class does not define export_graph()")

    def parse_losses(self, losses: Mapping[str, Tensor | Sequence[Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of all entries with "loss" in their name, and all entries as scalars, "loss" first.

        Results are those of mmengine, whose sum takes three operations an entry, where this one takes two in all.
        """
        scalars = {}
        for name, value in losses.items():
            if isinstance(value, (list, tuple)) and value and all(isinstance(one, Tensor) for one in value):
                value = sum(one.mean() for one in value)
            elif not isinstance(value, Tensor):
                raise TypeError(f"{name} is not a tensor or list of tensors")
            scalars[name] = value if value.ndim == 0 else value.mean()
        parts = [value for name, value in scalars.items() if "loss" in name]
        if not parts:
            raise TrainingError(f"the model returned {', '.join(scalars) or 'nothing'}, but no loss to minimize")
        total = parts[0] if len(parts) == 1 else torch.stack(parts).sum()
        return total, {"loss": total} | {name: value for name, value in scalars.items() if name != "loss"}


def build_part(part: dict | nn.Module | Any | None, default: type, registry: Registry = MODELS) -> Any:
    """Return a part of a model: built from a config, whose `type` defaults to `default`, or `part` itself.

    None builds `default` without arguments.
    """
    if part is None:
        return default()
    return registry.build({"type": default, **part}) if isinstance(part, dict) else part


def require_finite(output: Tensor, name: str) -> Tensor:
    """Return `output` if all values are finite. Classes, masks and depths computed from NaN would look valid.

    Raises:
        TrainingError: If a value is not finite; the message contains `name`.
    """
    if not bool(output.isfinite().all()):
        bad = output.numel() - int(output.isfinite().sum())
        raise TrainingError(
            f"{bad} of {output.numel()} {name} are not finite: the weights are damaged or training diverged; take an "
            "earlier checkpoint, and in float16 try bfloat16 or float32"
        )
    return output
