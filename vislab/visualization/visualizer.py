"""Visualizer for all tasks, which draws ground truth and prediction of a DataSample side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer as MMEngineVisualizer

from vislab.registry import VISUALIZERS
from vislab.structures import DataSample
from vislab.structures.rotated_boxes import rboxes_to_hboxes
from vislab.visualization import draw

_FEW = 10  # objects that are labeled one by one also if they are small
_BEST = 5  # classes of an image that are written
_TITLES = {"gt": "ground truth", "pred": "prediction"}


@VISUALIZERS.register_module()
class Visualizer(MMEngineVisualizer):
    """Draws DataSamples and sends images and scalars to the visualization backends.

    Class names and colors are taken from `dataset_meta` (classes, palette), which is set by the runner.

    Args:
        name: Name of the instance.
        vis_backends: Backends, e.g. [dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)].
        save_dir: Folder of the files of the backends.
        score_thr: Minimum score of predicted instances to draw, in [0, 1].
        max_instances: Maximum number of predicted instances to draw, highest scores first.
    """

    def __init__(
        self,
        name: str = "visualizer",  # positional in mmengine
        *,
        vis_backends: Sequence[dict] | None = None,
        save_dir: str | None = None,
        score_thr: float = 0.3,
        max_instances: int = 100,
    ) -> None:
        super().__init__(name=name, vis_backends=vis_backends, save_dir=save_dir)
        self.score_thr = score_thr
        self.max_instances = max_instances

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | Path | None = None,
        step: int = 0,
    ) -> None:
        """Draw a sample and show it, write it to `out_file`, or else send it to the backends.

        Args:
            name: Name of the image.
            image: (H, W, 3) uint8 RGB, in the frame of the sample's labels.
            data_sample: Labels and predictions on the CPU.
            draw_gt: Draw the ground truth.
            draw_pred: Draw the prediction.
            show: Open a window.
            wait_time: Seconds to show the window; 0 waits for a key.
            out_file: Path of the image file to write.
            step: Step of the run, for the backends.
        """
        picture = self.draw_datasample(image, data_sample, draw_gt=draw_gt, draw_pred=draw_pred)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            Path(out_file).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(out_file), picture[..., ::-1])
        elif not show:
            self.add_image(name, picture, step)

    def draw_datasample(
        self,
        image: np.ndarray,
        data_sample: DataSample | None = None,
        *,
        draw_gt: bool = True,
        draw_pred: bool = True,
        title: str = "",
    ) -> np.ndarray:
        """Return an image (h, w, 3) uint8 RGB of a sample: ground truth and prediction side by side, one row per task.

        A single panel, such as the prediction of one task, has the size of the image (depth adds a color bar below).
        """
        sides = [side for side, wanted in (("gt", draw_gt), ("pred", draw_pred)) if wanted]
        sample = DataSample() if data_sample is None else data_sample.numpy()
        rows = [row for row in (self._row(image, sample, task, sides) for task in self._tasks()) if row]
        if "pred" in sides and "pred_image" in sample:
            rows.append(self._reconstruction(image, sample))
        if not rows:
            return draw.tile([[(title, image)]]) if title else image.copy()
        if len(rows) == 1 and len(rows[0]) == 1:
            return draw.tile([[(title, rows[0][0][1])]])
        if all(len(row) == 1 for row in rows):  # ground truth or prediction only: three tasks per row
            panels = [row[0] for row in rows]
            rows = [panels[i : i + 3] for i in range(0, len(panels), 3)]
        if title:
            rows[0] = [(f"{title}: {rows[0][0][0]}", rows[0][0][1]), *rows[0][1:]]
        return draw.tile(rows)

    def _tasks(self) -> dict[str, Any]:
        return {
            "instances": self._draw_instances,
            "label": self._draw_label,
            "sem_seg": self._draw_sem_seg,
            "panoptic": self._draw_panoptic,
            "depth": self._draw_depth,
        }

    def _row(self, image: np.ndarray, sample: DataSample, task: str, sides: list[str]) -> list[tuple[str, np.ndarray]]:
        present = [side for side in sides if f"{side}_{task}" in sample]
        fields = {side: sample.get(f"{side}_{task}") for side in present}
        limits = None
        if task == "depth" and present:
            limits = draw.depth_limits(*(np.asarray(field.data[0]) for field in fields.values()))
        row = []
        for side in present:
            extra = {"limits": limits} if task == "depth" else {}
            panel = self._tasks()[task](image, fields[side], **extra)
            row.append((f"{_TITLES[side]} ({task.replace('_', ' ')})", panel))
        return row

    def _draw_label(self, image: np.ndarray, field: Any) -> np.ndarray:
        lines = [self._name(int(np.asarray(field.label).flatten()[0]))] if "label" in field else [""]
        if "score" in field:
            scores = np.asarray(field.score, np.float32).flatten()
            best = np.argsort(-scores, kind="stable")[:_BEST]
            lines = [f"{self._name(int(k))} {scores[k]:.2f}" for k in best]
        step = draw.text_height(image)
        for i, line in enumerate(lines[: max(1, image.shape[0] // (2 * step))]):  # no more than half the image
            image = draw.draw_text(image, line, (2, 2 + i * step))
        return image

    def _draw_instances(self, image: np.ndarray, field: Any) -> np.ndarray:
        if "scores" in field:
            order = np.argsort(-np.asarray(field.scores), kind="stable")
            order = order[np.asarray(field.scores)[order] >= self.score_thr][: self.max_instances]
            field = field[order]
        n = len(field)
        if not n:
            return image.copy()
        labels = np.asarray(field.labels) if "labels" in field else np.zeros(n, int)
        colors = self._palette(int(labels.max(initial=0)) + 1)[labels]
        texts = [self._name(int(k)) for k in labels]
        if "scores" in field:
            texts = [f"{text} {score:.2f}" for text, score in zip(texts, field.scores, strict=True)]
        ignored = np.asarray(field.ignore).tolist() if "ignore" in field else [False] * n
        if "masks" in field:
            image = draw.draw_masks(image, draw.mask_arrays(field.masks), colors)
        boxes = rboxes_to_hboxes(field.rbboxes) if "rbboxes" in field else field.get("bboxes")
        if boxes is None:
            return image
        small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) < 2 * draw.text_height(image)
        if n > _FEW and small.mean() > 0.5:  # texts would hide the objects
            texts = [""] * n
        if "rbboxes" in field:
            image = draw.draw_rboxes(image, field.rbboxes, colors, texts, ignored)
        else:
            image = draw.draw_boxes(image, field.bboxes, colors, texts, ignored)
        if not any(texts):
            shown, first = np.unique(labels, return_index=True)
            image = draw.draw_legend(image, [self._name(int(k)) for k in shown], colors[first])
        return image

    def _draw_sem_seg(self, image: np.ndarray, field: Any) -> np.ndarray:
        labels = np.asarray(field.data[0]).astype(np.int64)
        known = labels[labels != 255]
        return draw.draw_sem_seg(image, labels, self._palette(int(known.max(initial=0)) + 1))

    def _draw_panoptic(self, image: np.ndarray, field: Any) -> np.ndarray:
        segments = list(field.get("segments_info", ()))
        most = max((s["category"] for s in segments if s["category"] != 255), default=0)
        names = self._meta().get("classes", ())
        return draw.draw_panoptic(image, np.asarray(field.data[0]), segments, self._palette(most + 1), names)

    def _draw_depth(self, image: np.ndarray, field: Any, limits: tuple[float, float] | None = None) -> np.ndarray:
        depth = draw.to_size(np.asarray(field.data[0], np.float32), image.shape[:2])
        return draw.draw_depth(depth, limits)

    @staticmethod
    def _reconstruction(image: np.ndarray, sample: DataSample) -> list[tuple[str, np.ndarray]]:
        pixels = np.asarray(sample.pred_image, np.float32).transpose(1, 2, 0)  # (H, W, 3)
        made = (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
        made = draw.to_size(made, image.shape[:2])
        return [
            ("original", image),
            ("reconstruction", made),
            ("error (brightest: 32 of 255)", draw.draw_error(image, made)),
        ]

    def _meta(self) -> Mapping[str, Any]:
        return self._dataset_meta or {}

    def _name(self, label: int) -> str:
        classes = self._meta().get("classes", ())
        return str(classes[label]) if 0 <= label < len(classes) else str(label)

    def _palette(self, count: int) -> np.ndarray:
        """Return at least `count` colors: the palette of the dataset if it is large enough."""
        own = self._meta().get("palette")
        if own is not None and len(own) >= count:
            return np.asarray(own, np.uint8)
        return draw.make_palette(max(count, len(self._meta().get("classes", ()))))
