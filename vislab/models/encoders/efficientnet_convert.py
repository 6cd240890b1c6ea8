"""Weights of timm and of EfficientNet in efficientnet_pytorch, with the names of ImageClassifier.

LAYOUTS: "efficientnet_pytorch" numbers blocks over all stages; a stage begins where the number of channels changes.
"""

import re
from collections.abc import Mapping

from torch import Tensor

LAYOUTS = ("efficientnet_pytorch", "timm")
_OWN = "network."
_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def detect(state: Mapping[str, Tensor]) -> str | None:
    """Return the layout of a state dict; None if it is unknown."""
    if "_conv_stem.weight" in state:
        return "efficientnet_pytorch"
    return "timm" if not any(key.startswith(_OWN) for key in state) else None


def convert(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Return the weights with the names of ImageClassifier."""
    if layout == "timm":
        return {f"{_OWN}{key}": value for key, value in state.items()}
    places = _places(state)
    converted = {}
    for key, value in state.items():
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if block:
            expands = f"_blocks.{block[1]}._expand_conv.weight" in state
            part = (_EXPANDING if expands else _PLAIN).get(block[2], block[2])
            converted[f"{_OWN}blocks.{places[int(block[1])]}.{part}.{block[3]}"] = value
        else:
            part, _, rest = key.partition(".")
            converted[f"{_OWN}{_ENDS.get(part, part)}.{rest}"] = value
    return converted


def _places(state: Mapping[str, Tensor]) -> dict[int, str]:
    """Return "stage.index" by the number of each block."""
    numbers = sorted({int(found[1]) for found in map(re.compile(r"_blocks\.(\d+)\.").match, state) if found})
    places, stage, index, channels = {}, -1, 0, 0
    for number in numbers:
        own = len(state[f"_blocks.{number}._project_conv.weight"])
        stage, index = (stage, index + 1) if own == channels else (stage + 1, 0)
        channels = own
        places[number] = f"{stage}.{index}"
    return places
