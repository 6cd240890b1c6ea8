"""Every config takes a real first step, and one validation batch, on stand-in data in the published layouts.

Sizes and batches are made small; models, losses, optimizers, schedules, hooks and metrics are those of the config.
"""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torchvision

from tests.helpers.standin_data import make_published, make_small

REPOSITORY = Path(__file__).parents[1]
LEAVES = sorted(path for path in (REPOSITORY / "configs").glob("*/*.py") if path.parent.name != "_base_")
# of each kind the cheapest, on small data; the others take more than a few seconds, and up to 7 GB of memory
FAST = {
    "eco_m2f/eco_m2f_lite0_scenes_mixed_cpu",
    "hnerv/hnerv_bunny_160x320_cpu",
    "timesnet/fpn_lite0_camvid",
    "timesnet/fpn_lite0_rgbd_kitchen",
    "tract/cifar10_subset_resnet_sgd_cpu_tract",
}
SMALL = 64
SHRUNK = {  # what fits the stand-ins, by transform
    "ResizeShortest": {"short": SMALL, "long": 2 * SMALL},
    "RandomCrop": {"size": (SMALL, SMALL)},
    "RandomResizedCrop": {"size": (SMALL, SMALL)},
    "CenterCrop": {"size": SMALL},
    "LargeScaleJitter": {"size": (SMALL, SMALL)},
    "Pad": {"size": (SMALL, SMALL)},
    "Resize": {"size": (SMALL, 2 * SMALL)},
}


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture(scope="module")
def standins(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("standins")
    make_small(folder / "small")
    write_clip(folder / "clip.avi")
    return folder


def write_clip(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 9, 16, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for frame in noise:
            frame = cv2.resize(frame, (1280, 720))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def place(request, standins, monkeypatch) -> Path:
    """The working folder, where `data/...` and $VISLAB_DATA are stand-ins."""
    published = standins / "data"
    if request.node.get_closest_marker("slow") and not published.exists():
        make_published(published)
    monkeypatch.chdir(standins)
    monkeypatch.setenv("VISLAB_DATA", str(standins / "small"))
    for kind in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", _load_meta)
    return standins


def _load_meta(self) -> None:
    """torchvision's own, without the checksum."""
    import pickle

    content = pickle.loads(Path(self.root, self.base_folder, self.meta["filename"]).read_bytes())
    self.classes = content[self.meta["key"]]
    self.class_to_idx = {name: i for i, name in enumerate(self.classes)}


def shrink(node) -> None:
    """Small images, no downloads: in place, through the whole config."""
    if isinstance(node, dict):
        kind = node.get("type")
        for key, value in SHRUNK.get(getattr(kind, "__name__", kind), {}).items():
            if node.get(key) is not None:
                node[key] = value
        if node.get("pretrained") is True:
            node["pretrained"] = False
        if node.get("source") == "bunny":
            node["source"] = "clip.avi"
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        shrink(child)


def small(path: Path):
    from vislab.engine.config.load import load_config

    cfg = load_config(path)
    shrink(cfg._cfg_dict)
    batch = 128 if path.parent.name == "tract" and "cifar" in path.name else 2
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].update(batch_size=min(batch, cfg[f"{split}_dataloader"].batch_size))
    if "kitti" in path.name or "nyu" in path.name:  # whole frames
        resize = {"type": "Resize", "size": (SMALL, 2 * SMALL)}
        cfg.train_dataloader.dataset.pipeline.insert(-1, resize)
        for loader in (cfg.val_dataloader, cfg.test_dataloader):
            loader.update(batch_size=1)
            if "nyu" in path.name:
                loader.dataset.pipeline.insert(1, resize)  # before the labels, which keep their size
    if "deit" in path.name:
        cfg.model.img_size = SMALL
    if "hnerv" in path.name:
        cfg.train_dataloader.batch_size = 1
    return cfg


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=name(p), marks=[] if name(p) in FAST else pytest.mark.slow) for p in LEAVES]
)
def test_first_step(path, place):
    from vislab.apis import dry_run

    found = dry_run(small(path))
    assert found["loss"] > 0 and found["trained_parameters"] > 0
    assert found["val_metrics"] and found["train_batches"] > 0
    assert not (place / "work_dirs").exists()


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in LEAVES if "lite0" in p.name or "cpu" in p.name], ids=name)
def test_first_step_on_real_data(path, data_root):
    from vislab.apis import dry_run

    assert dry_run(path)["loss"] > 0
