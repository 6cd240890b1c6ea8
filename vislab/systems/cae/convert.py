"""Conversion of whole CAE models of other projects, used by `vislab.zoo.load_foreign` for CAE.

The layouts and the names of the encoder are those of vislab.models.encoders.vit_convert.
"""

from collections.abc import Mapping

from torch import Tensor

from vislab.models.encoders.vit_convert import (
    ENCODER_RULES,
    LAYOUTS,
    Rules,
    check_positions,
    count_parts,
    detect,
    rename,
)
from vislab.zoo.foreign import add_converter

_OFFICIAL: Rules = (
    (r"(alignment_encoder|teacher)\.", None),  # the encoder again
    (r"rd_pos_embed$", None),  # computed
    (r"mask_token$", "regressor.mask_token"),
    (r"regresser\.regressor_blocks\.(\d+\.)", r"regressor.blocks.\1"),
    (r"regresser\.norm\.", "regressor.norm."),
    (r"encoder_to_regresser\.", "regressor.adapter.0."),
    (r"encoder_to_regresser_norm\.", "regressor.adapter.1."),
    (r"decoder\.decoder_blocks\.(\d+\.)", r"decoder.blocks.\1"),
    (r"decoder\.", "decoder."),
)

_OFFICIAL_V1: Rules = (
    (r"pretext_neck\.regressor_blocks\.(\d+\.)", r"regressor.blocks.\1"),
    (r"pretext_neck\.decoder_blocks\.(\d+\.)", r"decoder.blocks.\1"),
    (r"pretext_neck\.norm\.", "regressor.norm."),
    (r"pretext_neck\.norm2\.", "decoder.norm."),
    (r"pretext_neck\.head\.", "decoder.head."),
    (r"pretext_neck\.mask_token$", "regressor.mask_token"),
    (r"encoder_to_decoder\.", "regressor.adapter.0."),
    (r"encoder_to_decoder_norm\.", "regressor.adapter.1."),
    *_OFFICIAL,
)

_MMPRETRAIN: Rules = (
    (r"(teacher|target_generator|data_preprocessor|head)\.", None),
    (r"neck\.regressors\.(\d+\.)", r"regressor.blocks.\1"),
    (r"neck\.decoders\.(\d+\.)", r"decoder.blocks.\1"),
    (r"neck\.norm_regressor\.", "regressor.norm."),
    (r"neck\.norm_decoder\.", "decoder.norm."),
    (r"neck\.head\.", "decoder.head."),
    (r"neck\.mask_token$", "regressor.mask_token"),
)

_PARTS = {"official": _OFFICIAL, "official_v1": _OFFICIAL_V1, "mmpretrain": _MMPRETRAIN}
_RULES = {layout: (*_PARTS[layout], *ENCODER_RULES[layout]) for layout in LAYOUTS}


class CAEWeights:
    """Converter of whole models."""

    LAYOUTS = LAYOUTS

    @staticmethod
    def detect(state: Mapping[str, Tensor]) -> str | None:
        """Return the layout of a state dict; None if it is unknown."""
        return detect(state)

    @staticmethod
    def convert(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
        """Convert a state dict of the given layout; names without a rule are unchanged."""
        check_positions(state)
        renamed = {rename(name, _RULES[layout]): value for name, value in state.items()}
        renamed.pop(None, None)
        return renamed

    @staticmethod
    def ignored(state: Mapping[str, Tensor], layout: str) -> dict[str, int]:
        """Return how many tensors `convert` leaves out, by the first part of their names."""
        return count_parts(name for name in state if rename(name, _RULES[layout]) is None)


add_converter("CAE", CAEWeights())
