"""Flags become config entries; importing the apis costs nothing; predictions become plain data."""

import json
import subprocess
import sys

import av
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, LabelData, PixelData

from vislab import apis
from vislab.apis.build import prepare
from vislab.apis.inference import Job, VideoWriter, collect
from vislab.apis.results import to_plain_results
from vislab.apis.sampling import raw_batch
from vislab.apis.testing import _use_tta
from vislab.apis.training import training_config
from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.errors import CheckpointError, ConfigError
from vislab.registry import OPTIM_WRAPPERS
from vislab.structures import DataSample


def config(**changes) -> Config:
    plain = {"model": {"type": "M"}, "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}}}
    return Config({**plain, **changes}, filename=None)


def test_import_is_cheap_and_names_are_functions():
    code = "import sys, vislab.apis; assert 'torch' not in sys.modules; from vislab.apis import train; print(train)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("<function train"), done.stderr
    assert all(callable(getattr(apis, name)) for name in apis.__all__)
    with pytest.raises(AttributeError, match="trian"):
        apis.trian  # noqa: B018


def test_run_settings(tmp_path):
    cfg = prepare(config(randomness={"deterministic": True}), work_dir=tmp_path, seed=5, launcher="pytorch")
    assert (cfg.work_dir, cfg.launcher) == (str(tmp_path), "pytorch")
    assert cfg.randomness == {"deterministic": True, "seed": 5}
    assert prepare(config()).work_dir == "work_dirs/notebook"
    assert prepare(config(work_dir="mine")).work_dir == "mine"
    with pytest.raises(ConfigError, match="launcher='ssh'"):
        prepare(config(), launcher="ssh")


def test_resume_and_load_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").touch()
    assert training_config(config()).get("resume", False) is False
    cfg = training_config(config(load_from="old.pth"), resume=True)
    # from the work folder, whatever the run began with; the old weights are for a folder with nothing in it
    assert (cfg.resume, cfg.load_from) == ("auto", "old.pth")
    cfg = training_config(config(), resume="a.pth")
    assert (cfg.resume, cfg.load_from) == (True, "a.pth")
    assert training_config(config(), load_from="a.pth").load_from == "a.pth"
    with pytest.raises(ConfigError, match="one of the two"):
        training_config(config(), resume=True, load_from="a.pth")
    for flag in ("resume", "load_from"):
        with pytest.raises(CheckpointError, match="b.pth does not exist. In the same folder: a.pth"):
            training_config(config(), **{flag: "b.pth"})


def test_amp():
    for section in (
        {"type": "OptimWrapper"},
        {"type": "mmengine.optim.OptimWrapper"},
        {"clip_grad": None},
        {"type": "AmpOptimWrapper"},
    ):
        cfg = training_config(config(optim_wrapper=section), amp=True)
        assert OPTIM_WRAPPERS.get(cfg.optim_wrapper.type) is AmpOptimWrapper
        assert "AmpOptimWrapper" in cfg.pretty_text  # it can be written into the work folder
    with pytest.raises(ConfigError, match="optim_wrapper.type is TractOptimWrapper"):
        training_config(config(optim_wrapper={"type": "TractOptimWrapper"}), amp=True)
    with pytest.raises(ConfigError, match="does not have"):
        training_config(Config({"model": {}}), amp=True)


def test_auto_scale_lr():
    assert training_config(config(auto_scale_lr={"base_batch_size": 16}), auto_scale_lr=True).auto_scale_lr.enable
    with pytest.raises(ConfigError, match="base_batch_size"):
        training_config(config(), auto_scale_lr=True)


def test_tta_wraps_the_model_and_swaps_the_pipeline():
    loader = {"dataset": {"type": "Repeat", "dataset": {"type": "D", "pipeline": ["a"]}}}
    cfg = config(test_dataloader=loader, tta_model={"type": "T"}, tta_pipeline=["b"])
    _use_tta(cfg)
    assert cfg.model == {"type": "T", "module": {"type": "M"}}
    assert cfg.test_dataloader.dataset.dataset.pipeline == ["b"]
    with pytest.raises(ConfigError, match="no tta_model and no tta_pipeline"):
        _use_tta(config(test_dataloader=loader))


def test_inputs_get_unique_names_and_missing_ones_a_message(tmp_path):
    for name in ("x/a.jpg", "x/deep/a.png", "y/a.PNG", "y/note.txt", "film.MP4", "empty/readme"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    jobs, problems = collect([tmp_path / n for n in ("x", "y", "film.MP4", "y/a.PNG", "empty", "gone.png")])
    assert [job.name for job in jobs] == ["a", "deep/a", "a_2", "film", "a_3"]
    assert jobs[3] == Job(tmp_path / "film.MP4", "film", True)
    assert "empty: the folder contains no images" in problems[0] and "gone.png: there is no such" in problems[1]


def test_video_writer_keeps_frames_and_rate(tmp_path):
    frames = [np.full((33, 48, 3), value, np.uint8) for value in (20, 120, 220)]
    with VideoWriter(tmp_path / "new" / "v.mp4", rate=12) as video:
        for frame in frames:
            video.add(frame)
        video.add(np.full((66, 96, 3), 220, np.uint8))  # another size
    with av.open(str(tmp_path / "new" / "v.mp4")) as container:
        back = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 12
    assert [f.shape for f in back] == [(32, 48, 3)] * 4
    assert all(abs(float(f.mean()) - v) < 4 for f, v in zip(back, (20, 120, 220, 220), strict=True))


def test_results_are_plain_data(tmp_path):
    sample = DataSample(metainfo={"ori_shape": (4, 6)})
    sample.pred_label = LabelData(label=torch.tensor([1]), score=torch.tensor([0.25, 0.75]))
    masks = torch.zeros(1, 4, 6, dtype=torch.uint8)
    masks[0, 1:3, 2:5] = 1
    sample.pred_instances = InstanceData(
        labels=torch.tensor([0]), scores=torch.tensor([0.5]), bboxes=torch.tensor([[2.0, 1, 5, 3]]), masks=masks
    )
    sample.pred_sem_seg = PixelData(data=torch.arange(24).view(1, 4, 6) % 3)
    sample.pred_depth = PixelData(data=torch.full((1, 4, 6), 1.5))
    plain = json.loads(json.dumps(to_plain_results(sample, tmp_path, "sub/x", ["cat", "dog"])))
    assert plain["label"] == {"id": 1, "name": "dog"} and plain["score"] == 0.75 and plain["size"] == [4, 6]
    (instance,) = plain["instances"]
    assert instance["label"]["name"] == "cat" and instance["bbox"] == [2, 1, 5, 3]
    from pycocotools import mask as coco

    assert coco.area(instance["mask"]) == 6
    import cv2

    seg = cv2.imread(str(tmp_path / plain["sem_seg"]), cv2.IMREAD_UNCHANGED)
    assert (seg == np.arange(24).reshape(4, 6) % 3).all()
    depth = cv2.imread(str(tmp_path / plain["depth"]), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and (depth == 1500).all()


def test_random_images_of_a_size():
    batch = raw_batch(config(), shape=(20, 30), batch_size=2)
    assert [tuple(img.shape) for img in batch["inputs"]] == [(3, 20, 30)] * 2
    assert tuple(raw_batch(config(), shape=[8])["inputs"][0].shape) == (3, 8, 8)
    with pytest.raises(ConfigError, match="--shape H W"):
        raw_batch(config())
    with pytest.raises(ConfigError, match="give height and width"):
        raw_batch(config(), shape=[1, 2, 3])
