"""Loading transforms: read the image and the label maps of a record.

Records may also contain the arrays (`img`, `gt_*`), as those of Scenes and VideoFrames do; they are kept.
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
    """Load the image as (H, W, 3) uint8 RGB.

    Images are rotated by their EXIF orientation, gray is repeated, alpha removed, and 16 bits are reduced to 8. If the
    record has height or width, the image must match them.

    Required keys: img_path or img; height and width if present.
    Modified keys: img, ori_shape, img_shape, scale_factor (added).

    Args:
        min_size: Minimum length of the short side in pixels.
        exif: Rotate photos by their EXIF orientation; False for labels made on the stored pixels.

    Raises:
        DataError: The file is missing, damaged, truncated or too small, or its size differs from that of its labels.
    """

    pipeline_stage = 0  # read by the config check

    def __init__(self, *, min_size: int = 1, exif: bool = True) -> None:
        self.min_size = min_size
        self.exif = exif

    def __call__(self, results: dict) -> dict:
        img = results["img"] if "img" in results else self._read(results)
        if img.ndim != 3 or img.shape[2] != 3 or img.dtype != np.uint8:
            raise DataError(f"{sample_name(results)} is {img.dtype} {img.shape}, expected uint8 (h, w, 3) RGB")
        if min(img.shape[:2]) < self.min_size:
            raise DataError(
                f"{sample_name(results)} is {img.shape[0]}x{img.shape[1]} (h x w); the minimum side is {self.min_size}"
            )
        if "height" in results or "width" in results:
            self._check_size(results, img.shape[:2])
        for key in ("gt_sem_seg", "gt_panoptic", "gt_depth", "gt_masks"):  # in the record, or loaded before
            if key in results and results[key].shape[-2:] != img.shape[:2]:
                raise DataError(
                    f"{sample_name(results)} is {img.shape[0]}x{img.shape[1]} (h x w), its {key} is "
                    f"{results[key].shape[-2]}x{results[key].shape[-1]}: labels must have the size of the image"
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
        """Raise DataError if the size of the image differs from the annotation file (sides may be unknown)."""
        said = (results.get("height", shape[0]), results.get("width", shape[1]))
        if said == shape:
            return
        swapped = said == shape[::-1]
        hint = (exif_hint(results, said) if swapped else "") or (
            f"{', height and width swapped' if swapped else ''}. Use the images that were annotated; if the "
            "labels match this image, correct height and width in the annotation file, or set them to null (unknown)"
        )
        raise DataError(
            f"{sample_name(results)} is {shape[0]}x{shape[1]} (h x w), but its annotation file has "
            f"{said[0]}x{said[1]}{hint}"
        )


def refuse_many_classes(count: int, where: str) -> None:
    """Raise an error for more classes than labels can represent; 255 means ignored or void.

    Raises:
        DataError: There are more than 255 classes.
    """
    if count > 255:
        raise DataError(
            f"{where}: {count} classes; semantic and panoptic labels support at most 255 (0..254; 255 = ignored): "
            "merge or remove classes, or use instance masks (LoadAnnotations(with_mask=True)), which have no limit."
        )


def check_label_map(label_map: Mapping[int, int], where: str) -> None:
    """Check that a label map can be applied to files of 8 or 16 bits.

    Raises:
        DataError: A value in the file is outside 0..65535, or a class index outside 0..254 (255 = ignored).
    """
    refuse_many_classes(1 + max((value for value in label_map.values() if value != 255), default=-1), where)
    if any(not 0 <= key < 1 << 16 or value < 0 for key, value in label_map.items()):
        key, value = next((k, v) for k, v in label_map.items() if not 0 <= k < 1 << 16 or v < 0)
        raise DataError(
            f"{where}: label_map has {key}: {value}; expected values in 0..65535, and classes in 0..254 or "
            "255 (ignored)"
        )


@TRANSFORMS.register_module()
class LoadSemSeg:
    """Load a semantic map from a label image with one class index per pixel, 255 = ignored.

    Datasets with encoded label files add `seg_label_map` to the record, a mapping from the values in the file to class
    indices. It is applied here and nowhere else, so that labels are shifted exactly once. The arguments below are for
    datasets without it.

    Required keys: seg_map_path or gt_sem_seg; seg_label_map if present.
    Modified keys: gt_sem_seg (added).

    Args:
        reduce_zero_label: Map 0 to 255 and k to k - 1, for files in which 0 means "no class" (ADE20K).
        label_map: Class index by value in the file; other values become 255.
        num_classes: If set, class indices of num_classes or more (other than 255) are an error.

    Raises:
        DataError: The file is missing or damaged, has colors, another size than the image, or an invalid class; labels
            are mapped in both the record and the arguments; or there are more than 255 classes.
    """

    pipeline_stage = None  # anywhere before PackInputs; read by the config check
    needs_labels = True

    def __init__(
        self,
        *,
        reduce_zero_label: bool = False,
        label_map: dict[int, int] | None = None,
        num_classes: int | None = None,
    ) -> None:
        if reduce_zero_label and label_map:
            raise ValueError("reduce_zero_label and label_map both change labels: use only one of them")
        refuse_many_classes(num_classes or 0, "LoadSemSeg")
        check_label_map(label_map or {}, "LoadSemSeg")
        self.num_classes = num_classes
        self._table = None
        self._seen_classes = False  # whether a file had a value other than 0 and 255
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
            raise DataError(f"{sample_name(results)} has no seg_map_path: the dataset provides no semantic labels")
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
                "the dataset already maps the values of its label files: remove reduce_zero_label and label_map from "
                "LoadSemSeg, or labels would be shifted twice"
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
                f"{path} contains the value {found} (at {int(wrong.sum())} pixels); the files of this dataset contain "
                f"{known[0]}..{known[-1]}"
            )
        return translated.astype(np.uint8)

    def _look_for_binary(self, path: str, labels: np.ndarray, label_map: dict[int, int] | None) -> None:
        """Warn about binary masks of 0 and 255, as written by many tools, whose object would be ignored.

        Files are checked until one of them shows which encoding is used.
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
                f"{path} contains only the values 0 and 255, and 255 means 'ignored': {tops / labels.size:.0%} of it "
                "is used neither in training nor in the metrics. If that is the object, set label_map={0: 0, 255: 1}.",
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
    """Load a panoptic map from a PNG file with COCO's RGB encoding of segment ids, renumbered to 1..K, 0 = void.

    Entry k of `segments_info` becomes segment k + 1; the id in the file is kept as its `file_id`.

    Required keys: panoptic_path and segments_info, or gt_panoptic.
    Modified keys: gt_panoptic (added), segments_info.

    Raises:
        DataError: The file is missing, damaged or of another size, or contains an id that is not in `segments_info`.
    """

    needs_labels = True

    def __call__(self, results: dict) -> dict:
        if "gt_panoptic" in results:
            return results
        path = results.get("panoptic_path")
        if path is None:
            raise DataError(f"{sample_name(results)} has no panoptic_path: the dataset provides no panoptic labels")
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
                "segments of its annotation: the PNG folder does not match the JSON file"
            )
        area = np.bincount(new.ravel(), minlength=len(known))
        missing = [s["id"] for k, s in enumerate(segments, start=1) if not area[k]]
        if missing:
            warn_once(
                "empty segment",
                f"{path}: {len(missing)} of the {len(segments)} segments of its annotation have no pixels and are "
                f"skipped, the first is {missing[0]}: was the map resized, or is it of another image? "
                "Further maps are not reported",
                every_worker=True,
            )
        results["gt_panoptic"] = new
        results["segments_info"] = [s | {"id": k + 1, "file_id": s["id"]} for k, s in enumerate(segments)]
        return results


@TRANSFORMS.register_module()
class LoadDepth:
    """Load a depth map (16-bit PNG, float TIFF or .npy) in meters, 0 = unknown.

    Required keys: depth_path or gt_depth.
    Modified keys: gt_depth (added).

    Args:
        scale: Meters per unit in the file: 0.001 for millimeters (NYU, Kinect), 1/256 for KITTI.
        invalid: Values in the file that mean "unknown".
        max_depth: Larger depths, in meters, become unknown.
        allow_empty: Accept maps without any known pixel.

    Raises:
        DataError: The file is missing, damaged, of another size than the image, completely unknown, or has 8 bits with
            a scale of millimeters.
    """

    pipeline_stage = None  # anywhere before PackInputs; read by the config check
    needs_labels = True

    def __init__(
        self,
        *,
        scale: float = 0.001,
        invalid: Sequence[float] = (0,),
        max_depth: float | None = None,
        allow_empty: bool = False,
    ) -> None:
        if scale <= 0:
            raise ValueError(f"scale={scale}: expected meters for one step of the file, above 0")
        self.scale = scale
        self.invalid = tuple(invalid)
        self.max_depth = max_depth
        self.allow_empty = allow_empty

    def __call__(self, results: dict) -> dict:
        if "gt_depth" in results:
            return results
        path = results.get("depth_path")
        if path is None:
            raise DataError(f"{sample_name(results)} has no depth_path: the dataset provides no depth")
        check_moves(results, "LoadDepth")
        raw = read_raw(path)
        if raw.ndim == 3 and path.lower().endswith(".npy") and 1 in (raw.shape[0], raw.shape[2]):
            raw = raw.squeeze(0 if raw.shape[0] == 1 else 2)  # (1, H, W) or (H, W, 1), as frameworks save them
        if raw.ndim != 2:
            found = f"{raw.shape[2]} channels" if raw.ndim == 3 else f"the shape {raw.shape}"
            raise DataError(f"{path} has {found}; a depth map has one value per pixel, (height, width)")
        check_shape(results, raw.shape, path)
        if raw.dtype.itemsize == 1 and 255 * self.scale < 0.3:
            raise DataError(
                f"{path} has 8 bits, which with scale={self.scale} represent at most {255 * self.scale:.3g} m. Set "
                "LoadDepth(scale=...) to meters per unit: 10 / 255 if 255 means 10 m; or use 16-bit files."
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
                f"{path}: with scale={self.scale} its maximum depth is {far:.3g} m (the file contains {raw.dtype} "
                f"values {np.nanmin(raw):g}..{np.nanmax(raw):g}). If that is wrong, set LoadDepth(scale=...): 1 for "
                "meters, 0.001 for millimeters.",
            )
        if not self.allow_empty and far == 0:
            raise DataError(
                f"{path} has no known depth: all {depth.size} pixels are invalid (scale={self.scale}, "
                f"invalid={self.invalid}, max_depth={self.max_depth}; the file contains {raw.min()}..{raw.max()})"
            )
        results["gt_depth"] = depth
        return results
