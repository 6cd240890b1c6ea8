"""From the masks of a batch to the indices of its visible and masked patches, on the CPU before the batch is copied."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vislab.errors import DataError
from vislab.models.preprocessor import ImagePreprocessor
from vislab.registry import MODELS
from vislab.structures import DataSample


def patch_ids(samples: Sequence[DataSample] | None) -> tuple[Tensor, Tensor]:
    """Return the indices of the visible (B, V) and the masked patches (B, M), int64, ascending in raster order.

    Args:
        samples: B samples with patch_mask, (h, w) bool, True = masked.

    Raises:
        DataError: A sample has no mask; sizes or the numbers of masked patches differ; none or all are masked.
    """
    if not samples or any("patch_mask" not in sample for sample in samples):
        raise DataError("CAE: a sample has no patch_mask: put a mask transform into the pipeline, before PackInputs")
    shapes = {tuple(sample.patch_mask.shape) for sample in samples}
    if len(shapes) > 1:
        raise DataError(f"CAE: the masks of a batch have the sizes {sorted(shapes)}, expected one size")
    masks = np.stack([sample.patch_mask.cpu().numpy().ravel() for sample in samples])  # (B, h * w)
    counts = masks.sum(axis=1)
    masked, total = int(counts[0]), masks.shape[1]
    if (counts != masked).any():
        raise DataError(
            f"CAE: the samples of a batch have {counts.min()} to {counts.max()} masked patches, "
            "expected one number: give the mask transform a fixed count"
        )
    if not 0 < masked < total:
        raise DataError(f"CAE: {masked} of {total} patches are masked, expected 1 to {total - 1}")
    order = masks.argsort(axis=1, kind="stable")  # the visible ones first, each group ascending
    visible, hidden = np.split(order, [total - masked], axis=1)
    return torch.tensor(visible), torch.tensor(hidden)


@MODELS.register_module()
class MaskedImagePreprocessor(ImagePreprocessor):
    """ImagePreprocessor that adds "patch_ids", the indices of the visible and the masked patches, to the batch.

    The arguments are those of ImagePreprocessor. The masks of the samples stay on the CPU.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess a collated batch; see ImagePreprocessor. Samples without masks give no "patch_ids"."""
        samples = data.get("data_samples") or ()
        masks = [sample.pop("patch_mask", None) for sample in samples]  # not copied to the device one by one
        batch = super().forward(data, training)
        if not masks or any(mask is None for mask in masks):
            return batch
        for sample, mask in zip(batch["data_samples"], masks, strict=True):
            sample.patch_mask = mask
        ids = patch_ids(batch["data_samples"])
        return batch | {"patch_ids": tuple(part.to(self.device, non_blocking=self._non_blocking) for part in ids)}
