"""LoadAnnotations: load the instances of a record (labels, boxes, rotated boxes, masks)."""

import numpy as np

from vislab.datasets.coco_entries import far_outside
from vislab.datasets.transforms import functional
from vislab.datasets.transforms.frame import check_moves, sample_name
from vislab.datasets.transforms.masks import decode_mask
from vislab.errors import DataError
from vislab.io.file_checks import warn_once
from vislab.registry import TRANSFORMS
from vislab.structures import rotated_boxes as rb


@TRANSFORMS.register_module()
class LoadAnnotations:
    """Convert `instances` of the record to arrays.

    Boxes are clipped at the image border; instances whose box has no area inside the image are skipped with a warning.
    Masks without pixels (polygons thinner than a pixel) are kept, because metrics count such objects; resizing and
    cropping transforms, and models in training, skip them.

    Required keys: instances, ori_shape; height and width if present. Records with arrays (gt_*) are left unchanged.
    Modified keys: gt_labels, gt_ignore, gt_ids, and gt_areas if an instance has an area (added); gt_bboxes, gt_rbboxes,
    gt_masks (added, as configured); instances (removed).

    Args:
        with_bbox: Load boxes, gt_bboxes (N, 4); computed from `rbbox` for instances without `bbox`.
        with_rbbox: Load rotated boxes, gt_rbboxes (N, 5); computed from `bbox` for instances without `rbbox`.
        with_mask: Load masks, gt_masks (N, H, W) uint8, from COCO's RLE or polygons.

    Raises:
        DataError: A mask is missing, malformed, or of another size than the image; a box lies far outside the image; or
            the image was cropped or flipped before.
    """

    pipeline_stage = None  # anywhere before PackInputs; read by the config check
    needs_labels = True

    def __init__(self, *, with_bbox: bool = True, with_rbbox: bool = False, with_mask: bool = False) -> None:
        self.with_bbox = with_bbox
        self.with_rbbox = with_rbbox
        self.with_mask = with_mask

    def __call__(self, results: dict) -> dict:
        if "instances" not in results:
            if any(key in results for key in functional.INSTANCE_KEYS):
                return results  # the record already has arrays
            raise DataError(f"{sample_name(results)} has no instances: the dataset provides no boxes or masks")
        if "ori_shape" not in results:
            raise DataError(f"{sample_name(results)} has no image yet: put LoadImage before LoadAnnotations")
        check_moves(results, "LoadAnnotations")
        instances = results.pop("instances")
        n = len(instances)
        results["gt_labels"] = np.array([i["label"] for i in instances], np.int64)
        results["gt_ignore"] = np.array([bool(i.get("ignore", 0)) for i in instances], bool)
        results["gt_ids"] = np.arange(n)
        if any(i.get("area") is not None for i in instances):
            results["gt_areas"] = np.array([np.nan if i.get("area") is None else i["area"] for i in instances], float)
        boxes, inside = self._boxes(results, instances)
        if self.with_bbox:
            results["gt_bboxes"] = boxes.astype(np.float32)
        if self.with_rbbox:
            rboxes = [i["rbbox"] if "rbbox" in i else rb.hboxes_to_rboxes(boxes[k]) for k, i in enumerate(instances)]
            results["gt_rbboxes"] = rb.normalize(np.array(rboxes, np.float32).reshape(n, 5))
        if self.with_mask:
            results["gt_masks"] = self._masks(results, instances, boxes)
        functional.keep_instances(results, inside)
        return results

    def _boxes(self, results: dict, instances: list[dict]) -> tuple[np.ndarray, np.ndarray]:
        """Return the boxes (N, 4) xyxy clipped at the image border, and which have an area inside it (N,)."""
        n = len(instances)
        boxes = [i["bbox"] if "bbox" in i else rb.rboxes_to_hboxes(np.array(i["rbbox"])) for i in instances]
        boxes = np.array(boxes, np.float64).reshape(n, 4)
        upright = np.array(["bbox" in i for i in instances], bool)  # rotated boxes may exceed the image
        if not n:
            return boxes, np.ones(n, bool)
        h, w = results["ori_shape"]
        far = upright & far_outside(boxes, np.array([w, h], np.float64))
        if far.any():
            k = int(far.argmax())
            raise DataError(
                f"the box of {_instance(instances, k)} of {sample_name(results)} is {boxes[k].tolist()} (x1, y1, x2, "
                f"y2), far outside its image of {h}x{w} (h x w): it was made for an image of another size, or is "
                "damaged"
            )
        whole = boxes
        boxes = np.where(upright[:, None], np.clip(boxes, 0, [w, h, w, h]), boxes)
        if not ("height" in results and "width" in results):  # else the dataset has checked the boxes
            over = (np.abs(whole - boxes) > 0.1 * np.array([w, h, w, h])).any(axis=1)
            if over.any():
                k = int(over.argmax())
                warn_once(
                    "box over the edge",
                    f"{sample_name(results)}: the box of {_instance(instances, k)} exceeds the image "
                    f"by more than a tenth of its size and is clipped: {whole[k].tolist()} (x1, y1, x2, y2) in "
                    f"{h}x{w} (h x w). Is the file's bbox [x, y, width, height]? Further images are not reported",
                    every_worker=True,
                )
        inside = ~upright | (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        if not inside.all():
            k = int((~inside).argmax())
            warn_once(
                "box outside",
                f"{sample_name(results)}: {int((~inside).sum())} of {n} boxes have no area inside the image and are "
                f"skipped, the first is that of {_instance(instances, k)}; further images are not reported",
                every_worker=True,
            )
        return boxes, inside

    def _masks(self, results: dict, instances: list[dict], boxes: np.ndarray) -> np.ndarray:
        """Return the masks (N, H, W) uint8; warns if a mask does not overlap its box in `boxes` (N, 4) xyxy."""
        h, w = results["ori_shape"]
        masks = np.zeros((len(instances), h, w), np.uint8)
        for k, (instance, mask) in enumerate(zip(instances, masks, strict=True)):
            place = f"the mask of {_instance(instances, k)} of {sample_name(results)}"
            if instance.get("mask") is None:
                raise DataError(f"{place} is missing: set with_mask=False, or add a segmentation")
            mask[...] = decode_mask(instance["mask"], (h, w), place)
            x1, y1, x2, y2 = (int(n) for n in (*np.floor(boxes[k, :2]).clip(0), *np.ceil(boxes[k, 2:]).clip(0)))
            if mask[y1:y2, x1:x2].view(bool).any():
                continue
            if mask.any():
                warn_once(
                    "mask beside its box",
                    f"{place} has no pixel in its own box {boxes[k].tolist()} (x1, y1, x2, y2): one of the two was "
                    "made for an image of another size, or is damaged. Further ones are not reported",
                    every_worker=True,
                )
            else:
                warn_once(
                    "empty mask",
                    f"{place} has no pixel: its polygons are thinner than a pixel, or outside the image; further ones "
                    "are not reported",
                    every_worker=True,
                )
        return masks


def _instance(instances: list[dict], index: int) -> str:
    """Return the name of an instance in messages: its index, and the id of the annotation if there is one."""
    number = instances[index].get("id")
    return f"instance {index}" if number is None else f"instance {index} (annotation {number})"
