"""Small generated data in the layouts of the published datasets, sufficient for the first step of each config.
`make_small(folder)` writes what VISLAB_DATA contains for the configs for CPUs, `make_published(folder)` the published
sets in the trees of data/README.md.
"""

import json
import pickle
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.helpers.aerial_trees import (
    BOX,
    dota_line,
    fraction_line,
    make_corner_text,
    make_dior,
    make_hit_uav,
)
from vislab.datasets.imagenet import imagenet_classes

SIZE = (96, 128)
CITYSCAPES_STUFF, CITYSCAPES_THINGS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23), (24, 25, 26, 27, 28, 31, 32, 33)


def make_published(data: Path) -> None:
    rng = np.random.default_rng(0)
    _coco(data / "coco", "annotations/{}_{}2017", "{}2017", "annotations/panoptic_{}2017", rng)
    _ade20k(data / "ADEChallengeData2016", rng)
    _cityscapes(data / "cityscapes", rng)
    _depth_lists(data, rng)
    for name in ("cifar10", "cifar100"):
        _cifar(data / name, rng)
    for split in ("train", "val"):
        for synset in imagenet_classes():
            _image(data / f"imagenet/{split}/{synset}/0.JPEG", (32, 32), rng)
    make_dior(data / "DIOR")
    for split in ("train", "val"):
        make_corner_text(data / f"DOTA_tiles/{split}", [dota_line(), dota_line(name="plane")], suffix=".png")
    from vislab.systems.cae import DvaeEncoder

    torch.save(DvaeEncoder(width=8, num_codes=32).state_dict(), data / "dalle_encoder.pth")
    for number in range(2):
        _image(data / f"uvg/beauty/{number:03d}.png", (1080, 1920), rng)


def make_small(small: Path) -> None:
    rng = np.random.default_rng(0)
    _coco(small / "coco_panoptic", "annotations/{}_{}", "{}", "panoptic_{}", rng)
    for split in ("train", "val"):
        lines = []
        for number in range(4):
            lines.append(f"{split}/{number}.png {split}annot/{number}.png")
            _image(small / f"camvid/{split}/{number}.png", SIZE, rng)
            _write(small / f"camvid/{split}annot/{number}.png", _blocks(rng, 12))
        (small / f"camvid/{split}.txt").write_text("\n".join(lines) + "\n")
    for number in range(164):  # the config trains on the first 160
        _image(small / f"rgbd_kitchen/frame-{number:06d}.color.jpg", SIZE, rng)
        _write(small / f"rgbd_kitchen/frame-{number:06d}.depth.png", _blocks(rng, 4).astype(np.uint16) * 700 + 900)
    with zipfile.ZipFile(small / "cifar10_subset.zip", "w") as archive:
        for split, label, number in ((s, c, n) for s in ("train", "test") for c in range(10) for n in range(13)):
            content = cv2.imencode(".jpg", rng.integers(0, 256, (32, 32, 3), np.uint8))[1].tobytes()
            archive.writestr(f"cifar10/{split}/class{label}/{number}.jpg", content)
    for split in ("train", "val"):
        make_hit_uav(small / "hit_uav", [BOX, (70.0, 40.0, 20.0, 9.0, 2.0)], split=split)
        for name in ("dota8", "dior_photos"):
            make_corner_text(small / name, [fraction_line(), fraction_line(label=1)], split=split, labels="labels")
    _weights(small / "weights/tf_efficientnet_lite0_timm.safetensors")


def make_combined(place: Path) -> None:
    """Write the encoder and the videos in `place` that the configs of combinations read."""
    from tests.helpers.hnv import small_hnv
    from vislab.models.encoders.vit import ViT
    from vislab.systems.cae import export_encoder

    encoder = ViT(img_size=64, patch_size=8, dim=128, depth=6, num_heads=4, init_values=0.1)
    export_encoder(encoder, place / "cae_vit_camvid.safetensors", mean=(0.5,) * 3, std=(0.2,) * 3)
    for name, images in (
        ("camvid_train", "camvid/train"),
        ("camvid_val", "camvid/val"),
        ("hit_uav_val", "hit_uav/val"),
    ):
        paths = sorted((place / "small" / images).iterdir())
        small_hnv(place / f"{name}.hnv", size=cv2.imread(str(paths[0])).shape[:2], frames=len(paths))
    small_hnv(place / "video.hnv")


def make_pseudo(place: Path) -> None:
    """Write pseudo labels of the images in `place`, as tools/pseudo_labels.py does, for all pre-training configs."""
    from vislab.systems.mutdet.pseudo_file import PseudoImage, PseudoObjects, write_pseudo_labels

    rng = np.random.default_rng(0)
    for name, images, dim, clusters in (
        ("hit_uav", place / "small/hit_uav/train", 128, 64),
        ("dota", place / "data/DOTA_800/train/images", 256, 256),
        ("rsdet4", place / "data/RSDet4", 256, 256),
    ):
        if not images.exists():
            for number in range(2):
                _image(images / f"{number}.png", SIZE, rng)
        found, paths = [], sorted(images.iterdir())
        for count in range(3, 3 + len(paths)):
            boxes = np.array([(20.0 + 15 * i, 40.0, 14.0, 8.0, 0.3 * i) for i in range(count)])
            embeddings = rng.standard_normal((count, dim))
            labels = rng.integers(0, clusters, count)
            found.append(PseudoObjects(boxes, np.ones(count), labels, embeddings))
        target = place / "pseudo" / name / "pseudo_labels.safetensors"
        target.parent.mkdir(parents=True)
        records = [PseudoImage(path.name, *cv2.imread(str(path)).shape[:2]) for path in paths]
        write_pseudo_labels(target, records, found, clusters)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _image(path: Path, size: tuple[int, int], rng: np.random.Generator) -> None:
    _write(path, cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), size[::-1]))


def _blocks(rng: np.random.Generator, count: int) -> np.ndarray:
    """(96, 128) uint8: 4x4 blocks of labels below `count`."""
    return np.kron(rng.integers(0, count, (4, 4)), np.ones((24, 32))).astype(np.uint8)


def _panoptic(rng: np.random.Generator, categories: list[int], number: int) -> tuple[np.ndarray, list[dict]]:
    """An id map of four upright stripes, each a segment, and the segments' entries."""
    ids = np.zeros(SIZE, np.int64)
    segments = []
    for i, category in enumerate(rng.choice(categories, 4, replace=False).tolist()):
        ids[:, 32 * i : 32 * i + 32] = 1000 * (i + 1) + number
        box = {"area": 96 * 32, "bbox": [32 * i, 0, 32, 96], "iscrowd": 0}
        segments.append({"id": 1000 * (i + 1) + number, "category_id": category, **box})
    return ids, segments


def _png(path: Path, ids: np.ndarray) -> None:
    _write(path, np.stack([ids >> 16, ids >> 8 & 255, ids & 255], -1).astype(np.uint8))


def _categories(things: int, stuff: int) -> list[dict]:
    return [{"id": i + 1, "name": f"class {i + 1}", "isthing": int(i < things)} for i in range(things + stuff)]


def _panoptic_files(root, split, rng, categories, images, maps, panoptic_json, instances_json) -> None:
    things = [c for c in categories if c["isthing"]]
    numbers = [c["id"] for c in categories]
    records, annotations, instances = [], [], []
    for number in range(4):
        records.append({"id": number, "file_name": f"{number:04d}.jpg", "height": SIZE[0], "width": SIZE[1]})
        _image(root / images / f"{number:04d}.jpg", SIZE, rng)
        ids, segments = _panoptic(rng, numbers[: 2 * len(things)], number)
        _png(root / maps / f"{number:04d}.png", ids)
        annotations.append({"image_id": number, "file_name": f"{number:04d}.png", "segments_info": segments})
        for i in range(3):
            box = [4 + 30 * i, 8, 24, 40]
            left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
            polygon = [left, top, right, top, right, bottom, left, bottom]
            entry = {"id": len(instances) + 1, "image_id": number, "category_id": things[i]["id"], "iscrowd": 0}
            instances.append({**entry, "bbox": box, "area": box[2] * box[3], "segmentation": [polygon]})
    for path, content, kinds in ((panoptic_json, annotations, categories), (instances_json, instances, things)):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({"images": records, "annotations": content, "categories": kinds}))


def _coco(root: Path, files: str, images: str, maps: str, rng: np.random.Generator) -> None:
    for split in ("train", "val"):
        panoptic, instances = (files.format(kind, split) + ".json" for kind in ("panoptic", "instances"))
        args = (images.format(split), maps.format(split), panoptic, instances)
        _panoptic_files(root, split, rng, _categories(80, 53), *args)


def _ade20k(root: Path, rng: np.random.Generator) -> None:
    for split, short in (("training", "train"), ("validation", "val")):
        maps = f"ade20k_panoptic_{short}"
        args = (f"images/{split}", maps, f"{maps}.json", f"ade20k_instance_{short}.json")
        _panoptic_files(root, split, rng, _categories(100, 50), *args)
        for number in range(4):
            _write(root / f"annotations/{split}/{number:04d}.png", _blocks(rng, 151))


def _cityscapes(root: Path, rng: np.random.Generator) -> None:
    categories = [{"id": i, "name": f"class {i}", "isthing": 0} for i in CITYSCAPES_STUFF]
    categories += [{"id": i, "name": f"class {i}", "isthing": 1} for i in CITYSCAPES_THINGS]
    for split in ("train", "val"):
        records, annotations = [], []
        for number in range(4):
            name = f"aachen_{number:06d}_000019"
            _image(root / f"leftImg8bit/{split}/aachen/{name}_leftImg8bit.png", SIZE, rng)
            _write(root / f"gtFine/{split}/aachen/{name}_gtFine_labelIds.png", _blocks(rng, 34))
            ids, segments = _panoptic(rng, [c["id"] for c in categories], number)
            _png(root / f"gtFine/cityscapes_panoptic_{split}/{name}_gtFine_panoptic.png", ids)
            records.append({"id": name, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]})
            entry = {"image_id": name, "file_name": f"{name}_gtFine_panoptic.png", "segments_info": segments}
            annotations.append(entry)
        content = {"images": records, "annotations": annotations, "categories": categories}
        (root / f"gtFine/cityscapes_panoptic_{split}.json").write_text(json.dumps(content))


def _depth_lists(data: Path, rng: np.random.Generator) -> None:
    for name, folder in (("train", "sync"), ("test", "official_splits/test")):
        lines = [f"/kitchen/rgb_{i:05d}.jpg /kitchen/sync_depth_{i:05d}.png 518.8579" for i in range(4)]
        for i in range(4):
            _image(data / f"nyu/{folder}/kitchen/rgb_{i:05d}.jpg", (480, 640), rng)
            depth = cv2.resize(_blocks(rng, 4), (640, 480), interpolation=cv2.INTER_NEAREST).astype(np.uint16)
            _write(data / f"nyu/{folder}/kitchen/sync_depth_{i:05d}.png", depth * 900 + 1000)
        (data / f"nyu/nyu_{name}.txt").write_text("\n".join(lines) + "\n")
    drive, shape = "2011_09_26_drive_0001_sync", (375, 1242)
    for name in ("train", "test"):
        lines = []
        for i in range(4):
            image = f"2011_09_26/{drive}/image_02/data/{i:010d}.png"
            depth = f"{drive}/proj_depth/groundtruth/image_02/{i:010d}.png"
            lines.append(f"{image} {depth} 721.5377")
            _image(data / f"kitti/raw/{image}", shape, rng)
            values = cv2.resize(_blocks(rng, 4), shape[::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint16)
            _write(data / f"kitti/data_depth_annotated/{depth}", values * 4000 + 1000)
        (data / f"kitti/eigen_{name}.txt").write_text("\n".join(lines) + "\n")


def _cifar(root: Path, rng: np.random.Generator) -> None:
    """torchvision's pickles; their checksums are not those of the real files."""
    files = [("cifar-10-batches-py", f"data_batch_{i}", "labels", 10) for i in range(1, 6)]
    files += [("cifar-10-batches-py", "test_batch", "labels", 10)]
    files += [("cifar-100-python", name, "fine_labels", 100) for name in ("train", "test")]
    for folder, name, key, classes in files:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = rng.integers(0, classes, 130).tolist()
        path.write_bytes(pickle.dumps({"data": rng.integers(0, 256, (130, 3072), np.uint8), key: labels}))
    names = {"label_names": [f"class {i}" for i in range(10)]}
    (root / "cifar-10-batches-py/batches.meta").write_bytes(pickle.dumps(names))
    names = {"fine_label_names": [f"class {i}" for i in range(100)]}
    (root / "cifar-100-python/meta").write_bytes(pickle.dumps(names))


def _weights(path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True)
    save_file(timm.create_model("tf_efficientnet_lite0").state_dict(), str(path))
