"""Recall of the boxes that MutDet's first stage proposes without labels, on the labeled sets in $VISLAB_DATA.

    python benchmarks/mutdet_proposals.py --picture docs/images/mutdet_proposals.jpg

Prints the part of the labeled objects that have an IoU of at least 0.5 with one of the first 30, 100, 300 and 1000
boxes of their image. `--picture` draws the labels and the first 100 boxes of one image of dota8 and of HIT-UAV.
"""

import os
import time

import _common

SETS = (("dota8", "train_set", 1), ("dota8", "val_set", 1), ("hit_uav", "val_set", 4), ("dior_photos", "val_set", 2))
SHOWN = (("dota8", 1), ("hit_uav", 120))  # images of the picture
LIMITS = (30, 100, 300, 1000)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--picture", metavar="FILE", help="draw proposals on real images")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA")
    import cv2

    from vislab.io.images import read_rgb
    from vislab.systems.mutdet.contour_proposer import ContourProposer
    from vislab.systems.mutdet.recall import recall

    cv2.setNumThreads(args.threads)
    proposer, rows = ContourProposer(limit=LIMITS[-1]), []
    for name, split, step in SETS:
        truth = dict(list(_labels(name, split).items())[:: 10 * step if args.quick else step])
        began = time.process_time()
        found = {path: proposer(read_rgb(path)).rboxes for path in truth}
        seconds = (time.process_time() - began) / len(truth)
        values, total = recall(found, truth, LIMITS)
        counts = {f"{limit} boxes": f"{value:.2f}" for limit, value in values.items()}
        images = f"{len(truth)} of {split.removesuffix('_set')}"
        rows.append({"set": name, "images": images, "objects": total, **counts, "CPU s": f"{seconds:.2f}"})
    table = _common.print_table(rows)
    if args.picture:
        cv2.imwrite(args.picture, _picture()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not args.no_record:
        _common.record(table, quick=args.quick)
    _common.result(**{f"{row['set']}_{row['images'].split()[-1]}_100": row["100 boxes"] for row in rows})


def _labels(name: str, split: str) -> dict:
    from mmengine.config import Config

    from vislab.registry import DATASETS
    from vislab.systems.mutdet.recall import labeled_boxes

    config = os.path.join(os.path.dirname(__file__), f"../configs/_base_/datasets/{name}.py")
    return labeled_boxes(DATASETS.build({**Config.fromfile(config)[split], "pipeline": []}))


def _picture():
    import numpy as np

    from vislab.datasets.transforms.functional import resize_image
    from vislab.io.images import read_rgb
    from vislab.systems.mutdet.contour_proposer import ContourProposer
    from vislab.visualization import draw

    rows = []
    for name, number in SHOWN:
        path, truth = list(_labels(name, "train_set").items())[number]
        image = read_rgb(path)
        scale = 560 / image.shape[1]
        small = resize_image(image, (round(image.shape[0] * scale), 560))
        row = []
        for title, boxes in (("labels", truth), ("first 100 boxes", ContourProposer()(image).rboxes)):
            scaled = np.array(boxes) * [scale, scale, scale, scale, 1]
            color = np.tile(np.array([[255, 210, 0]], np.uint8), (len(scaled), 1))
            row.append((f"{name}: {title}", draw.draw_rboxes(small, scaled, color)))
        rows.append(row)
    return draw.tile(rows)


if __name__ == "__main__":
    main()
