"""SemSegToInstances: training targets of mask classification models from semantic maps."""

import numpy as np

from vislab.datasets.transforms import functional
from vislab.errors import DataError
from vislab.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SemSegToInstances:
    """Create instances (labels, boxes, masks) from gt_sem_seg, one per class in the image.

    Required keys: gt_sem_seg.
    Modified keys: gt_labels, gt_bboxes, gt_masks, gt_ignore, gt_ids, gt_scale_factor (added); gt_rbboxes, gt_areas and
    gt_embeddings (removed).

    Args:
        ignore_index: Label of ignored pixels.
    """

    needs_labels = True

    def __init__(self, *, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def __call__(self, results: dict) -> dict:
        if "gt_sem_seg" not in results:
            raise DataError(f"{results.get('img_path', 'a sample')} has no gt_sem_seg: put LoadSemSeg before")
        semantic = results["gt_sem_seg"]
        labels = np.unique(semantic)
        labels = labels[labels != self.ignore_index].astype(np.int64)
        masks = (semantic[None] == labels[:, None, None]).astype(np.uint8)
        functional.inherit_scale(results, "gt_sem_seg")
        results["gt_masks"] = masks
        results["gt_labels"] = labels
        results["gt_bboxes"] = np.array([functional.mask_to_box(m) for m in masks], np.float32).reshape(len(labels), 4)
        results["gt_ignore"] = np.zeros(len(labels), bool)
        results["gt_ids"] = np.arange(len(labels))
        for key in ("gt_rbboxes", "gt_areas", "gt_embeddings"):
            results.pop(key, None)
        return results
