"""Trace a model with torch.export, and convert the result to the bytes of an ONNX or a torch.export file."""

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal
from unittest import mock

import numpy as np
import timm.layers.padding
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.attention import SDPBackend, sdpa_kernel

from vislab.apis.export_check import Run
from vislab.errors import ConfigError, ExportError
from vislab.models.export_graph import ExportGraph
from vislab.ops.choices import observe

Format = Literal["onnx", "torch"]
SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
METADATA_FILE = "vislab.json"  # in a file of torch.export
OPSET = 18  # grid_sample needs 16
Finish = Callable[[], bytes]
_LIMIT = 2**31 - 2**20  # bytes of a file in protobuf's format


class _Traced(nn.Module):
    """The graph, with a check of the divisor, and optionally with its choices as additional outputs."""

    def __init__(self, graph: ExportGraph, *, divisor: int, record: bool) -> None:
        super().__init__()
        self.model, self.divisor, self.record = graph, divisor, record  # programs have a `graph` of their own

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...] | dict[str, Tensor]:
        if self.divisor > 1:  # of free sizes: other sizes fail here instead of giving wrong outputs
            inputs = inputs.unflatten(3, (-1, self.divisor)).flatten(3)
            inputs = inputs.unflatten(2, (-1, self.divisor)).flatten(2, 3)
        if not self.record:
            return dict(zip(self.model.outputs, self.model(inputs), strict=True))
        choices: list[Tensor] = []

        def keep(choice: Tensor, _: Any) -> Tensor:
            choices.append(choice)
            return choice

        with observe(keep):
            outputs = self.model(inputs)
        return (*outputs, *(choice.clone() for choice in choices))


def trace(
    graph: ExportGraph, size: tuple[int, int], dynamic: Collection[str], format: Format, *, record: bool = True
) -> ExportedProgram:
    """Return the graph as a program of torch.export.

    Args:
        graph: The model, in eval mode.
        size: (height, width) of the frames.
        dynamic: Free axes, of "batch" and "size".
        format: Format that the program will have.
        record: Return a tuple of the outputs followed by the choices (ops/choices.py), instead of a dict of outputs.

    Raises:
        ExportError: The model cannot be traced, or not with these axes.
    """
    axes: dict[int, Any] = {0: Dim("batch")} if "batch" in dynamic else {}
    divisor = 1
    if "size" in dynamic:
        divisor = graph.divisor
        for axis, name, side in zip((2, 3), ("height", "width"), size, strict=True):
            cells = side // graph.stride // divisor
            free = Dim(name, min=max(2, cells // 2))  # an axis of length 1 would be broadcast
            axes[axis] = divisor * free if divisor > 1 else free
    example = graph.example(2 if "batch" in dynamic else 1, size, 0)  # torch.export takes an axis of length 1 as fixed
    traced = _Traced(graph, divisor=divisor, record=record).eval()
    try:
        with torch.no_grad(), _quiet(), _plain_attention(format == "onnx"), _same_padding():
            return torch.export.export(traced, (example,), dynamic_shapes=(axes,) if axes else None, strict=False)
    except Exception as error:  # of any kind
        free = f" with free {' and '.join(dynamic)}" if dynamic else ""
        hint = ". Export it with fixed sizes: --dynamic batch" if "size" in dynamic else ""
        raise ExportError(f"the model cannot be traced{free}: {_reason(error)}{hint}") from error


def to_onnx(program: ExportedProgram, graph: ExportGraph, metadata: Mapping[str, str]) -> tuple[Run, Finish]:
    """Return a function that runs a recorded program in onnxruntime, and one that returns the file without choices.

    Raises:
        ConfigError: The packages are not installed.
        ExportError: An operation has no form in ONNX, or the file would have more than 2 GiB.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401  used below
        import onnxscript  # noqa: F401  used by torch.onnx
    except ImportError as error:
        raise ConfigError(f"--format onnx needs {error.name}: pip install 'vislab[export]'") from None
    count = len(program.graph_signature.user_outputs) - len(graph.outputs)
    names = [*graph.outputs, *(f"choice_{i}" for i in range(count))]
    try:
        with _quiet(), _plain_attention(True):
            model = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[graph.input_name],
                output_names=names,
                verbose=False,
            ).model_proto
        _clean(model)
        onnx.helper.set_model_props(model, dict(metadata))
        if model.ByteSize() > _LIMIT:
            raise ExportError("the weights exceed the 2 GiB of an ONNX file: use --format torch")
        session = _session(model.SerializeToString())
    except ExportError:
        raise
    except Exception as error:  # of any kind
        raise ExportError(f"the model has no form in ONNX: {_reason(error)}") from error

    def finish() -> bytes:
        del model.graph.output[len(graph.outputs) :]
        return model.SerializeToString()

    return lambda inputs: session.run(None, {graph.input_name: inputs}), finish


def to_torch(
    program: ExportedProgram, final: ExportedProgram, graph: ExportGraph, metadata: Mapping[str, str]
) -> tuple[Run, Finish]:
    """Return a function that runs a recorded program, and one that returns the file of the final one, as in `to_onnx`.

    Both programs are loaded from their files, and must agree exactly in each run.
    """
    recorded, (content, module) = _loaded(program, metadata)[1], _loaded(final, metadata)

    def run(inputs: np.ndarray) -> Sequence[np.ndarray]:
        with torch.no_grad():
            values, named = recorded(torch.from_numpy(inputs)), module(torch.from_numpy(inputs))
        for name, value in zip(graph.outputs, values, strict=False):  # choices follow
            if not torch.equal(named[name], value):
                raise ExportError(f"{name} of two exports of the model differs: it is not finite, or random")
        return [value.numpy() for value in values]

    return run, lambda: content


def _loaded(program: ExportedProgram, metadata: Mapping[str, str]) -> tuple[bytes, nn.Module]:
    """Return the file of a program, and the module that it contains."""
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(dict(metadata))})
        return buffer.getvalue(), torch.export.load(io.BytesIO(buffer.getvalue())).module()


def _session(content: bytes):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _clean(model: Any) -> None:
    """Name the free axes of an ONNX model, and remove what tells about this computer (paths of source files)."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    symbols = {}
    for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
        found = re.search(r"[a-z]+\d+", axes[axis].dim_param) if axis < len(axes) else None
        if found:
            symbols[found.group()] = name
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(r"[a-z]+\d+", lambda m: symbols.get(m.group(), m.group()), axis.dim_param)
    functions = [node for function in model.functions for node in function.node]
    for part in [*model.graph.node, *functions, *model.functions, *model.graph.value_info, model.graph, model]:
        del part.metadata_props[:]
        part.doc_string = ""


def _reason(error: BaseException) -> str:
    """Return the first line of the message of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _plain_attention(active: bool) -> AbstractContextManager:
    """Trace attention as matrix products. The fused kernels' memory layout does not survive the conversion to ONNX."""
    return sdpa_kernel(SDPBackend.MATH) if active else nullcontext()


def _same_padding() -> AbstractContextManager:
    """Compute timm's SAME padding by remainders: constant for free sizes that are multiples of the stride.

    Its own formula rounds a quotient. Nested over the layers, that took torch's solver more than ten minutes.
    """

    def same_padding(x: int, kernel_size: int, stride: int, dilation: int) -> int:
        return max((kernel_size - 1) * dilation + 1 - (x % stride or stride), 0)

    return mock.patch.object(timm.layers.padding, "get_same_padding", same_padding)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings and log messages of the exporters."""
    logger = logging.getLogger("torch.onnx"), logging.getLogger("onnxscript"), logging.getLogger("onnx_ir")
    levels = [x.level for x in logger]
    try:
        for x in logger:
            x.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for x, level in zip(logger, levels, strict=True):
            x.setLevel(level)
