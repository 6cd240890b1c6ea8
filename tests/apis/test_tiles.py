"""Test predictions of large images in tiles: the same detections as those of the whole image, in its frame."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, PixelData

from tests.helpers import CONFIGS, REPOSITORY
from vislab.apis.inference import predict
from vislab.apis.predictor import Predictor
from vislab.apis.tiles import Tiles, drop_parts, merge_instances, predict_tiles
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.errors import ConfigError, DataError
from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample
from vislab.structures import rotated_boxes as rb
from vislab.structures.tiles import Tile, tile_windows


class BrightBlobs(BaseModel):
    """Finds each bright blob: its rotated box, its class by the red value, and a score by its visible pixels."""

    def forward(self, inputs, data_samples, mode="predict"):
        for image, sample in zip(inputs, data_samples, strict=True):
            red = (image[0] * 255).round().to(torch.uint8).numpy()
            count, marks, stats, _ = cv2.connectedComponentsWithStats((red > 100).astype(np.uint8))
            boxes = [rb.mask_to_rbox(marks == i) for i in range(1, count)]
            classes = [int(red[marks == i].max() > 220) for i in range(1, count)]
            sample.pred_instances = InstanceData(
                labels=torch.tensor(classes, dtype=torch.int64),
                scores=torch.tensor(stats[1:, 4] / 1000, dtype=torch.float32),
                rbboxes=torch.tensor(np.array(boxes, np.float32).reshape(-1, 5)),
            )
        return data_samples


def config() -> Config:
    dataset = {"type": ImageFolder, "pipeline": [{"type": LoadImage}, {"type": PackInputs}], "data_root": "."}
    model = {"type": BrightBlobs, "data_preprocessor": {"type": ImagePreprocessor}}
    return Config({"model": model, "test_dataloader": {"dataset": dataset}})


def picture() -> np.ndarray:
    """300x420 with 12 slanted blobs of two classes, some of which cross the borders of tiles of 128."""
    img = np.zeros((300, 420, 3), np.uint8)
    for k in range(12):
        center = 40 + 100 * (k % 4), 45 + 100 * (k // 4)
        points = cv2.boxPoints((center, (40, 14), 15.0 * k)).round().astype(np.int32)
        cv2.fillConvexPoly(img, points, (255 if k % 2 else 160, 0, 0))
    return img


def in_order(found: InstanceData) -> np.ndarray:
    rows = np.column_stack([found.labels, found.scores, found.rbboxes])
    return rows[np.lexsort((rows[:, 2].round(), rows[:, 3].round()))]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_same_objects_as_in_the_whole_image(batch_size):
    whole = Predictor(config(), device="cpu")(picture())[0].sample
    tiled = Predictor(config(), device="cpu", tiles=Tiles(128, 64, batch_size))(picture(), "a")[0].sample
    assert tiled.img_path == "a" and tiled.ori_shape == (300, 420) and len(whole.pred_instances) == 12
    a, b = in_order(whole.pred_instances), in_order(tiled.pred_instances)
    np.testing.assert_allclose(a[:, :6], b[:, :6], atol=1e-3)


def test_parts_of_objects_stay_if_wanted_or_if_nothing_covers_them():
    found = [
        InstanceData(labels=torch.tensor([0, 0]), scores=torch.tensor([0.9, 0.8]),
                     rbboxes=torch.tensor([[90.0, 20, 20, 8, 0], [94, 70, 12, 8, 0]])),
        InstanceData(labels=torch.tensor([0, 1]), scores=torch.tensor([0.5, 0.9]),
                     rbboxes=torch.tensor([[100.0, 20, 40, 8, 0], [100, 70, 40, 8, 0]])),
    ]  # fmt: skip
    windows, shape = [Tile(0, 0, 100, 100), Tile(60, 0, 100, 100)], (100, 160)
    assert [len(part) for part in drop_parts(found, windows, shape)] == [1, 2]  # the other one has another class
    found[1].scores[0] = 0.4  # hardly to be believed
    assert [len(part) for part in drop_parts(found, windows, shape)] == [2, 2]
    assert [len(part) for part in drop_parts([f[:0] for f in found], windows, shape)] == [0, 0]
    with_parts = Predictor(config(), device="cpu", tiles=Tiles(128, 64, drop_parts=False))(picture(), "a")[0].sample
    assert len(with_parts.pred_instances) > 12


def test_small_images_are_predicted_as_a_whole():
    calls = []

    def predict_batch(images, names):
        calls.append([image.shape for image in images])
        return [DataSample(metainfo={"img_path": name}) for name in names]

    assert predict_tiles(predict_batch, picture(), "a", Tiles(420)).img_path == "a"
    assert calls == [[(300, 420, 3)]]


def test_batches_and_the_frame_of_the_tiles():
    calls = []

    def predict_batch(images, names):
        calls.append(len(images))
        found = InstanceData(
            labels=torch.tensor([0]),
            scores=torch.tensor([0.5]),
            bboxes=torch.tensor([[1.0, 2, 9, 8]]),
            rbboxes=torch.tensor([[5.0, 5, 4, 2, 0.1]]),
        )
        return [DataSample(pred_instances=found.clone()) for _ in images]

    sample = predict_tiles(predict_batch, np.zeros((1000, 4000, 3), np.uint8), "a", Tiles(1024, 200, 2))
    windows = tile_windows((1000, 4000), 1024, 200)
    assert calls == [2, 2, 1] and len(sample.pred_instances) == len(windows)
    lefts = sorted(t.left for t in windows)
    assert sorted(sample.pred_instances.rbboxes[:, 0].tolist()) == [5 + left for left in lefts]
    assert sorted(sample.pred_instances.bboxes[:, 2].tolist()) == [9 + left for left in lefts]


def test_duplicates_are_merged_per_class():
    box = [50.0, 50, 40, 10, 0.3]
    found = InstanceData(
        labels=torch.tensor([0, 0, 1]), scores=torch.tensor([0.4, 0.9, 0.5]), rbboxes=torch.tensor([box] * 3)
    )
    assert merge_instances(found).scores.tolist() == pytest.approx([0.9, 0.5])
    upright = InstanceData(
        labels=torch.tensor([0, 0, 0]), scores=torch.tensor([0.4, 0.9, 0.5]),
        bboxes=torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [6, 0, 16, 10]]),
    )  # fmt: skip
    assert merge_instances(upright).scores.tolist() == pytest.approx([0.9, 0.5])  # IoU 0.25 with the third
    assert merge_instances(upright, 0.1).scores.tolist() == pytest.approx([0.9])
    assert len(merge_instances(found[:0])) == 0


def test_maps_cannot_be_merged():
    def predict_batch(images, names):
        return [DataSample(pred_sem_seg=PixelData(data=torch.zeros(1, *i.shape[:2]))) for i in images]

    with pytest.raises(DataError, match="a: only detected boxes .* the model predicts pred_sem_seg"):
        predict_tiles(predict_batch, picture(), "a", Tiles(128, 64))


@pytest.mark.parametrize("arguments", [(0,), (100, 100), (100, 10, 0), (100, 10, 1, 2.0)])
def test_settings_are_checked(arguments):
    with pytest.raises(ConfigError):
        Tiles(*arguments)


def test_files_have_corners_and_numbers_of_each_object(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), picture()[..., ::-1])
    found = predict(config(), None, tmp_path / "a.png", tmp_path / "out", device="cpu", tiles=Tiles(128, 64))
    objects = found["a"][0]["instances"]
    assert len(objects) == 12 and cv2.imread(str(tmp_path / "out/a.png")).shape == (300, 420, 3)
    for item in objects:
        np.testing.assert_allclose(rb.from_dota(np.array(item["corners"]))[:2], item["rbbox"][:2], atol=0.02)
        assert len(item["corners"]) == 8 and len(item["rbbox"]) == 5


@pytest.mark.slow
def test_a_large_image_needs_less_than_2_gib(tmp_path):
    """In a process of its own, with a real detector, drawing and files included."""
    coarse = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.resize(coarse, (4000, 4000)))
    code = (
        "import resource; from vislab.apis import Tiles, predict;"
        f"predict({str(CONFIGS / 'mutdet/rotated_detr_lite0_dota8_cpu.py')!r}, None, 'a.png', 'out', device='cpu',"
        "tiles=Tiles(1024, 200), cfg_options={'model.backbone.pretrained': False});"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "VISLAB_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[-1]) < 2 * 1024**2  # KiB
    assert json.loads((tmp_path / "out/predictions.json").read_text())["a"][0]["instances"]
