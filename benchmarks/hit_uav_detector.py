"""AP of a small rotated detector on HIT-UAV, beside a control that is not trained.

    python benchmarks/hit_uav_detector.py --iterations 1500          # an hour on one core; can be interrupted
    python benchmarks/hit_uav_detector.py --picture docs/images/hit_uav_detector.jpg

The detector is configs/mutdet/rotated_detr_lite0_hit_uav_cpu.py, trained on 300 images and tested on 100 others after
the last iteration. The control boxes bright and dark regions (MutDet's contour proposer) and gives each the class of
most of the 25 training boxes that are nearest in the logarithms of width and height; scores are the share of these
neighbors times the score of the region.
"""

import os
from pathlib import Path

import _common
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "configs/mutdet/rotated_detr_lite0_hit_uav_cpu.py"
NEIGHBORS, PROPOSALS = 25, 100
SHOWN = (25, 50, 75)  # validation images of the picture
SHOWN_SCORE = 0.25


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work-dir", type=Path, default=REPOSITORY / "work_dirs/hit_uav_detector")
    parser.add_argument("--picture", metavar="FILE", help="draw labels, detections and the control on three images")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with hit_uav and weights")
    import cv2
    import torch

    from vislab.apis import test, train
    from vislab.engine.config.load import load_config
    from vislab.engine.resume.latest import find_latest_checkpoint

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    iterations = 4 if args.quick else args.iterations
    options = {"train_cfg.max_iters": iterations, "train_cfg.val_interval": max(1, iterations // 3)}
    options |= {"default_hooks.checkpoint.interval": max(1, iterations // 3)}
    options |= {"val_dataloader.dataset.indices": 8} if args.quick else {}
    work_dir = args.work_dir / ("quick" if args.quick else f"seed_{args.seed}")
    if not (work_dir / f"iter_{iterations}.pth").exists():
        train(CONFIG, work_dir=work_dir, resume=True, seed=args.seed, cfg_options=options)
    config = load_config(CONFIG, options)
    checkpoint = find_latest_checkpoint(str(work_dir))
    found = test(config, checkpoint, work_dir=work_dir / "test")
    control = Control(config)
    controlled = control.metrics()
    rows = [
        {"detector": f"trained {iterations} iterations, seed {args.seed}", **columns(found)},
        {"detector": "control: contours, class by size", **columns(controlled)},
    ]
    table = _common.print_table(rows)
    if args.picture:
        cv2.imwrite(args.picture, picture(config, checkpoint, control)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])
    if not args.no_record:
        _common.record(table, args.quick)
    _common.result(detector_ap50=found["mAP_50_11point"], control_ap50=controlled["mAP_50_11point"])


def columns(metrics: dict[str, float]) -> dict[str, str]:
    return {
        f"AP{name}": f"{metrics[f'mAP{key}_11point']:.1f}" for name, key in (("50", "_50"), ("75", "_75"), ("", ""))
    }


class Control:
    """Boxes of contours, with classes by size.

    Args:
        config: Config of the detector, whose datasets give the training boxes and the validation images.
    """

    def __init__(self, config) -> None:
        from sklearn.neighbors import KNeighborsClassifier

        from vislab.registry import DATASETS
        from vislab.systems.mutdet.contour_proposer import ContourProposer

        train, val = (
            DATASETS.build({**config[f"{part}_dataloader"].dataset.to_dict(), "pipeline": []})
            for part in ("train", "val")
        )
        objects = [one for i in range(len(train)) for one in train.get_data_info(i)["instances"] if not one["ignore"]]
        boxes, labels = np.array([one["rbbox"] for one in objects]), [one["label"] for one in objects]
        self.neighbors = KNeighborsClassifier(NEIGHBORS).fit(np.log(boxes[:, 2:4]), labels)
        self.proposer = ContourProposer(limit=PROPOSALS)
        self.val = val

    def predict(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return labels, scores and rbboxes of (H, W, 3) uint8."""
        found = self.proposer(image)
        shares = self.neighbors.predict_proba(np.log(np.asarray(found.rboxes)[:, 2:4].clip(1e-3)))
        scores = shares.max(1) * np.asarray(found.scores)
        return {"labels": self.neighbors.classes_[shares.argmax(1)], "scores": scores, "rbboxes": found.rboxes}

    def metrics(self) -> dict[str, float]:
        """Return the AP on the validation images."""
        from vislab.evaluation.rotated_map import RotatedMAP
        from vislab.io.images import read_rgb

        metric = RotatedMAP(forms=("11point",))
        metric.dataset_meta = self.val.metainfo
        for record in map(self.val.get_data_info, range(len(self.val))):
            image = read_rgb(record["img_path"])
            objects = record["instances"]
            truth = {
                "labels": np.array([one["label"] for one in objects], int),
                "rbboxes": np.array([one["rbbox"] for one in objects], float).reshape(-1, 5),
                "ignore": np.array([one["ignore"] for one in objects], bool),
            }
            sample = {"img_path": record["img_path"], "ori_shape": image.shape[:2], "img_shape": image.shape[:2]}
            metric.process(None, [sample | {"gt_instances": truth, "pred_instances": self.predict(image)}])
        return metric.evaluate(len(self.val))


def picture(config, checkpoint: str, control: Control) -> np.ndarray:
    """Return labels, detections and control of some images, (H, W, 3) uint8."""
    from vislab.apis import Predictor
    from vislab.io.images import read_rgb
    from vislab.visualization import draw

    rows, predictor, names = [], Predictor(config, checkpoint), control.val.metainfo["classes"]
    colors = draw.make_palette(len(names))
    for number in SHOWN:
        record = control.val.get_data_info(number)
        image = read_rgb(record["img_path"])
        objects = [one for one in record["instances"] if not one["ignore"]]
        (found,), guess = predictor(image), control.predict(image)
        parts = {
            "labels": ([one["label"] for one in objects], [one["rbbox"] for one in objects], np.ones(len(objects))),
            "detections": (found.labels, found.rotated_boxes, found.scores),
            "control": (guess["labels"], guess["rbboxes"], guess["scores"] / guess["scores"].max()),
        }
        panels = []
        for title, (labels, boxes, scores) in parts.items():
            shown = scores >= SHOWN_SCORE
            panels.append((title, np.asarray(labels, int)[shown], np.asarray(boxes)[shown]))
        rows.append(
            [
                (title, draw.draw_legend(draw.draw_rboxes(image, boxes, colors[labels]), names, colors))
                for title, labels, boxes in panels
            ]
        )
    return draw.tile(rows)


if __name__ == "__main__":
    main()
