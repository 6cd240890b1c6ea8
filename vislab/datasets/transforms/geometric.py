"""Geometric transforms of images with all types of labels: resizing, large-scale jitter, cropping, flipping, padding.

Random parameters are drawn from NumPy's global generator, which the dataset seeds for each sample. The transforms of
the labels are in `functional`. Sizes are (height, width) in pixels; an integer means a square.
"""

from collections.abc import Sequence

import numpy as np

from vislab.datasets.transforms import functional
from vislab.errors import check_choice
from vislab.registry import TRANSFORMS

Size = int | tuple[int, int] | list[int]


def _pair(size: Size, name: str) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int) and n >= 1 for n in pair):
        raise ValueError(f"{name}={size!r} is not a size: expected one integer or (height, width), at least 1")
    return pair


def _range(values: Sequence[float], name: str) -> tuple[float, float]:
    low, high = values
    if not 0 < low <= high:
        raise ValueError(f"{name}={tuple(values)} is not a range: expected 0 < low <= high")
    return float(low), float(high)


def _check_interpolation(name: str) -> str:
    check_choice("interpolation", name, functional.INTERPOLATIONS)
    return name


def _scaled(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


@TRANSFORMS.register_module()
class Resize:
    """Resize to a fixed size, or to the largest size with the same aspect ratio that fits into it.

    Required keys: img.
    Modified keys: img, img_shape, scale_factor, gt_scale_factor, map_scale_factors, num_vanished, all labels.

    Args:
        size: Height and width in pixels, or one number for both.
        keep_ratio: Keep the aspect ratio; one side may then be smaller than `size` (see Pad).
        interpolation: Auto | antialiased | nearest | bilinear | bicubic | area | lanczos, for the image only; see
            functional.resize.
        scale_depth: Divide metric depth by the scale factor.
    """

    def __init__(
        self, *, size: Size, keep_ratio: bool = False, interpolation: str = "auto", scale_depth: bool = False
    ) -> None:
        self.size = _pair(size, "size")
        self.keep_ratio = keep_ratio
        self.interpolation = _check_interpolation(interpolation)
        self.scale_depth = scale_depth

    def __call__(self, results: dict) -> dict:
        size = self.size
        if self.keep_ratio:
            h, w = results["img"].shape[:2]
            fitted = _scaled((h, w), min(size[0] / h, size[1] / w))
            size = (min(fitted[0], size[0]), min(fitted[1], size[1]))
        functional.resize(results, size, self.interpolation, self.scale_depth)
        return results


@TRANSFORMS.register_module()
class ResizeShortestEdge:
    """Resize the short side to `short_edge_length` and the long side to at most `max_size`, keeping the aspect ratio.

    Required keys: img.
    Modified keys: img, img_shape, scale_factor, gt_scale_factor, map_scale_factors, num_vanished, all labels.

    Args:
        short_edge_length: Length of the short side in pixels; if a sequence, one of them is drawn for each sample.
        max_size: Maximum length of the long side. Default: no limit.
        ratio_range: Range of a uniform random factor on both lengths.
        interpolation: As in Resize.
        scale_depth: As in Resize.
        round_down: Round the long side down, as torchvision does, instead of to the nearest integer.
    """

    def __init__(
        self,
        *,
        short_edge_length: int | Sequence[int],
        max_size: int | None = None,
        ratio_range: tuple[float, float] = (1.0, 1.0),
        interpolation: str = "auto",
        scale_depth: bool = False,
        round_down: bool = False,
    ) -> None:
        self.short_edge_length = [short_edge_length] if isinstance(short_edge_length, int) else list(short_edge_length)
        self.max_size = max_size
        self.ratio_range = _range(ratio_range, "ratio_range")
        self.interpolation = _check_interpolation(interpolation)
        self.scale_depth = scale_depth
        self.round_down = round_down

    def __call__(self, results: dict) -> dict:
        shape = results["img"].shape[:2]
        short = (
            self.short_edge_length[np.random.randint(len(self.short_edge_length))]
            if len(self.short_edge_length) > 1
            else self.short_edge_length[0]
        )
        low, high = self.ratio_range
        ratio = low if low == high else np.random.uniform(low, high)
        factor = short * ratio / min(shape)
        if self.max_size is not None:
            factor = min(factor, self.max_size * ratio / max(shape))
        # the small number keeps sides that are integers but for rounding
        size = tuple(max(1, int(side * factor + 1e-6)) for side in shape) if self.round_down else _scaled(shape, factor)
        functional.resize(results, size, self.interpolation, self.scale_depth)
        return results


@TRANSFORMS.register_module()
class LargeScaleJitter:
    """Large-scale jitter: resize to fit into `size` times a random factor, then crop or pad to `size`.

    Instances without pixels are removed, as are instances without masks whose box is smaller than a pixel.

    Required keys: img.
    Modified keys: img, img_shape, scale_factor, gt_scale_factor, map_scale_factors, moved, num_vanished, all labels.

    Args:
        size: Height and width of the result.
        ratio_range: Range of the uniform random factor.
        pad_value: RGB value of the padding at the bottom and right, 0..255.
        min_visibility: Remove instances with a smaller visible fraction of their box, in [0, 1].
        interpolation: As in Resize.
        scale_depth: As in Resize.
    """

    def __init__(
        self,
        *,
        size: Size,
        ratio_range: tuple[float, float] = (0.1, 2.0),
        pad_value: tuple[int, int, int] = (128, 128, 128),
        min_visibility: float = 0.0,
        interpolation: str = "auto",
        scale_depth: bool = False,
    ) -> None:
        self.size = _pair(size, "size")
        self.ratio_range = _range(ratio_range, "ratio_range")
        self.pad_value = tuple(pad_value)
        self.min_visibility = min_visibility
        self.interpolation = _check_interpolation(interpolation)
        self.scale_depth = scale_depth

    def __call__(self, results: dict) -> dict:
        h, w = results["img"].shape[:2]
        factor = np.random.uniform(*self.ratio_range) * min(self.size[0] / h, self.size[1] / w)
        functional.resize(results, _scaled((h, w), factor), self.interpolation, self.scale_depth)
        _drop_small(results)
        _random_window(results, self.size, self.min_visibility)
        functional.pad(results, self.size, self.pad_value)
        return results


def _drop_small(results: dict) -> None:
    """Remove instances without masks whose box is smaller than a pixel, as `crop` does."""
    if "gt_masks" not in results:
        functional.clip_instances(results)


def _draw_window(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a random window (top, left, height, width) of at most `size` within `shape`."""
    h, w = min(size[0], shape[0]), min(size[1], shape[1])
    return np.random.randint(shape[0] - h + 1), np.random.randint(shape[1] - w + 1), h, w


def _random_window(results: dict, size: tuple[int, int], min_visibility: float) -> None:
    window = _draw_window(results["img"].shape[:2], size)
    if window[2:] != results["img"].shape[:2]:
        functional.crop(results, window, min_visibility)


@TRANSFORMS.register_module()
class RandomCrop:
    """Crop a random window; sides of the image that are smaller than the window are kept (see Pad).

    Required keys: img; gt_sem_seg if cat_max_ratio < 1.
    Modified keys: img, img_shape, moved, all labels (gt_areas is removed).

    Args:
        size: Height and width of the window.
        cat_max_ratio: Draw another window, up to `tries` times, while one class covers more than this fraction of the
            labeled pixels in the window; 1 accepts any window.
        tries: Maximum number of windows for `cat_max_ratio`; the last one is used in any case.
        min_visibility: Remove instances with a smaller visible fraction of their box, in [0, 1].
    """

    def __init__(self, *, size: Size, cat_max_ratio: float = 1.0, tries: int = 10, min_visibility: float = 0.0) -> None:
        self.size = _pair(size, "size")
        self.cat_max_ratio = cat_max_ratio
        self.tries = tries
        self.min_visibility = min_visibility

    def __call__(self, results: dict) -> dict:
        shape = results["img"].shape[:2]
        window = _draw_window(shape, self.size)
        if self.cat_max_ratio < 1:
            if "gt_sem_seg" not in results:
                raise ValueError("RandomCrop(cat_max_ratio < 1) needs gt_sem_seg: load it before, or set it to 1")
            for _ in range(self.tries - 1):
                if self._mixed(results["gt_sem_seg"], window):
                    break
                window = _draw_window(shape, self.size)
        if window[2:] != shape:
            functional.crop(results, window, self.min_visibility)
        return results

    def _mixed(self, labels: np.ndarray, window: tuple[int, int, int, int]) -> bool:
        top, left, h, w = window
        counts = np.bincount(labels[top : top + h, left : left + w].ravel(), minlength=256)
        counts[255] = 0
        return counts.max() <= self.cat_max_ratio * counts.sum() and np.count_nonzero(counts) > 1


@TRANSFORMS.register_module()
class CenterCrop:
    """Crop the center, at the same pixels as torchvision; sides that are smaller than the window are kept.

    Required keys: img.
    Modified keys: img, img_shape, moved, all labels (gt_areas is removed).

    Args:
        size: Height and width of the window.
    """

    def __init__(self, *, size: Size) -> None:
        self.size = _pair(size, "size")

    def __call__(self, results: dict) -> dict:
        shape = results["img"].shape[:2]
        h, w = min(self.size[0], shape[0]), min(self.size[1], shape[1])
        functional.crop(results, (round((shape[0] - h) / 2), round((shape[1] - w) / 2), h, w))
        return results


@TRANSFORMS.register_module()
class RandomResizedCrop:
    """Crop a window of random area and aspect ratio, and resize it to `size`, as for training classifiers.

    Required keys: img.
    Modified keys: img, img_shape, scale_factor, gt_scale_factor, map_scale_factors, moved, num_vanished, all labels
    (gt_areas is removed).

    Args:
        size: Height and width of the result.
        scale: Range of the area of the window relative to the image.
        ratio: Range of the aspect ratio (width / height), drawn uniformly on a logarithmic scale.
        interpolation: As in Resize.
        tries: Maximum number of draws before using the largest centered window with a valid aspect ratio.
    """

    def __init__(
        self,
        *,
        size: Size,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "auto",
        tries: int = 10,
    ) -> None:
        self.size = _pair(size, "size")
        self.scale = _range(scale, "scale")
        if self.scale[1] > 1:
            raise ValueError(f"scale={tuple(scale)}: a window cannot be larger than the image")
        self.ratio = _range(ratio, "ratio")
        self.interpolation = _check_interpolation(interpolation)
        self.tries = tries

    def __call__(self, results: dict) -> dict:
        functional.crop(results, self._window(*results["img"].shape[:2]))
        self.resize(results)
        _drop_small(results)
        return results

    def resize(self, results: dict) -> None:
        """Resize the window to `size`."""
        functional.resize(results, self.size, self.interpolation)

    def _window(self, height: int, width: int) -> tuple[int, int, int, int]:
        for _ in range(self.tries):
            area = height * width * np.random.uniform(*self.scale)
            shape = np.exp(np.random.uniform(*np.log(self.ratio)))
            h, w = round((area / shape) ** 0.5), round((area * shape) ** 0.5)
            if 0 < h <= height and 0 < w <= width:
                return np.random.randint(height - h + 1), np.random.randint(width - w + 1), h, w
        shape = min(max(width / height, self.ratio[0]), self.ratio[1])
        h, w = min(height, max(1, round(width / shape))), min(width, max(1, round(height * shape)))
        return (height - h) // 2, (width - w) // 2, h, w


@TRANSFORMS.register_module()
class RandomFlip:
    """Flip with probability `prob`.

    Required keys: img.
    Modified keys: img, flip, flip_direction, moved, all labels; label and segments_info if `swap_labels` is set.

    Args:
        prob: Probability of flipping.
        direction: "horizontal", "vertical" or "diagonal" (both); if a sequence, one of them is drawn.
        swap_labels: Pairs of class indices to swap in all labels of a flipped image, such as left hand and right hand.
            They are not swapped by diagonal flips, which are rotations.
    """

    def __init__(
        self,
        *,
        prob: float = 0.5,
        direction: str | Sequence[str] = "horizontal",
        swap_labels: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.prob = prob
        if any(len(pair) != 2 for pair in swap_labels):
            raise ValueError(f"swap_labels={swap_labels!r} must be pairs of class indices")
        self.swap = {int(a): int(b) for pair in swap_labels for a, b in (pair, pair[::-1])}
        self.directions = [direction] if isinstance(direction, str) else list(direction)
        unknown = [name for name in self.directions if name not in functional.DIRECTIONS]
        if unknown or not self.directions:
            raise ValueError(f"direction={direction!r} is not one or several of {', '.join(functional.DIRECTIONS)}")

    def __call__(self, results: dict) -> dict:
        results.setdefault("flip", False)
        if np.random.rand() < self.prob:
            direction = self.directions[np.random.randint(len(self.directions))]
            functional.flip(results, direction)
            if self.swap and direction != "diagonal":
                self._swap_labels(results)
        return results

    def _swap_labels(self, results: dict) -> None:
        for key in ("gt_sem_seg", "gt_labels"):
            if key in results:
                before = results[key]
                results[key] = before.copy()
                for old, new in self.swap.items():
                    results[key][before == old] = new
        if "label" in results:
            results["label"] = self.swap.get(results["label"], results["label"])
        if "segments_info" in results:
            segments = results["segments_info"]
            results["segments_info"] = [s | {"category": self.swap.get(s["category"], s["category"])} for s in segments]


@TRANSFORMS.register_module()
class Pad:
    """Pad at the bottom and right to a minimum size, to a multiple, or to a square.

    Required keys: img.
    Modified keys: img, img_shape, moved, gt_sem_seg, gt_panoptic, gt_depth, gt_masks.

    Args:
        size: Minimum height and width.
        size_divisor: Pad height and width to multiples of this number.
        pad_to_square: Pad the short side to the length of the long side first.
        pad_value: RGB value, 0..255. Labels are padded with 255 (semantic) or 0 (panoptic, depth, masks).
    """

    def __init__(
        self,
        *,
        size: Size | None = None,
        size_divisor: int = 1,
        pad_to_square: bool = False,
        pad_value: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        self.size = (1, 1) if size is None else _pair(size, "size")
        self.size_divisor = size_divisor
        self.pad_to_square = pad_to_square
        self.pad_value = tuple(pad_value)

    def __call__(self, results: dict) -> dict:
        h, w = results["img"].shape[:2]
        if self.pad_to_square:
            h = w = max(h, w)
        size = [
            -(-max(n, least) // self.size_divisor) * self.size_divisor
            for n, least in zip((h, w), self.size, strict=True)
        ]
        functional.pad(results, tuple(size), self.pad_value)
        return results
