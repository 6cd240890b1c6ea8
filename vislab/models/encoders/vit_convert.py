"""Conversion of the weights of CAE's ViT in other projects, used by `vislab.zoo.load_foreign` for ViT.

Layouts: "official" (Atten4Vis/CAE), "official_v1" (lxtGH/CAE, older code of the same authors), "mmpretrain". Each is a
list of (pattern, replacement) for names; the first pattern that matches the beginning of a name replaces it, and None
leaves the tensor out. The number of heads is not in any file: the config must state it (officially 12 for widths 192,
384 and 768, 16 for 1024). Files of whole models are read, too: what is not of the encoder is left out.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from vislab.layers.position import sincos_table

logger = logging.getLogger(__name__)

Rules = Sequence[tuple[str, str | None]]

_POSITION_TOLERANCE = 1e-4

# names within a block, that of a regressor included
_BLOCK: Rules = (
    (r"gamma_(\d)(_cross)?$", r"ls\1.gamma"),
    (r"norm1_([qkv])(_cross)?\.", r"norm_\1."),
    (r"norm2_cross\.", "norm2."),
    (r"ln([12])\.", r"norm\1."),
    (r"cross_attn\.", "attn."),
    (r"mlp_cross\.", "mlp."),
    (r"ffn\.layers\.0\.0\.", "mlp.fc1."),
    (r"ffn\.layers\.1\.", "mlp.fc2."),
)

_OFFICIAL: Rules = (
    (r"encoder\.pos_embed$", None),  # computed
    (r"(encoder\.blocks\.\d+\.)", r"\1"),
    (r"encoder\.", "encoder."),
)

ENCODER_RULES: Mapping[str, Rules] = {
    "official": _OFFICIAL,
    "official_v1": _OFFICIAL,
    "mmpretrain": (
        (r"backbone\.pos_embed$", None),
        (r"backbone\.layers\.(\d+\.)", r"encoder.blocks.\1"),
        (r"backbone\.patch_embed\.projection\.", "encoder.patch_embed.proj."),
        (r"backbone\.ln1\.", "encoder.norm."),
        (r"backbone\.", "encoder."),
    ),
}
LAYOUTS = tuple(ENCODER_RULES)
# beginnings of names that only one layout has; the encoder alone is named alike in both official ones
_MARKS = {
    "official_v1": ("pretext_neck.", "encoder_to_decoder."),
    "official": ("regresser.", "alignment_encoder.", "encoder.pos_embed"),
    "mmpretrain": ("backbone.layers.", "neck.regressors."),
}


def detect(state: Mapping[str, Tensor]) -> str | None:
    """Return the layout of a state dict; None if it is unknown."""
    for layout, marks in _MARKS.items():
        if any(name.startswith(marks) for name in state):
            return layout
    return "official" if any(re.match(r"encoder\.blocks\.\d+\.gamma_", name) for name in state) else None


def convert(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Convert the encoder in a state dict of the given layout to the names of ViT."""
    check_positions(state)
    renamed = {_encoder_name(name, layout): value for name, value in state.items()}
    renamed.pop(None, None)
    return renamed


def ignored(state: Mapping[str, Tensor], layout: str) -> dict[str, int]:
    """Return how many tensors `convert` leaves out, by the first part of their names."""
    return count_parts(name for name in state if _encoder_name(name, layout) is None)


def count_parts(names: Iterable[str]) -> dict[str, int]:
    """Return how often each first part of dotted names occurs."""
    return dict(Counter(name.split(".")[0] for name in names))


def _encoder_name(name: str, layout: str) -> str | None:
    new = rename(name, ENCODER_RULES[layout])
    return new.removeprefix("encoder.") if new is not None and new.startswith("encoder.") else None


def rename(name: str, rules: Rules) -> str | None:
    """Return the new name of a tensor by the first rule that matches, `name` without one; None: it is left out."""
    for pattern, replacement in rules:
        match = re.match(pattern, name)
        if match:
            if replacement is None:
                return None
            start, rest = match.expand(replacement), name[match.end() :]
            block = re.search(r"\.blocks\.\d+\.$", start)
            return start + (rename(rest, _BLOCK) if block else rest)
    return name


def check_positions(state: Mapping[str, Tensor]) -> None:
    """Warn if the stored positions of the encoder are not the sine table, which replaces them."""
    for name in ("encoder.pos_embed", "backbone.pos_embed"):
        stored = state.get(name)
        if stored is None or stored.dim() != 3:
            continue
        count, dim = stored.shape[1] - 1, stored.shape[2]
        side = math.isqrt(max(count, 0))
        if dim % 4 or side * side != count:
            logger.warning(f"{name} has {count} positions of width {dim}, which are not compared: no square grid")
            continue
        table = torch.cat((torch.zeros(1, dim), sincos_table(side, side, dim=dim)))
        worst = float((stored[0].float() - table).abs().max())
        if not worst <= _POSITION_TOLERANCE:
            logger.warning(
                f"{name} differs from the sine positions by up to {worst:.3g}: the weights were trained with others, "
                "and this encoder uses the sine positions"
            )
