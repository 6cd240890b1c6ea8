"""Test VisualizationHook: which images are drawn, when, and in which coordinates."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from vislab.engine.hooks.visualization import VisualizationHook, original_image
from vislab.errors import ConfigError
from vislab.evaluation.details import Details, ImageScore
from vislab.structures import DataSample


class Recorder:
    """A visualizer that remembers what it was asked to draw."""

    def __init__(self):
        self.drawn = []

    def add_datasample(self, name, image, data_sample, step=0):
        self.drawn.append((name, image.shape, step))

    def draw_datasample(self, image, data_sample):
        return image


@pytest.fixture
def runner():
    return SimpleNamespace(visualizer=Recorder(), iter=30, _train_loop=object())


def batch(count=2, size=(6, 8), **meta):
    inputs = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in range(count)]
    return {"inputs": inputs}, [DataSample(metainfo={"ori_shape": size, **meta}) for _ in range(count)]


def test_first_images_of_every_kth_validation(runner):
    hook = VisualizationHook(number=3, interval=2)
    for _ in range(3):
        hook.before_val_epoch(runner)
        for i in range(3):
            data, samples = batch()
            hook.after_val_iter(runner, i, data, samples)
    names = ["val_000", "val_001", "val_002"]
    assert [name for name, _, _ in runner.visualizer.drawn] == names * 2
    assert {step for _, _, step in runner.visualizer.drawn} == {30}


def test_every_image_of_a_test(runner, tmp_path):
    data, samples = batch(img_path="/x/photo.jpg")
    VisualizationHook().after_test_iter(runner, 0, data, samples)
    assert list(tmp_path.iterdir()) == []
    hook = VisualizationHook(test_out_dir=str(tmp_path / "show"))
    hook.after_test_iter(runner, 0, data, samples)
    hook.after_test_iter(runner, 1, data, samples)
    assert sorted(p.name for p in (tmp_path / "show").iterdir()) == [f"{i:06d}_photo.png" for i in range(4)]
    saved = cv2.imread(str(tmp_path / "show" / "000001_photo.png"))[..., ::-1]
    assert (saved == data["inputs"][1].permute(1, 2, 0).numpy()).all()


def test_predictions_are_drawn_on_the_original_image(tmp_path):
    whole = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), whole[..., ::-1])
    (small,) = batch(1)[0]["inputs"]
    meta = {"ori_shape": (12, 16), "img_path": str(tmp_path / "a.png")}
    assert (original_image(small, DataSample(metainfo=meta)) == whole).all()
    scaled = original_image(small, DataSample(metainfo={**meta, "img_path": "gone.png"}))
    assert scaled.shape == (12, 16, 3)


def test_labels_that_were_resized_are_drawn_on_the_original_image(tmp_path):
    """Rotated boxes are loaded before the image is resized; they were drawn at half the size on the whole image."""
    objects = InstanceData(bboxes=torch.tensor([[2.0, 3.0, 4.0, 6.0]]))
    sample = DataSample(metainfo={"ori_shape": (12, 16), "gt_scale_factor": (0.5, 0.5)}, gt_instances=objects)
    drawn = []
    recorder = SimpleNamespace(
        draw_datasample=lambda image, sample: drawn.append(sample) or image,
        add_datasample=lambda name, image, sample, step=0: drawn.append(sample),
    )
    run = SimpleNamespace(visualizer=recorder, iter=30, _train_loop=object())
    data = {"inputs": [torch.zeros(3, 6, 8, dtype=torch.uint8)]}
    hook = VisualizationHook(test_out_dir=str(tmp_path))
    hook.after_test_iter(run, 0, data, [sample])
    hook.before_val_epoch(run)
    hook.after_val_iter(run, 0, data, [sample])
    assert [labels.gt_instances.bboxes.tolist() for labels in drawn] == [[[4.0, 6.0, 8.0, 12.0]]] * 2


def test_counts_are_checked():
    with pytest.raises(ConfigError, match="interval=0"):
        VisualizationHook(interval=0)


def test_worst_images_are_drawn_after_the_last_validation(tmp_path):
    folder = tmp_path / "work"
    images = [ImageScore(image="c.png", score=1.0, index=2), ImageScore(image="other.png", score=2.0, index=0)]
    images += [ImageScore(image="a.png", score=3.0, index=0), ImageScore(image="b.png", score=4.0, index=1)]
    details = Details(metric="M", worst=images)
    dataset = []
    for name in "abc":
        data, samples = batch(1, img_path=f"{name}.png")
        dataset.append({"inputs": data["inputs"][0], "data_samples": samples[0]})
    metrics = [SimpleNamespace(details=details), object()]
    loop = SimpleNamespace(
        evaluator=SimpleNamespace(metrics=metrics), dataloader=SimpleNamespace(dataset=dataset), fp16=False
    )

    class Drawing(Recorder):
        def add_datasample(self, name, image, data_sample, out_file=None):
            self.drawn.append((data_sample.img_path, str(out_file)))

    model = SimpleNamespace(val_step=lambda data: data["data_samples"])
    training = SimpleNamespace(by_epoch=True, epoch=2, max_epochs=3)
    runner = SimpleNamespace(
        visualizer=Drawing(), val_loop=loop, model=model, _train_loop=training, work_dir=str(folder),
        log_dir=str(folder / "now"),
    )  # fmt: skip
    hook = VisualizationHook(worst=3)
    hook.after_val_epoch(runner)
    assert not runner.visualizer.drawn
    training.epoch = 3
    hook.after_val_epoch(runner)
    drawn = [
        ("c.png", str(folder / "now/vis_data/worst/M_00.png")),
        ("a.png", str(folder / "now/vis_data/worst/M_02.png")),
    ]
    assert runner.visualizer.drawn == drawn  # the index of other.png is that of another dataset
    assert [image.picture for image in images] == [
        "now/vis_data/worst/M_00.png",
        None,
        "now/vis_data/worst/M_02.png",
        None,
    ]
