"""First steps of a pipeline: read the image and the labels that a record names.

A record may also hold the arrays themselves (`img`, `gt_*`), as drawn scenes and video frames do: what is there is
kept.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from vislab.datasets.transforms.frame import check_moves, check_shape, exif_hint, sample_name, warn_of_turn
from vislab.errors import DataError
from vislab.io.file_checks import warn_once
from vislab.io.images import decode_rgb, read_bytes, read_indices, read_raw
from vislab.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImage:
    """Read `img_path` (or take `img`) as (H, W, 3) uint8 RGB; sets img, ori_shape, img_shape, scale_factor.

    EXIF orientation is followed, gray is repeated, alpha dropped, 16 bits reduced to 8. Where the record knows the
    height and width that the labels were made for, the image must have them.

    Args:
        min_size: Images with a shorter side than this, in pixels, are refused.
        exif: Turn photos as their EXIF orientation says; False for labels that were made on the pixels as stored.

    Raises:
        DataError: the file is missing, broken, cut off or too small, or of another size than its labels; the message
            names it.
    """

    def __init__(self, *, min_size: int = 1, exif: bool = True) -> None:
        self.min_size = min_size
        self.exif = exif

    def __call__(self, results: dict) -> dict:
        img = results["img"] if "img" in results else self._read(results)
        if img.ndim != 3 or img.shape[2] != 3 or img.dtype != np.uint8:
            raise DataError(f"{sample_name(results)} is {img.dtype} {img.shape}, expected uint8 (h, w, 3) RGB")
        if min(img.shape[:2]) < self.min_size:
            raise DataError(
                f"{sample_name(results)} is {img.shape[0]}x{img.shape[1]} (h x w); the least side allowed is "
                f"{self.min_size}"
            )
        if "height" in results or "width" in results:
            self._check_size(results, img.shape[:2])
        for key in ("gt_sem_seg", "gt_panoptic", "gt_depth", "gt_masks"):  # labels in the record, or loaded before
            if key in results and results[key].shape[-2:] != img.shape[:2]:
                raise DataError(
                    f"{sample_name(results)} is {img.shape[0]}x{img.shape[1]} (h x w), its {key} is "
                    f"{results[key].shape[-2]}x{results[key].shape[-1]}: labels must be of the image's size"
                )
        results["img"] = img
        results["ori_shape"] = results["img_shape"] = img.shape[:2]
        results["scale_factor"] = (1.0, 1.0)
        return results

    def _read(self, results: dict) -> np.ndarray:
        path = results["img_path"]
        data = read_bytes(path)
        img = decode_rgb(path, data, exif=self.exif)
        if self.exif:
            warn_of_turn(results, data, img.shape[:2])
        return img

    @staticmethod
    def _check_size(results: dict, shape: tuple[int, int]) -> None:
        """Compare the image with the size that its annotation file gives; an unknown side is not in the record."""
        said = (results.get("height", shape[0]), results.get("width", shape[1]))
        if said == shape:
            return
        swapped = said == shape[::-1]
        hint = (exif_hint(results, said) if swapped else "") or (
            f"{', height and width swapped' if swapped else ''}. Use the images that the labels were made on; if the "
            "labels fit this one, correct height and width in the annotation file, or set them to null (unknown)"
        )
        raise DataError(
            f"{sample_name(results)} is {shape[0]}x{shape[1]} (h x w), but its annotation file says {said[0]}x{said[1]}"
            f"{hint}"
        )


def refuse_many_classes(count: int, where: str) -> None:
    """Refuses what the labels cannot hold: 255 means "ignored" in semantic maps and "void" in panoptic segments.

    Raises:
        DataError: there are more than 255 classes.
    """
    if count > 255:
        raise DataError(
            f"{where}: {count} classes; semantic and panoptic labels tell at most 255 apart (0..254; 255 = ignored): "
            "merge or leave out classes, or use instance masks (LoadAnnotations(with_mask=True)), which have no limit."
        )


def check_label_map(label_map: Mapping[int, int], where: str) -> None:
    """Refuses a label map that cannot be applied to files of 8 or 16 bits.

    Raises:
        DataError: a value of a file outside 0..65535, or a class index outside 0..254 (255 = ignored).
    """
    refuse_many_classes(1 + max((value for value in label_map.values() if value != 255), default=-1), where)
    if any(not 0 <= key < 1 << 16 or value < 0 for key, value in label_map.items()):
        key, value = next((k, v) for k, v in label_map.items() if not 0 <= k < 1 << 16 or v < 0)
        raise DataError(
            f"{where}: label_map has {key}: {value}; expected values of the file in 0..65535 and classes in 0..254, or "
            "255 for what is ignored"
        )


@TRANSFORMS.register_module()
class LoadSemSeg:
    """Read `seg_map_path`, one class index a pixel, into gt_sem_seg (H, W) uint8 with 255 = ignore.

    A dataset that knows how its files are coded says so in the record, `seg_label_map`: from each value that a file may
    hold to a class index. It is applied here and nowhere else, so that labels are shifted exactly once; the two
    arguments below are for files whose dataset does not say.

    Args:
        reduce_zero_label: The file's 0 means "no class" and k means class k - 1 (ADE20K): 0 becomes 255, k becomes k
            - 1.
        label_map: From the file's values to class indices; values that are not in it become 255.
        num_classes: When given, a class index of num_classes or more (other than 255) is refused.

    Raises:
        DataError: the file is missing or broken, has colors, another size than its image, or a class out of range; or
            both record and arguments want to change the labels; or there are more than 255 classes.
    """

    def __init__(
        self,
        *,
        reduce_zero_label: bool = False,
        label_map: dict[int, int] | None = None,
        num_classes: int | None = None,
    ) -> None:
        if reduce_zero_label and label_map:
            raise ValueError("reduce_zero_label and label_map both shift labels: give one of the two")
        refuse_many_classes(num_classes or 0, "LoadSemSeg")
        check_label_map(label_map or {}, "LoadSemSeg")
        self.num_classes = num_classes
        self._table = None
        self._seen_classes = False  # whether a file held a value other than 0 and 255
        if reduce_zero_label:
            self._table = np.concatenate([[255], np.arange(254), [255]]).astype(np.uint8)
        elif label_map:
            self._table = np.full(1 << 16, 255, np.uint8)
            self._table[list(label_map)] = list(label_map.values())

    def __call__(self, results: dict) -> dict:
        if "gt_sem_seg" in results:
            return results
        path = results.get("seg_map_path")
        if path is None:
            raise DataError(f"{sample_name(results)} has no seg_map_path: the dataset gives no semantic labels")
        check_moves(results, "LoadSemSeg")
        labels = read_indices(path)
        check_shape(results, labels.shape, path)
        if not self._seen_classes:
            self._look_for_binary(path, labels, results.get("seg_label_map"))
        if "seg_label_map" in results:
            results["gt_sem_seg"] = self._translate(path, labels, results["seg_label_map"])
            return results
        if labels.dtype != np.uint8 or self._table is not None:
            top = 255 if self._table is None else len(self._table) - 1
            self._refuse(path, labels, (labels > top) | (labels < 0))
            labels = labels.astype(np.uint8) if self._table is None else self._table[labels]
        if self.num_classes is not None:
            self._refuse(path, labels, (labels >= self.num_classes) & (labels != 255))
        results["gt_sem_seg"] = np.array(labels, np.uint8)
        return results

    def _translate(self, path: str, labels: np.ndarray, label_map: dict[int, int]) -> np.ndarray:
        if self._table is not None:
            raise DataError(
                "the dataset already says how its label files are coded: remove reduce_zero_label and label_map from "
                "LoadSemSeg, or every label would be shifted twice"
            )
        check_label_map(label_map, path)
        table = np.full(1 << 16, -1, np.int16)
        table[list(label_map)] = list(label_map.values())
        translated = table[np.clip(labels, 0, len(table) - 1)]
        wrong = (translated < 0) | (labels < 0) | (labels >= len(table))
        if wrong.any():
            found = ", ".join(map(str, np.unique(labels[wrong])[:5]))
            known = sorted(label_map)
            raise DataError(
                f"{path} contains the value {found} (at {int(wrong.sum())} pixels); the files of this dataset hold "
                f"{known[0]}..{known[-1]}"
            )
        return translated.astype(np.uint8)

    def _look_for_binary(self, path: str, labels: np.ndarray, label_map: dict[int, int] | None) -> None:
        """Warns of a mask of 0 and 255, as many tools write them: its object would be taken for "ignored".

        Files are looked at until one tells the two ways of coding apart.
        """
        known = label_map or ({} if self._table is None else dict(enumerate(self._table)))
        classes = self.num_classes or len({v for v in known.values() if v != 255})
        zeros, tops = np.count_nonzero(labels == 0), np.count_nonzero(labels == 255)
        if known.get(255, 255) != 255 or zeros + tops < labels.size:
            self._seen_classes = True
        elif tops and (classes <= 2 if classes else zeros):
            self._seen_classes = True
            warn_once(
                "binary masks",
                f"{path} contains no values but 0 and 255, and 255 means 'ignored': {tops / labels.size:.0%} of it "
                "counts "
                "neither in training nor in the metrics. If that is the object, say so: label_map={0: 0, 255: 1}.",
            )

    def _refuse(self, path: str, labels: np.ndarray, bad: np.ndarray) -> None:
        if bad.any():
            found = ", ".join(map(str, np.unique(labels[bad])[:5]))
            top = (self.num_classes or 255) - 1
            raise DataError(
                f"{path} contains class {found} (at {int(bad.sum())} pixels); expected 0..{top}, or 255 = ignore. "
                "Check num_classes, reduce_zero_label and label_map."
            )


@TRANSFORMS.register_module()
class LoadPanoptic:
    """Read `panoptic_path` (COCO's RGB coding of segment ids) into gt_panoptic (H, W) int32; ids become 1..K, 0 = void.

    `segments_info` follows: segment k + 1 of the map is its entry k; the file's own id stays there as `file_id`.

    Raises:
        DataError: the file is missing, broken, of another size, or contains an id that the annotation does not know.
    """

    def __call__(self, results: dict) -> dict:
        if "gt_panoptic" in results:
            return results
        path = results.get("panoptic_path")
        if path is None:
            raise DataError(f"{sample_name(results)} has no panoptic_path: the dataset gives no panoptic labels")
        check_moves(results, "LoadPanoptic")
        rgb = read_raw(path)
        if rgb.ndim != 3 or rgb.dtype != np.uint8:
            raise DataError(
                f"{path} is {rgb.dtype} {rgb.shape}; a panoptic map is an 8-bit RGB image, id = R + 256 G + 65536 B"
            )
        check_shape(results, rgb.shape[:2], path)
        rgb = rgb.astype(np.int32)
        coded = rgb[..., 0] + (rgb[..., 1] << 8) + (rgb[..., 2] << 16)
        segments = results["segments_info"]
        known = np.array([0, *(s["id"] for s in segments)], np.int32)
        order = np.argsort(known, kind="stable")
        place = np.searchsorted(known[order], coded).clip(max=len(known) - 1)  # (H, W)
        new = order[place].astype(np.int32)
        unknown = known[new] != coded
        if unknown.any():
            ids = ", ".join(map(str, np.unique(coded[unknown])[:5]))
            raise DataError(
                f"{path} contains segment id {ids} (at {int(unknown.sum())} pixels) that is not among the "
                f"{len(segments)} "
                "segments of its annotation: PNG folder and json do not belong together"
            )
        area = np.bincount(new.ravel(), minlength=len(known))
        missing = [s["id"] for k, s in enumerate(segments, start=1) if not area[k]]
        if missing:
            warn_once(
                "empty segment",
                f"{path}: {len(missing)} of the {len(segments)} segments of its annotation have no pixel in it and are "
                f"left out, the first is {missing[0]}: was the map made smaller, or is it that of another image? "
                "Further maps are not reported",
                every_worker=True,
            )
        results["gt_panoptic"] = new
        results["segments_info"] = [s | {"id": k + 1, "file_id": s["id"]} for k, s in enumerate(segments)]
        return results


@TRANSFORMS.register_module()
class LoadDepth:
    """Read `depth_path` (16-bit PNG, float TIFF or .npy) into gt_depth (H, W) float32 meters, 0 = unknown.

    Args:
        scale: Meters for one unit of the file: 0.001 for NYU and Kinect millimeters, 1/256 for KITTI.
        invalid: Values of the file that mean "unknown".
        max_depth: Meters; what lies beyond becomes unknown.
        allow_empty: Accept a map without a single known pixel.

    Raises:
        DataError: the file is missing, broken, of another size than its image, or all of it is unknown; or its 8 bits
            are to hold millimeters.
    """

    def __init__(
        self,
        *,
        scale: float = 0.001,
        invalid: Sequence[float] = (0,),
        max_depth: float | None = None,
        allow_empty: bool = False,
    ) -> None:
        self.scale = scale
        self.invalid = tuple(invalid)
        self.max_depth = max_depth
        self.allow_empty = allow_empty

    def __call__(self, results: dict) -> dict:
        if "gt_depth" in results:
            return results
        path = results.get("depth_path")
        if path is None:
            raise DataError(f"{sample_name(results)} has no depth_path: the dataset gives no depth")
        check_moves(results, "LoadDepth")
        raw = read_raw(path)
        if raw.ndim == 3 and path.lower().endswith(".npy") and 1 in (raw.shape[0], raw.shape[2]):
            raw = raw.squeeze(0 if raw.shape[0] == 1 else 2)  # (1, H, W) or (H, W, 1), as frameworks save them
        if raw.ndim != 2:
            found = f"{raw.shape[2]} channels" if raw.ndim == 3 else f"the shape {raw.shape}"
            raise DataError(f"{path} has {found}; a depth map has one value a pixel, (height, width)")
        check_shape(results, raw.shape, path)
        if raw.dtype.itemsize == 1 and 255 * self.scale < 0.3:
            raise DataError(
                f"{path} has 8 bits, which with scale={self.scale} reach no further than {255 * self.scale:.3g} m. Say "
                "LoadDepth(scale=...), meters for one unit: 10 / 255 where 255 means 10 m; or use 16-bit files."
            )
        depth = raw.astype(np.float32) * np.float32(self.scale)
        for value in self.invalid:
            depth[raw == value] = 0
        depth[~(depth > 0) | ~np.isfinite(depth)] = 0
        if self.max_depth is not None:
            depth[depth > self.max_depth] = 0
        far = depth.max(initial=0)
        if 0 < far < 0.1 or far > 1000:
            warn_once(
                "depth range",
                f"{path}: with scale={self.scale} its depths reach {far:.3g} m (the file contains {raw.dtype} values "
                f"{np.nanmin(raw):g}..{np.nanmax(raw):g}). If that is wrong, say LoadDepth(scale=...): 1 for meters, "
                "0.001 for millimeters.",
            )
        if not self.allow_empty and far == 0:
            raise DataError(
                f"{path} has no known depth: all {depth.size} pixels are invalid (scale={self.scale}, "
                f"invalid={self.invalid}, max_depth={self.max_depth}; the file contains {raw.min()}..{raw.max()})"
            )
        results["gt_depth"] = depth
        return results
