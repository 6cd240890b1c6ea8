"""Conversion of CAE weights of other projects, used by `vislab.zoo.load_foreign` for CAE and for its encoder, a ViT.

Layouts: "official" (Atten4Vis/CAE), "official_v1" (lxtGH/CAE, older code of the same authors), "mmpretrain". Each is a
list of (pattern, replacement) for names; the first pattern that matches the beginning of a name replaces it, and None
leaves the tensor out. The number of heads is not in any file: the config must state it (officially 12 for widths 192,
384 and 768, 16 for 1024).
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from vislab.layers.position import sincos_table
from vislab.zoo.foreign import add_converter

logger = logging.getLogger(__name__)

Rules = list[tuple[str, str | None]]

_POSITION_TOLERANCE = 1e-4

# names within a block
_BLOCK: Rules = [
    (r"gamma_(\d)(_cross)?$", r"ls\1.gamma"),
    (r"norm1_([qkv])(_cross)?\.", r"norm_\1."),
    (r"norm2_cross\.", "norm2."),
    (r"ln([12])\.", r"norm\1."),
    (r"cross_attn\.", "attn."),
    (r"mlp_cross\.", "mlp."),
    (r"ffn\.layers\.0\.0\.", "mlp.fc1."),
    (r"ffn\.layers\.1\.", "mlp.fc2."),
]

_OFFICIAL: Rules = [
    (r"(alignment_encoder|teacher)\.", None),  # the encoder again
    (r"(encoder\.pos_embed|rd_pos_embed)$", None),  # computed
    (r"(encoder\.blocks\.\d+\.)", r"\1"),
    (r"encoder\.", "encoder."),
    (r"mask_token$", "regressor.mask_token"),
    (r"regresser\.regressor_blocks\.(\d+\.)", r"regressor.blocks.\1"),
    (r"regresser\.norm\.", "regressor.norm."),
    (r"encoder_to_regresser\.", "regressor.adapter.0."),
    (r"encoder_to_regresser_norm\.", "regressor.adapter.1."),
    (r"decoder\.decoder_blocks\.(\d+\.)", r"decoder.blocks.\1"),
    (r"decoder\.", "decoder."),
]

_OFFICIAL_V1: Rules = [
    (r"pretext_neck\.regressor_blocks\.(\d+\.)", r"regressor.blocks.\1"),
    (r"pretext_neck\.decoder_blocks\.(\d+\.)", r"decoder.blocks.\1"),
    (r"pretext_neck\.norm\.", "regressor.norm."),
    (r"pretext_neck\.norm2\.", "decoder.norm."),
    (r"pretext_neck\.head\.", "decoder.head."),
    (r"pretext_neck\.mask_token$", "regressor.mask_token"),
    (r"encoder_to_decoder\.", "regressor.adapter.0."),
    (r"encoder_to_decoder_norm\.", "regressor.adapter.1."),
    *_OFFICIAL,
]

_MMPRETRAIN: Rules = [
    (r"(teacher|target_generator|data_preprocessor|head)\.", None),
    (r"backbone\.pos_embed$", None),
    (r"backbone\.layers\.(\d+\.)", r"encoder.blocks.\1"),
    (r"backbone\.patch_embed\.projection\.", "encoder.patch_embed.proj."),
    (r"backbone\.ln1\.", "encoder.norm."),
    (r"backbone\.", "encoder."),
    (r"neck\.regressors\.(\d+\.)", r"regressor.blocks.\1"),
    (r"neck\.decoders\.(\d+\.)", r"decoder.blocks.\1"),
    (r"neck\.norm_regressor\.", "regressor.norm."),
    (r"neck\.norm_decoder\.", "decoder.norm."),
    (r"neck\.head\.", "decoder.head."),
    (r"neck\.mask_token$", "regressor.mask_token"),
]

_RULES = {"official": _OFFICIAL, "official_v1": _OFFICIAL_V1, "mmpretrain": _MMPRETRAIN}
# beginnings of names that only one layout has; the encoder alone is named alike in both official ones
_MARKS = {
    "official_v1": ("pretext_neck.", "encoder_to_decoder."),
    "official": ("regresser.", "alignment_encoder.", "encoder.pos_embed"),
    "mmpretrain": ("backbone.layers.", "neck.regressors."),
}


class CAEWeights:
    """Converter of whole models, or with `encoder_only` of their encoders to a ViT."""

    LAYOUTS = tuple(_RULES)

    def __init__(self, *, encoder_only: bool = False) -> None:
        self.encoder_only = encoder_only

    @staticmethod
    def detect(state: Mapping[str, Tensor]) -> str | None:
        """Return the layout of a state dict; None if it is unknown."""
        for layout, marks in _MARKS.items():
            if any(name.startswith(marks) for name in state):
                return layout
        return "official" if any(re.match(r"encoder\.blocks\.\d+\.gamma_", name) for name in state) else None

    def convert(self, state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
        """Convert a state dict of the given layout; names without a rule are unchanged."""
        _check_positions(state)
        renamed = {self._rename(name, layout): value for name, value in state.items()}
        renamed.pop(None, None)
        return renamed

    def ignored(self, state: Mapping[str, Tensor], layout: str) -> dict[str, int]:
        """Return how many tensors `convert` leaves out, by the first part of their names."""
        return dict(Counter(name.split(".")[0] for name in state if self._rename(name, layout) is None))

    def _rename(self, name: str, layout: str) -> str | None:
        new = _rename(name, _RULES[layout])
        if new is None or not self.encoder_only:
            return new
        return new.removeprefix("encoder.") if new.startswith("encoder.") else None


def _rename(name: str, rules: Rules) -> str | None:
    for pattern, replacement in rules:
        match = re.match(pattern, name)
        if match:
            if replacement is None:
                return None
            start, rest = match.expand(replacement), name[match.end() :]
            block = re.search(r"\.blocks\.\d+\.$", start)
            return start + (_rename(rest, _BLOCK) if block else rest)
    return name


def _check_positions(state: Mapping[str, Tensor]) -> None:
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


add_converter("CAE", CAEWeights())
add_converter("ViT", CAEWeights(encoder_only=True))
