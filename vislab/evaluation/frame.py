"""Check shared by the metrics: predictions must be in the coordinate frame of the original image."""

from collections.abc import Mapping
from typing import Any

from vislab.errors import DataError

_REMEDIES = {
    "crop": "remove the crop",
    "flip": "remove the flip (mirrored views belong to DenseInference)",
    "pad": "remove Pad (ImagePreprocessor pads batches)",
}


def require_original_frame(sample: Mapping[str, Any], metric: str) -> None:
    """Raise an error if the image was cropped, flipped or padded in the test pipeline.

    Models map predictions to the original image by scaling only, so they would be compared with labels of other
    positions.

    Raises:
        DataError: The image was changed; the message names the transforms to remove.
    """
    moved = sample.get("moved") or ()
    if moved:
        remedies = ", ".join(_REMEDIES.get(move, f"remove {move}") for move in moved)
        raise DataError(
            f"{metric}: {sample.get('img_path', 'a sample')} went through {', '.join(moved)} in the test pipeline, so "
            f"its predictions are not in the frame of the original image: {remedies}, and resize instead"
        )
