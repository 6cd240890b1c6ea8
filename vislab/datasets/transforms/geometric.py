"""Geometric transforms: resize, large-scale jitter, crops, flips, padding, for images with any kind of label.

Each chooses its parameters from NumPy's global generator, which the dataset seeds for every sample, and leaves the
moving to `functional`. Sizes are (height, width) in pixels; one integer stands for a square.
"""

from collections.abc import Sequence

import numpy as np

from vislab.datasets.transforms import functional
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
    if name not in functional.INTERPOLATIONS:
        raise ValueError(f"interpolation={name!r} is not one of {', '.join(functional.INTERPOLATIONS)}")
    return name


def _scaled(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


@TRANSFORMS.register_module()
class Resize:
    """Resize to a fixed size, or to the largest size of the same shape that fits into it.

    Args:
        size: Height and width in pixels, or one number for both.
        keep_ratio: Keep the image's shape; one side may then be shorter than asked (see Pad).
        interpolation: auto | nearest | bilinear | bicubic | area | lanczos, for the image only.
        scale_depth: Divide metric depth by the zoom.
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
    """Resize the short side to `short_edge_length` pixels and the long side to at most `max_size`, keeping the ratio.

    Args:
        short_edge_length: Length of the short side in pixels; of several, one is drawn for each sample.
        max_size: Upper limit of the long side; None for no limit.
        ratio_range: Both limits are multiplied by a factor drawn uniformly from this range.
        interpolation: As in Resize.
        scale_depth: As in Resize.
    """

    def __init__(
        self,
        *,
        short_edge_length: int | Sequence[int],
        max_size: int | None = None,
        ratio_range: tuple[float, float] = (1.0, 1.0),
        interpolation: str = "auto",
        scale_depth: bool = False,
    ) -> None:
        self.short_edge_length = [short_edge_length] if isinstance(short_edge_length, int) else list(short_edge_length)
        self.max_size = max_size
        self.ratio_range = _range(ratio_range, "ratio_range")
        self.interpolation = _check_interpolation(interpolation)
        self.scale_depth = scale_depth

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
        functional.resize(results, _scaled(shape, factor), self.interpolation, self.scale_depth)
        return results


@TRANSFORMS.register_module()
class LargeScaleJitter:
    """Large-scale jitter: fit into `size` times a random factor, then crop or pad to exactly `size`.

    Instances without a pixel left go, and those without masks whose box is smaller than one.

    Args:
        size: Height and width of the result.
        ratio_range: The factor is drawn uniformly from it.
        pad_value: RGB of the padding at the bottom and right, 0..255.
        min_visibility: Instances with a smaller share of their box left are dropped, 0..1.
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
    """Instances without masks go when their box is smaller than a pixel, as they do in a crop."""
    if "gt_masks" not in results:
        functional.clip_instances(results)


def _draw_window(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    h, w = min(size[0], shape[0]), min(size[1], shape[1])
    return np.random.randint(shape[0] - h + 1), np.random.randint(shape[1] - w + 1), h, w


def _random_window(results: dict, size: tuple[int, int], min_visibility: float) -> None:
    window = _draw_window(results["img"].shape[:2], size)
    if window[2:] != results["img"].shape[:2]:
        functional.crop(results, window, min_visibility)


@TRANSFORMS.register_module()
class RandomCrop:
    """Cut out a random window; an image smaller than it is left as it is on that side (see Pad).

    Args:
        size: Height and width of the window.
        cat_max_ratio: Draw again, up to `tries` times, while one class fills more than this share of the labeled
            pixels of the window (needs gt_sem_seg); 1 = take the first.
        tries: How many windows are tried for `cat_max_ratio`; the last one is taken as it is.
        min_visibility: Instances with a smaller share of their box left are dropped, 0..1.
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
                raise ValueError("RandomCrop(cat_max_ratio < 1) needs gt_sem_seg: load it before, or leave it at 1")
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
    """Cut out the middle; an image smaller than the window is left as it is on that side.

    Args:
        size: Height and width of the window.
    """

    def __init__(self, *, size: Size) -> None:
        self.size = _pair(size, "size")

    def __call__(self, results: dict) -> dict:
        shape = results["img"].shape[:2]
        h, w = min(self.size[0], shape[0]), min(self.size[1], shape[1])
        functional.crop(results, ((shape[0] - h) // 2, (shape[1] - w) // 2, h, w))
        return results


@TRANSFORMS.register_module()
class RandomResizedCrop:
    """Cut out a window of random area and shape, and resize it to `size`: the usual augmentation of classification.

    Args:
        size: Height and width of the result.
        scale: Range of the window's share of the image's area.
        ratio: Range of width / height, drawn evenly in its logarithm.
        interpolation: As in Resize.
        tries: Draws before falling back to the largest centered window of a legal shape.
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
        self.ratio = _range(ratio, "ratio")
        self.interpolation = _check_interpolation(interpolation)
        self.tries = tries

    def __call__(self, results: dict) -> dict:
        functional.crop(results, self._window(*results["img"].shape[:2]))
        functional.resize(results, self.size, self.interpolation)
        _drop_small(results)
        return results

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
    """Mirror with probability `prob`.

    Args:
        prob: 0..1.
        direction: horizontal, vertical or diagonal (both at once); of several, one is drawn.
        swap_labels: Pairs of class indices that change places in a mirror image, such as left hand and right hand, in
            every kind of label. A diagonal flip is a turn and swaps nothing.
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
            raise ValueError(f"swap_labels={swap_labels!r} is not made of pairs of class indices")
        self.swap = {int(a): int(b) for pair in swap_labels for a, b in (pair, pair[::-1])}
        self.directions = [direction] if isinstance(direction, str) else list(direction)
        unknown = [name for name in self.directions if name not in functional.DIRECTIONS]
        if unknown or not self.directions:
            raise ValueError(f"direction={direction!r} is not made of {', '.join(functional.DIRECTIONS)}")

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
    """Pad at the bottom and right, to a size, to multiples of a number, or to a square.

    Args:
        size: Least height and width.
        size_divisor: Height and width become multiples of it.
        pad_to_square: The short side is brought to the long side's length first.
        pad_value: RGB, 0..255. Labels get 255 (semantic), 0 (panoptic, depth, masks).
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
