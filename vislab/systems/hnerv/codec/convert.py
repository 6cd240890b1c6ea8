"""Segments from quantized checkpoints of the paper's implementation, such as its `quant_vid.pth` of Big Buck Bunny.

Such a file has "embed" and "model", in which each tensor is given as `quant` (uint8), `min` and `scale`: value = min +
scale * quant. Scalars are float32, arrays float16 and vary along one axis.
"""

import os
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.io.checkpoint import load_checkpoint
from vislab.systems.hnerv.codec.content import Quantized, Segment, VideoInfo
from vislab.systems.hnerv.codec.spec import DecoderSpec
from vislab.systems.hnerv.codec.writer import write_hnv


def from_published(checkpoint: Mapping[str, Any], *, section: int = 64) -> Segment:
    """Return the segment of a checkpoint with the same numbers; frames are `spec.scale` times as large as embeddings.

    Raises:
        CheckpointError: Not such a checkpoint.
    """
    try:
        tensors = {_our_name(name): _quantized(entry) for name, entry in checkpoint["model"].items()}
        embeddings = _quantized(checkpoint["embed"])
        spec = _spec({name: tensor.symbols.shape for name, tensor in tensors.items()})
        return Segment(spec, {name: tensors[name] for name in spec.weight_shapes()}, embeddings, section)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, DataError) as error:
        raise CheckpointError(
            f"the checkpoint is not a quantized video of the HNeRV authors' implementation ({error!r}); expected "
            "quant, min and scale for 'embed' and for each tensor of 'model'"
        ) from error


def convert_file(path: str | os.PathLike, target: str | os.PathLike, *, fps: float = 25) -> None:
    """Write a checkpoint of the paper's implementation as a .hnv file, whose frames are not padded.

    Raises:
        CheckpointError: Not such a checkpoint, or the target cannot be written.
        ConfigError: fps is not positive.
    """
    if not 0 < fps < 1e6:
        raise ConfigError(f"fps={fps:g}; expected a positive number of frames per second")
    segment = from_published(load_checkpoint(path))
    height, width = (side * segment.spec.scale for side in segment.embeddings.symbols.shape[2:])
    write_hnv(target, VideoInfo((height, width), 1 / Fraction(fps).limit_denominator(1001)), [segment])


def _our_name(name: str) -> str:
    """Return our name of a weight: decoder.0 is the stem, decoder.1 the first stage."""
    kind = name.rpartition(".")[2]
    if name.startswith("head_layer."):
        return f"to_rgb.{kind}"
    block = int(re.match(r"decoder\.(\d+)\.conv\.", name)[1])
    return f"stem.0.{kind}" if block == 0 else f"stages.{block - 1}.0.{kind}"


def _quantized(entry: Mapping[str, Tensor]) -> Quantized:
    symbols, step, offset = (entry[key].cpu().numpy() for key in ("quant", "scale", "min"))
    return Quantized(symbols.astype(np.int32), step, offset)


def _spec(shapes: Mapping[str, tuple[int, ...]]) -> DecoderSpec:
    convolutions = [shapes[f"stages.{i}.0.weight"] for i in range(len(shapes) // 2 - 2)]
    widths = [*(shape[1] for shape in convolutions), shapes["to_rgb.weight"][1]]
    strides = [round((shape[0] / width) ** 0.5) for shape, width in zip(convolutions, widths[1:], strict=True)]
    kernels = tuple(shape[2] for shape in convolutions)
    return DecoderSpec(shapes["stem.0.weight"][1], tuple(strides), tuple(widths), kernels)
