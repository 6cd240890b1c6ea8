"""Every config's model runs on a GPU that is not there: no operation mixes devices, and a training step waits for
nothing but what WAITS lists.

Models are those of the configs, with random weights; the step goes through data preprocessor, loss, backward, clipping,
optimizer and log.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData, PixelData
from torch import nn

from tests.helpers.pretended_backward import walked_backward
from tests.helpers.pretended_gpu import CUDA, Wait, pretended_gpu, to_pretended_gpu
from tests.helpers.pretended_step import batch, build
from vislab.engine.hooks import NanGuardHook
from vislab.engine.message_hub import MessageHub
from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.models.mask2former import pixel_decoder
from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample
from vislab.systems.tract import apply_tract
from vislab.systems.tract.apply import get_tract

REPOSITORY = Path(__file__).parents[1]
LEAVES = sorted(path for path in (REPOSITORY / "configs").glob("*/*.py") if path.parent.name != "_base_")
FAST = {  # one of each kind of network and task
    "eco_m2f/eco_m2f_lite0_scenes_cpu",
    "eco_m2f/mask2former_swin_t_coco_panoptic",
    "cae/cae_vit_cifar10_clusters_cpu",
    "cae/cae_vit_cifar10_norm_pixel_cpu",
    "hnerv/hnerv_bunny_160x320_cpu",
    "mutdet/deformable_detr_lite0_dior_photos_cpu",
    "mutdet/mutdet_pretrain_lite0_hit_uav_cpu",
    "mutdet/rotated_detr_lite0_hit_uav_cpu",
    "timesnet/fpn_lite0_rgbd_kitchen",
    "timesnet/timesnet_lite0_lite0_camvid",
    "tract/cifar10_resnet18_sgd_tract",
    "tract/imagenet_deit3_vit_small_400ep_plain",
}
WAITS = {
    Wait("copies from cuda", "vislab/models/matcher.py:fetch"): "costs go to SciPy, and with them what targets are",
}
"""All that every training step waits for, with the reason. Besides, there wait once in a while: NanGuardHook every
`interval` steps; HistoryBuffer every 64 values and when the log is written; ProgressHook, on a terminal, four times a
second. And with float16, but not bfloat16, the loss scale at every step of the optimizer."""


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def train(model: nn.Module, settings: dict, waits: list[Wait]) -> set[Wait]:
    """List what one step waits for, from the batch on the host to the log."""
    hub = MessageHub("pretended")
    if settings["type"] is AmpOptimWrapper:
        settings = settings | {"dtype": "bfloat16"}  # float16 asks for a real GPU, and reads its loss scale
    wrapper = build_optim_wrapper(model, settings)
    wrapper.message_hub = hub
    waits.clear()
    with walked_backward():
        losses = model.train().train_step(batch(model), wrapper)
    NanGuardHook().after_train_iter(SimpleNamespace(iter=0), 0, None, losses)
    for key, value in losses.items():
        hub.update_scalar(f"train/{key}", value)
    return set(waits)


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=name(p), marks=[] if name(p) in FAST else pytest.mark.slow) for p in LEAVES]
)
def test_all_modes_stay_on_the_device(path):
    model, settings = build(path)
    with pretended_gpu() as waits:
        to_pretended_gpu(model).eval()
        with torch.no_grad():
            data = model.data_preprocessor(batch(model))
            assert data["inputs"].device == CUDA and not waits
            model(**data, mode="tensor")
            assert not waits
            assert len(model(**data, mode="predict")) == 2
        found = train(model, settings, waits)
    assert found <= WAITS.keys()
    assert bool(found) == (path.parent.name in ("eco_m2f", "mutdet"))


def test_a_mix_of_devices_raises(monkeypatch):
    model, _ = build(REPOSITORY / "configs/eco_m2f/eco_m2f_lite0_scenes_cpu.py")
    monkeypatch.setattr(pixel_decoder, "pixel_centers", lambda shapes, device: torch.zeros(84, 2))
    with pretended_gpu(), pytest.raises(RuntimeError, match="device"):
        to_pretended_gpu(model)(torch.zeros(1, 3, 64, 64, device=CUDA))


def test_waits_are_noted():
    with pretended_gpu() as waits:
        x = torch.zeros(3, device=CUDA)
        quiet = [x.sum() / 2, torch.full((), 3.0, device=CUDA), torch.ones(2).to(CUDA, non_blocking=True), x[:2]]
        assert all(y.device == CUDA for y in quiet) and not waits
        noted = [
            (lambda: x.sum().item(), "reads"),
            (lambda: 1 if x.any() else 0, "reads"),
            (lambda: x[x > 0], "mask"),
            (lambda: x.nonzero(), "how large"),
            (lambda: x.cpu(), "copies from cuda"),
            (lambda: x.tolist(), "copies from cuda"),
            (lambda: torch.tensor([1.0], device=CUDA), "copies from cpu"),
            (lambda: x.copy_(torch.ones(3)), "copies from cpu"),
            (lambda: x[torch.tensor([0, 2])], "index"),
        ]
        for action, reason in noted:
            waits.clear()
            action()
            assert [reason in wait.reason for wait in waits] == [True], (reason, waits)
            assert waits[0].place == "tests/test_pretended_gpu.py:<lambda>"


def test_images_of_different_sizes_are_padded_without_waiting():
    samples = [DataSample(), DataSample()]
    for sample, width in zip(samples, (64, 48), strict=True):
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, 64, width, dtype=torch.int64))
        sample.gt_instances = InstanceData(masks=torch.zeros(2, 64, width, dtype=torch.uint8))
    images = [torch.zeros(3, 64, width, dtype=torch.uint8) for width in (64, 48)]
    with pretended_gpu() as waits:
        preprocessor = to_pretended_gpu(ImagePreprocessor(mean=(0.5,) * 3, std=(0.2,) * 3))
        data = preprocessor({"inputs": images, "data_samples": samples}, True)
        assert data["inputs"].shape == (2, 3, 64, 64) and data["inputs"].device == CUDA
        assert data["data_samples"][1].gt_instances.masks.shape == (2, 64, 64)
        assert not waits


@pytest.mark.filterwarnings("ignore:Accessing the data pointer")  # by copying
def test_averaging_weights_does_not_wait():
    with pretended_gpu() as waits:
        model = to_pretended_gpu(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
        average = ExponentialMovingAverage(model)
        average.update_parameters(model)
        average.update_parameters(model)
        assert {p.device for p in average.parameters()} == {CUDA} and not waits


@pytest.mark.parametrize("reduce", ["local", "deferred"])
def test_tract_does_not_wait(reduce):
    with pretended_gpu() as waits:
        for layer, shape in ((nn.Conv2d(3, 8, 3, padding=1), (2, 3, 16, 16)), (nn.Linear(40, 8), (2, 40))):
            to_pretended_gpu(layer)
            tract = get_tract(apply_tract(layer, 0.1, reduce))
            x = torch.zeros(shape, device=CUDA)
            g = torch.zeros_like(layer(x))
            tract._passed(layer, x, g)  # what backward calls
            if reduce == "local":
                assert tract._arrived(torch.zeros_like(layer.weight)).device == CUDA
            else:
                tract._arrived(torch.zeros_like(layer.weight))
                tract._accumulated(layer.weight)
                assert tract.solve(torch.zeros_like(layer.weight), tract.total).device == CUDA
        assert not waits


def test_the_log_is_read_once_in_a_while():
    hub, guard = MessageHub("pretended"), NanGuardHook(interval=10)
    with pretended_gpu() as waits:
        for step in range(128):
            losses = {"loss": torch.zeros((), device=CUDA), "loss_cls": torch.zeros((), device=CUDA)}
            guard.after_train_iter(SimpleNamespace(iter=step), step, None, losses)
            for key, value in losses.items():
                hub.update_scalar(f"train/{key}", value)
    places = [wait.place for wait in waits]
    assert places.count("vislab/engine/hooks/nan_guard.py:_read") == 12
    assert places.count("vislab/engine/message_hub.py:_read_waiting") == 2 * 2
    assert len(places) == 16
