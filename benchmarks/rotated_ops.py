"""Time of rotated IoU and NMS against torchvision, OpenCV and shapely.

    python benchmarks/rotated_ops.py [--quick]

IoU is the matrix of 1000 x 1000 boxes, sparse as in an aerial image (1 % of the hulls overlap) and crowded (nearly all
do). NMS is of 5000 boxes around 500 objects. OpenCV and shapely compute only the pairs with overlapping hulls, which is
their fastest form. "error" is the largest difference to shapely (IoU), or the number of boxes kept by only one (NMS);
"near error" that for boxes and copies of them moved by 1e-9, where shapely is right to 1e-12.
"""

import math

import _common
import cv2
import numpy as np
import shapely
import torch
from torch import Tensor
from torchvision.ops import box_iou

from vislab.ops.rotated_iou import overlapping_hulls, rotated_iou_matrix
from vislab.ops.rotated_nms import rotated_nms
from vislab.structures.rotated_boxes import rboxes_to_corners, to_cv2

THRESHOLD = 0.3


def boxes(count: int, side: float, seed: int) -> Tensor:
    """Return (count, 5) float64 boxes of 10 to 60 pixels in a square image of the given side."""
    part = torch.rand(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([part[:, :2] * side, 10 + 50 * part[:, 2:4], (part[:, 4:] - 0.5) * math.pi], 1)


def detections(objects: int, each: int) -> tuple[Tensor, Tensor]:
    """Return boxes of `each` detections around each object, and scores."""
    generator = torch.Generator().manual_seed(0)
    found = boxes(objects, 1000, 0).repeat_interleave(each, 0)
    noise = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    found = found + noise * torch.tensor([2, 2, 1, 1, 0.03])
    return found, torch.rand(len(found), generator=generator)


# ---------------------------------------------------------------------------------------------------- IoU of the peers


def torchvision_iou(first: Tensor, second: Tensor) -> Tensor:
    degrees = [torch.cat([x[:, :4], -x[:, 4:] * (180 / math.pi)], 1) for x in (first, second)]
    return box_iou(*degrees, fmt="cxcywhr")


def opencv_iou(first: Tensor, second: Tensor) -> Tensor:
    rects = [[((r[0], r[1]), (r[2], r[3]), r[4]) for r in to_cv2(x).tolist()] for x in (first, second)]
    areas = [(x[:, 2] * x[:, 3]).tolist() for x in (first, second)]
    out = torch.zeros(len(first), len(second), dtype=torch.float64)
    for i, j in zip(*(x.tolist() for x in overlapping_hulls(first, second)), strict=True):
        state, points = cv2.rotatedRectangleIntersection(rects[0][i], rects[1][j])
        if state != cv2.INTERSECT_NONE:
            inter = cv2.contourArea(points)
            out[i, j] = inter / (areas[0][i] + areas[1][j] - inter)
    return out


def shapely_iou(first: Tensor, second: Tensor) -> Tensor:
    shapes1, shapes2 = (shapely.polygons(rboxes_to_corners(x).numpy()) for x in (first, second))
    i, j = shapely.STRtree(shapes2).query(shapes1)
    inter = shapely.area(shapely.intersection(shapes1[i], shapes2[j]))
    out = np.zeros((len(first), len(second)))
    out[i, j] = inter / (shapely.area(shapes1)[i] + shapely.area(shapes2)[j] - inter)
    return torch.from_numpy(out)


# ---------------------------------------------------------------------------------------------------- NMS of the peers


def greedy(matrix: Tensor, scores: Tensor) -> list[int]:
    """Return the boxes kept by NMS on an IoU matrix."""
    high, kept = (matrix > THRESHOLD).numpy(), []
    suppressed = np.zeros(len(scores), bool)
    for i in scores.argsort(descending=True, stable=True).tolist():
        if not suppressed[i]:
            kept.append(i)
            suppressed |= high[i]
    return kept


def opencv_nms(found: Tensor, scores: Tensor) -> list[int]:
    rects = [((r[0], r[1]), (r[2], r[3]), r[4]) for r in to_cv2(found).tolist()]
    return list(cv2.dnn.NMSBoxesRotated(rects, scores.tolist(), 0.0, THRESHOLD))


def compare(name: str, calls: dict, errors: dict, pairs: int) -> tuple[list[dict], float]:
    """Time the calls; return table rows, and vislab's time relative to the fastest peer without errors."""
    times = _common.interleave(calls, pairs=pairs, warmup=1)
    rows = [_common.timing_row(f"{name}: {kind}", times[kind], times["vislab"]) | errors[kind] for kind in calls]
    exact = [kind for kind in calls if kind != "vislab" and all(float(x) < 1e-6 for x in errors[kind].values())]
    return rows, max(_common.ratio(times["vislab"]["wall"], times[kind]["wall"]) for kind in exact)


def main() -> None:
    args = _common.parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    size, pairs = (300, 2) if args.quick else (1000, 5)
    kinds = {"vislab": rotated_iou_matrix, "torchvision": torchvision_iou, "OpenCV": opencv_iou, "shapely": shapely_iou}
    rows, ratios = [], {}
    for name, side in (("IoU sparse", 1000), ("IoU crowded", 60)):
        first, second = boxes(size, side, 1), boxes(size, side, 2)
        near = first[:200] + 1e-9 * torch.randn(200, 5, generator=torch.Generator().manual_seed(3)).double()
        expected, expected_near = shapely_iou(first, second), shapely_iou(first[:200], near)
        errors = {
            kind: {
                "error": f"{(call(first, second) - expected).abs().max():.0e}",
                "near error": f"{(call(first[:200], near) - expected_near).abs().max():.0e}",
            }
            for kind, call in kinds.items()
        }
        calls = {kind: lambda call=call, a=first, b=second: call(a, b) for kind, call in kinds.items()}
        more, ratios[name.replace(" ", "_")] = compare(name, calls, errors, pairs)
        rows += more
    found, scores = detections(100 if args.quick else 500, 10)
    calls = {
        "vislab": lambda: rotated_nms(found, scores, threshold=THRESHOLD).tolist(),
        "torchvision": lambda: greedy(torchvision_iou(found, found), scores),
        "OpenCV": lambda: opencv_nms(found, scores),
        "shapely": lambda: greedy(shapely_iou(found, found), scores),
    }
    expected = set(calls["shapely"]())
    errors = {kind: {"error": len(expected ^ set(call()))} for kind, call in calls.items()}
    more, ratios["NMS"] = compare("NMS", calls, errors, pairs)
    table = _common.print_table(rows + more)
    if not args.no_record:
        _common.record(
            f"time of the others / ours; error: largest difference to shapely, float64\n\n{table}", args.quick
        )
    _common.result(**{f"time_vs_fastest_exact_{name}": value for name, value in ratios.items()})


if __name__ == "__main__":
    main()
