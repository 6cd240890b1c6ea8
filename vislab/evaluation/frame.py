"""Predictions and labels are compared in the frame of the original image: the check that the metrics share."""

from collections.abc import Mapping
from typing import Any

from vislab.errors import DataError

_REMEDIES = {
    "crop": "remove the crop",
    "flip": "remove the flip (mirrored views belong to DenseInference)",
    "pad": "remove Pad (ImagePreprocessor pads batches)",
}


def require_original_frame(sample: Mapping[str, Any], metric: str) -> None:
    """Refuses a sample whose image was cropped, mirrored or padded in the test pipeline.

    A model takes predictions back to the original image by scaling alone: those of such an image would be compared
    with labels of other places.

    Raises:
        DataError: with the transforms to remove.
    """
    moved = sample.get("moved") or ()
    if moved:
        remedies = ", ".join(_REMEDIES.get(move, f"remove {move}") for move in moved)
        raise DataError(
            f"{metric}: {sample.get('img_path', 'a sample')} went through {', '.join(moved)} in the test pipeline, so "
            f"that its predictions do not lie in the frame of the original image: {remedies}, and resize instead"
        )
