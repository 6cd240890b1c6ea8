"""Reduced versions of the configs: sizes and batches for generated data, for first steps within seconds."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from mmengine.config import Config

from vislab.engine.config.load import load_config

SMALL = 64
SHRUNK = {  # what fits the stand-ins, by transform
    "ResizeShortestEdge": {"short_edge_length": SMALL, "max_size": 2 * SMALL},
    "RandomCrop": {"size": (SMALL, SMALL)},
    "RandomResizedCrop": {"size": (SMALL, SMALL)},
    "CenterCrop": {"size": SMALL},
    "LargeScaleJitter": {"size": (SMALL, SMALL)},
    "Pad": {"size": (SMALL, SMALL)},
    "Resize": {"size": (SMALL, 2 * SMALL)},
    "RandomResizedCropTwice": {"size": SMALL},
    "ViT": {"img_size": SMALL},
    "BlockMask": {"num_masked": 8},
}


def shrink(node: Any) -> None:
    """Small images, no downloads: in place, through the whole config."""
    if isinstance(node, dict):
        kind = node.get("type")
        if "target_size" in node and "size" in node:  # the second view keeps its share of the image
            node["target_size"] = SMALL * node["target_size"] // node["size"]
        for key, value in SHRUNK.get(getattr(kind, "__name__", kind), {}).items():
            if node.get(key) is not None:
                node[key] = value
        if node.get("pretrained") is True:
            node["pretrained"] = False
        if "teacher" in node:  # 4x4 patches of 16 or 14; without patches, a grid of 16x16 at stride 16
            sizes = {"patch16": SMALL, "patch14": 56}
            node["img_size"] = next((size for part, size in sizes.items() if part in node["teacher"]), 4 * SMALL)
        if node.get("source") == "bunny":
            node["source"] = "clip.avi"
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        shrink(child)


def small(path: Path) -> Config:
    """The config at `path` with small images and batches, which fit the made-up data."""
    cfg = load_config(path)
    shrink(cfg._cfg_dict)
    if path.stem.startswith("hnv_") and "hit_uav" in path.stem:
        cfg.val_dataloader.dataset.pipeline[0].size = (64, 96)
    batch = 128 if path.parent.name == "tract" and "cifar" in path.name else 2
    for loader in filter(None, (cfg.train_dataloader, cfg.val_dataloader)):
        loader.update(batch_size=min(batch, loader.batch_size))
    if "kitti" in path.name or "nyu" in path.name:  # whole frames
        resize = {"type": "Resize", "size": (SMALL, 2 * SMALL)}
        cfg.train_dataloader.dataset.pipeline.insert(-1, resize)
        cfg.val_dataloader.update(batch_size=1)
        if "nyu" in path.name:
            cfg.val_dataloader.dataset.pipeline.insert(1, resize)  # before the labels, which keep their size
    if "deit" in path.name:
        cfg.model.img_size = SMALL
    if path.stem == "finetune_vit_cifar10_cpu":  # whole images of 32 pixels, without a transform that resizes them
        cfg.model.encoder.img_size = 32
    if "hnerv" in path.name:
        cfg.train_dataloader.batch_size = 1
    return cfg


def write_clip(path: Path) -> None:
    """A video of three frames of 1280x720."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 9, 16, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for frame in noise:
            frame = cv2.resize(frame, (1280, 720))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def load_cifar_names(self: Any) -> None:
    """torchvision's CIFAR10._load_meta without the checksum."""
    import pickle

    content = pickle.loads(Path(self.root, self.base_folder, self.meta["filename"]).read_bytes())
    self.classes = content[self.meta["key"]]
    self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
