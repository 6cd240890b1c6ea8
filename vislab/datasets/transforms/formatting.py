"""Transforms at the end of a pipeline: derive labels from the panoptic map, and pack the results into a DataSample."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData, LabelData, PixelData

from vislab.datasets.transforms import functional
from vislab.datasets.transforms.loading import refuse_many_classes
from vislab.errors import DataError
from vislab.registry import TRANSFORMS
from vislab.structures import DataSample

META_KEYS = (
    *("img_id", "img_path", "sample_idx", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction"),
    *("moved", "gt_scale_factor", "num_vanished"),  # see functional
)


@TRANSFORMS.register_module()
class PanopticToSemSeg:
    """Create gt_sem_seg from gt_panoptic: the class of the segment of each pixel, 255 for void.

    Required keys: gt_panoptic, segments_info.
    Modified keys: gt_sem_seg (added).

    Args:
        ignore_crowd: Set crowd segments to 255 as well.

    Raises:
        DataError: A class index is above 254.
    """

    needs_labels = True

    def __init__(self, *, ignore_crowd: bool = False) -> None:
        self.ignore_crowd = ignore_crowd

    def __call__(self, results: dict) -> dict:
        table = np.full(len(results["segments_info"]) + 1, 255, np.uint8)
        highest = max((s["category"] for s in results["segments_info"]), default=0)
        refuse_many_classes(highest + (highest != 255), "PanopticToSemSeg")
        for segment in results["segments_info"]:
            if not (self.ignore_crowd and segment.get("iscrowd")):
                table[segment["id"]] = segment["category"]
        results["gt_sem_seg"] = table[results["gt_panoptic"]]
        return results


@TRANSFORMS.register_module()
class PanopticToInstances:
    """Create instances (labels, boxes, masks) from gt_panoptic, for mask classification. Crowds are skipped.

    Required keys: gt_panoptic, segments_info.
    Modified keys: gt_labels, gt_bboxes, gt_masks, gt_ignore, gt_ids, gt_scale_factor (added), num_vanished; gt_rbboxes,
    gt_areas and gt_embeddings (removed).

    Args:
        classes: Use only segments of these class indices, such as the thing classes. Default: all.
    """

    needs_labels = True

    def __init__(self, *, classes: Sequence[int] | None = None) -> None:
        self.classes = None if classes is None else frozenset(classes)

    def __call__(self, results: dict) -> dict:
        panoptic = results["gt_panoptic"]
        area = np.bincount(panoptic.ravel())
        wanted = [
            s
            for s in results["segments_info"]
            if not s.get("iscrowd") and s["category"] != 255 and (self.classes is None or s["category"] in self.classes)
        ]
        segments = [s for s in wanted if s["id"] < len(area) and area[s["id"]]]
        n = len(segments)
        masks = np.zeros((n, *panoptic.shape), np.uint8)
        for i, segment in enumerate(segments):
            np.equal(panoptic, segment["id"], out=masks[i].view(bool))
        functional.inherit_scale(results, "gt_panoptic")
        if results["gt_scale_factor"] != (1.0, 1.0):
            functional.record_vanished(results, len(wanted) - n)
        results["gt_masks"] = masks
        results["gt_bboxes"] = np.array([functional.mask_to_box(m) for m in masks], np.float32).reshape(n, 4)
        results["gt_labels"] = np.array([s["category"] for s in segments], np.int64)
        results["gt_ignore"] = np.zeros(n, bool)
        results["gt_ids"] = np.array([s["id"] for s in segments], np.int64)
        for key in ("gt_rbboxes", "gt_areas", "gt_embeddings"):
            results.pop(key, None)
        return results


@TRANSFORMS.register_module()
class PackInputs:
    """Pack results into {"inputs": uint8 tensor (3, H, W), "data_samples": DataSample}.

    The tensor is a view of the image memory (channels last) and is not copied; the data preprocessor converts it on the
    device.

    Required keys: img.
    Optional keys: all labels, label, patch_mask, predict_mask, target_img, and `meta_keys`, which become metainfo of
    the DataSample.
    Modified keys: none; returns a dict with inputs and data_samples only.

    Args:
        meta_keys: Keys of the metainfo.
    """

    pipeline_stage = 2  # read by the config check

    def __init__(self, *, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def __call__(self, results: dict) -> dict:
        sample = DataSample(metainfo={key: results[key] for key in self.meta_keys if key in results})
        n = functional.count_instances(results)
        if n is not None:
            sample.gt_instances = self._instances(results)
        if "gt_sem_seg" in results:
            sample.gt_sem_seg = PixelData(data=_semantic(results)[None])
        if "gt_depth" in results:
            sample.gt_depth = PixelData(data=_tensor(results["gt_depth"], torch.float32)[None])
        if "gt_panoptic" in results:
            panoptic = results["gt_panoptic"]
            area = np.bincount(panoptic.ravel(), minlength=len(results["segments_info"]) + 1)
            segments = [s | {"area": int(area[s["id"]])} for s in results["segments_info"] if area[s["id"]]]
            sample.gt_panoptic = PixelData(
                data=_tensor(panoptic, torch.int32)[None], metainfo={"segments_info": segments}
            )
        if "label" in results:
            sample.gt_label = LabelData(label=torch.tensor([results["label"]], dtype=torch.int64))
        for key in ("patch_mask", "predict_mask"):
            if key in results:
                setattr(sample, key, _tensor(results[key]))
        if "target_img" in results:
            sample.target_img = _tensor(results["target_img"]).permute(2, 0, 1)
        return {"inputs": _tensor(results["img"]).permute(2, 0, 1), "data_samples": sample}

    @staticmethod
    def _instances(results: dict) -> InstanceData:
        packed = InstanceData()
        lengths = {key: len(results[key]) for key in functional.INSTANCE_KEYS if key in results}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{results.get('img_path', 'sample')}: instance labels differ in length: {lengths}")
        for key in lengths:
            # areas are used by metrics only and remain a float64 array, which not all devices support
            packed[key.removeprefix("gt_")] = results[key] if key == "gt_areas" else _tensor(results[key])
        return packed


def _semantic(results: dict) -> torch.Tensor:
    semantic = results["gt_sem_seg"]
    if semantic.dtype != np.uint8 and semantic.size and not 0 <= semantic.min() <= semantic.max() <= 255:
        raise DataError(
            f"{results.get('img_path', 'sample')}: gt_sem_seg contains "
            f"{semantic.min()}..{semantic.max()}; semantic maps contain class indices 0..254, and 255 = ignored"
        )
    return _tensor(semantic, torch.int64)


def _tensor(array: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if dtype is None else tensor.to(dtype)
