"""A class-agnostic proposer without weights: contours of many thresholds, ranked by contrast, shape and stability.

Objects in aerial images are mostly compact regions that differ from their surroundings. The paper uses SAM, which finds
more (see docs/mutdet.md for the recall of both kinds of boxes that was measured).
"""

from collections.abc import Iterator

import cv2
import numpy as np

from vislab.structures import rotated_boxes as rb
from vislab.systems.mutdet.proposals import Proposals, choose

_SIGMAS = (6.0, 16.0, 40.0)  # pixels, of the surroundings of a pixel
_DEVIATIONS = (0.5, 1.0, 1.75)  # from the surroundings, in standard deviations
_COLORED = 8  # levels that a channel of colors must reach
_CANDIDATES = 3000  # ranked before duplicates are removed


class ContourProposer:
    """Proposes the minimum-area rectangles around contours.

    Contours are those of thresholds on lightness and color (LAB), and on the same relative to their surroundings at
    three scales. The score of a box is the color difference between inside and outside, times the squared part of the
    rectangle that the contour fills, times the square root of the number of contours with about this box.

    Args:
        limit: Maximum number of boxes per image.
        side: Images are reduced so that their longer side has at most this many pixels.
        levels: Number of thresholds per channel, evenly spaced in value; half as many are spaced by quantiles.
        min_area: Minimum area of a contour in pixels of the reduced image.
        max_area: Maximum area as a part of the image.
        min_fill: Minimum part of the rectangle that the contour fills.
        threshold: IoU above which the lower of two boxes is a duplicate.
    """

    def __init__(
        self,
        *,
        limit: int = 100,
        side: int = 640,
        levels: int = 24,
        min_area: float = 20,
        max_area: float = 0.25,
        min_fill: float = 0.5,
        threshold: float = 0.7,
    ) -> None:
        self.limit, self.side, self.levels = limit, side, levels
        self.min_area, self.max_area, self.min_fill = min_area, max_area, min_fill
        self.threshold = threshold

    def __call__(self, image: np.ndarray, path: str = "") -> Proposals:
        scale = min(1.0, self.side / max(image.shape[:2]))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 0.7), cv2.COLOR_RGB2LAB)
        rects, areas = self._contours(lab)
        if not len(rects):
            return Proposals(np.zeros((0, 5), np.float32), np.zeros(0, np.float32))
        rboxes = rb.from_cv2(rects)
        fill = np.minimum(areas / (rboxes[:, 2] * rboxes[:, 3]), 1)
        scores = _contrast(lab.astype(np.float32), rboxes) * fill**2 * np.sqrt(_repetitions(rboxes))
        order = np.argsort(np.where(fill >= self.min_fill, -scores, np.inf), kind="stable")
        order = order[: min(_CANDIDATES, np.count_nonzero(fill >= self.min_fill))]
        found = choose(rboxes[order], scores[order], threshold=self.threshold, limit=self.limit)
        found.rboxes[:, :4] /= scale
        return found

    def _contours(self, lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rectangles (N, 5) as in OpenCV and areas (N,) of all contours within the limits."""
        rects, areas = [], []
        for mask in _masks(lab, self.levels):
            for contour in cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]:
                width, height = cv2.boundingRect(contour)[2:]
                if width < 3 or height < 3 or width * height < self.min_area:
                    continue
                # contours run through the centers of pixels, half a pixel inside
                area = cv2.contourArea(contour) + cv2.arcLength(contour, True) / 2 + 1
                if self.min_area <= area <= self.max_area * mask.size:
                    (x, y), (w, h), degrees = cv2.minAreaRect(contour)
                    rects.append((x + 0.5, y + 0.5, w + 1, h + 1, degrees))
                    areas.append(area)
        return np.array(rects, np.float64).reshape(-1, 5), np.array(areas)


def _masks(lab: np.ndarray, levels: int) -> Iterator[np.ndarray]:
    """Yield binary images (H, W) of all thresholds; holes in them have contours as well."""
    for number in range(3):
        channel = np.ascontiguousarray(lab[..., number])
        if number and np.abs(channel.astype(np.int16) - 128).max() < _COLORED:
            continue  # a gray image
        low, high = np.quantile(channel, (0.002, 0.998))
        middle = np.quantile(channel, np.linspace(0.05, 0.95, levels // 2))
        for level in np.unique(np.concatenate([np.linspace(low, high, levels), middle]).round()):
            yield (channel > level).astype(np.uint8)
        values = channel.astype(np.float32)
        for sigma in _SIGMAS:
            mean = cv2.GaussianBlur(values, (0, 0), sigma)
            variance = cv2.GaussianBlur(values * values, (0, 0), sigma) - mean * mean
            deviation = (values - mean) / np.sqrt(np.maximum(variance, 9.0))
            for limit in _DEVIATIONS:
                yield (deviation > limit).astype(np.uint8)
                yield (deviation < -limit).astype(np.uint8)


def _contrast(lab: np.ndarray, rboxes: np.ndarray) -> np.ndarray:
    """Return the distance (N,) between the mean colors inside boxes and on a larger rectangle around them."""
    steps = (np.arange(6) + 0.5) / 6 - 0.5
    inside = 0.9 * np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)  # (36, 2), in lengths of the sides
    along = np.linspace(-0.5, 0.5, 8, endpoint=False) + 1 / 16
    edge = np.full(8, 0.5)
    around = np.concatenate(
        [np.stack(pair, axis=1) for pair in ((along, -edge), (along, edge), (-edge, along), (edge, along))]
    )
    wide = rboxes.copy()
    wide[:, 2:4] += np.maximum(4.0, 0.3 * rboxes[:, 3:4])
    return np.linalg.norm(_mean_at(lab, rboxes, inside) - _mean_at(lab, wide, around), axis=1)


def _mean_at(lab: np.ndarray, rboxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the mean colors (N, 3) at `points` (P, 2) of the boxes, in lengths of the sides from the center."""
    cx, cy, w, h, theta = rboxes.T[:, :, None]  # each (N, 1)
    u, v, cos, sin = points[:, 0] * w, points[:, 1] * h, np.cos(theta), np.sin(theta)  # (N, P)
    x = np.clip(cx + u * cos - v * sin, 0, lab.shape[1] - 1).astype(int)
    y = np.clip(cy + u * sin + v * cos, 0, lab.shape[0] - 1).astype(int)
    return lab[y, x].mean(axis=1)


def _repetitions(rboxes: np.ndarray) -> np.ndarray:
    """Return how many boxes (N,) have about the same center, within 3 pixels, and sides, within a quarter."""
    key = np.concatenate([rboxes[:, :2] / 3, 4 * np.log(rboxes[:, 2:4])], axis=1).round().astype(int)
    _, place, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    return count[place.ravel()]
