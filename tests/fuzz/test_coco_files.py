"""Fuzz COCO files: each mutated file is read correctly or raises one VislabError, without crash or hang.
A mutation changes a value, type, key or entry of an instances or panoptic file, its text, a PNG map or an image. Images
that it does not touch must give the samples of the unchanged file.
"""

import copy
import json
import random
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from vislab.datasets.coco import CocoDataset
from vislab.datasets.transforms import (
    LoadAnnotations,
    LoadImage,
    LoadPanoptic,
    PackInputs,
    PanopticToInstances,
    PanopticToSemSeg,
    Resize,
)
from vislab.errors import VislabError

SIZE = (40, 60)
VALUES = [
    *(None, True, False, "", "1", "x", "\u0000", "ä", [], {}, [[]], [None], {"a": 1}, [1, 2], [[1, 2], [3, 4]]),
    *(0, 1, -1, 2, 7, 0.5, -0.0, 1e-300, 1e9, 1e308, 2**31, 2**63, 10**30, float("nan"), float("inf"), -(10**30)),
]
SEGMENTATIONS = [
    *(
        [[]],
        [[1, 2]],
        [[1, 2, 3, 4]],
        [[1, 2, 3]],
        [1, 2, 30, 2, 30, 20],
        [[1, 2], [30, 2], [30, 20]],
        [[[1, 2], [3, 4]]],
    ),
    *(
        [["a"] * 6],
        [[None] * 6],
        [[1e9] * 6],
        [[1, 2, 3, float("nan"), 5, 6]],
        [[-1e5, 0, 9, 9, 1e5, 7]],
        [[10**30] * 6],
    ),
    *(
        [[5, 5, 5, 5, 5, 5]],
        [[1, 1, 50, 1, 50, 1.001]],
        [[-50, -50, -20, -50, -20, -20]],
        [{"size": list(SIZE)}],
        "rle",
    ),
    *({"size": list(SIZE), "counts": c} for c in ([], [2400], [0, 2400], [-1, 2401], [2399], [1e3, 1400], ["2400"])),
    *(
        {"size": list(SIZE), "counts": c}
        for c in ("", "zzzz", "0", "PoPo", "\u0000", "P" * 5000, "`X2", None, 5, [[2400]])
    ),
    *(
        {"size": s, "counts": [2400]}
        for s in ([60, 40], [40], [40, 60, 1], None, "40x60", [40.0, 60], [0, 0], [-40, -60])
    ),
    *({"counts": [2400]}, {"size": [2400, 1], "counts": [2400]}, {"size": [2**31, 2**31], "counts": [1]}, {}),
]


def write_set(root: Path) -> dict[str, dict]:
    """Three photos with polygons, both kinds of run lengths and a crowd, and their panoptic maps."""
    rng = np.random.default_rng(0)
    (root / "maps").mkdir()
    images, annotations, segments = [], [], []
    for number in (1, 2, 3):
        images.append({"id": number, "file_name": f"{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
        cv2.imwrite(str(root / f"{number}.jpg"), rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8))
        ids = np.zeros(SIZE, np.int64)
        info = []
        for k in range(3):
            x, y, w, h = 5 + 18 * k, 4 + 3 * number, 12, 10
            mask = np.zeros(SIZE, np.uint8)
            mask[y : y + h, x : x + w] = 1
            packed = coco.encode(np.asfortranarray(mask))
            line = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]]).astype(int)))
            runs = np.diff(np.concatenate([[0], line, [mask.size]])).tolist()
            forms = (
                [[x, y, x + w, y, x + w, y + h, x, y + h]],
                {"size": list(SIZE), "counts": packed["counts"].decode()},
                {"size": list(SIZE), "counts": runs},
            )
            annotations.append(
                {"id": 10 * number + k, "image_id": number, "category_id": 1 + k % 2, "bbox": [x, y, w, h],
                 "iscrowd": int(k == 2), "area": w * h, "segmentation": forms[k]}
            )  # fmt: skip
            ids[mask > 0] = 1000 * number + k
            info.append({"id": 1000 * number + k, "category_id": 1 + k, "iscrowd": 0, "area": w * h})
        segments.append({"image_id": number, "file_name": f"{number}.png", "segments_info": info})
        bgr = np.stack([ids // 65536, ids // 256 % 256, ids % 256], -1).astype(np.uint8)
        cv2.imwrite(str(root / "maps" / f"{number}.png"), bgr)
    categories = [{"id": i, "name": f"class {i}", "isthing": int(i < 3), "color": [i, i, i]} for i in (1, 2, 3)]
    shared = {"info": {}, "images": images, "categories": categories}
    return {"instances": shared | {"annotations": annotations}, "panoptic": shared | {"annotations": segments}}


def places(node, path=()):
    """All paths into a JSON tree."""
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield (*path, key)
        yield from places(node[key], (*path, key))


def mutate(content: dict, rng: random.Random) -> tuple[str, set[int]]:
    """Change `content`; returns words for it, and the ids of the images whose samples may change."""
    path = rng.choice([p for p in places(content) if len(p) > 1 or rng.random() < 0.2])
    kind = rng.choice(["value", "value", "delete", "double", "swap", "segmentation", "scale"])
    if kind == "segmentation":
        path = ("annotations", rng.randrange(len(content["annotations"])), "segmentation")
    whole = path[0] in ("annotations", "images") and len(path) > 1
    touched = {1, 2, 3} if not whole else _image_ids(content[path[0]][path[1]])
    *parents, last = path
    parent = content
    for key in parents:
        parent = parent[key]
    if kind == "segmentation":
        parent[last] = copy.deepcopy(rng.choice(SEGMENTATIONS))
    elif kind == "value":
        parent[last] = copy.deepcopy(rng.choice(VALUES))
    elif kind == "delete":
        del parent[last]
    elif kind == "double" and isinstance(parent, list):
        parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(parent[last]))
    elif kind == "swap":
        other = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        parent[last], parent[other] = parent[other], parent[last]
    elif kind == "scale" and type(parent[last]) in (int, float):
        parent[last] = parent[last] * rng.choice([-1, 0.5, 2, 10, 1000])
    else:
        parent[last] = str(parent[last])
    if whole and isinstance(content[path[0]], list):
        for entry in content[path[0]][path[1] : path[1] + 1]:
            touched |= _image_ids(entry)
        if len(path) == 2:  # entries moved
            touched = {1, 2, 3}
    return f"{kind} {path}", touched


def _image_ids(entry) -> set[int]:
    if not isinstance(entry, dict):
        return {1, 2, 3}
    number = entry.get("image_id", entry.get("id"))
    return {number} if number in (1, 2, 3) and type(number) is int else {1, 2, 3}


def spoil_files(root: Path, rng: random.Random) -> str:
    """Change a map or a photo of image 1."""
    path = root / rng.choice(["maps/1.png", "maps/1.png", "1.jpg"])
    img = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    kind = rng.choice(["turn", "shrink", "grow", "gray", "ids", "cut", "noise", "empty", "gone", "16 bits"])
    if kind in ("cut", "noise", "empty"):
        data = bytearray(path.read_bytes())
        if kind == "noise":
            for _ in range(5):
                data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: {"cut": rng.randrange(len(data)), "empty": 0}.get(kind, len(data))])
    elif kind == "gone":
        path.unlink()
    else:
        changed = {
            "turn": lambda: np.rot90(img).copy(),
            "shrink": lambda: img[::2, ::2].copy(),
            "grow": lambda: np.repeat(img, 2, 0),
            "gray": lambda: img[..., 0].copy(),
            "ids": lambda: np.where(img == img.max(), rng.randrange(256), img).astype(np.uint8),
            "16 bits": lambda: img.astype(np.uint16) * 257,
        }[kind]()
        cv2.imwrite(str(path if kind != "16 bits" else path.with_suffix(".png")), changed)
    return f"{kind} {path.name}"


def samples(root: Path, kind: str, resize: bool, strict: bool = True) -> dict[int, object]:
    """Build the dataset and read all of it, by image id."""
    loaders = {
        "instances": [LoadAnnotations(with_mask=True)],
        "panoptic": [LoadPanoptic(), PanopticToSemSeg(), PanopticToInstances()],
    }[kind]
    dataset = CocoDataset(
        data_root=str(root),
        ann_file=f"{kind}.json",
        data_prefix={"img": "", "panoptic": "maps"},
        filter_empty=not strict,
        check_files=strict,
        pipeline=[LoadImage(), *loaders, *([Resize(size=(20, 30))] if resize else []), PackInputs()],
        test_mode=True,
    )
    classes = len(dataset.metainfo["classes"])
    found = {}
    for i in range(len(dataset)):
        item = dataset[i]
        check_sample(item["inputs"], item["data_samples"], classes, resize)
        found[item["data_samples"].img_id] = item["data_samples"]
    return found


def check_sample(inputs, sample, classes: int, resized: bool) -> None:
    h, w = inputs.shape[1:]
    instances = sample.gt_instances
    assert ((instances.labels >= 0) & (instances.labels < classes)).all()
    x1, y1, x2, y2 = instances.bboxes.T
    assert instances.bboxes.isfinite().all() and (x2 > x1).all() and (y2 > y1).all()
    assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= w + 1e-3).all() and (y2 <= h + 1e-3).all()
    assert (
        instances.masks.shape == (len(instances.labels), h, w) and instances.masks.max() <= 1
        if len(instances)
        else True
    )
    if resized:
        assert instances.masks.flatten(1).any(1).all()
    if "gt_panoptic" in sample:
        listed = {s["id"]: s["area"] for s in sample.gt_panoptic.segments_info}
        ids, counts = sample.gt_panoptic.data.unique(return_counts=True)
        assert {i: c for i, c in zip(ids.tolist(), counts.tolist(), strict=True) if i} == listed


def same(a, b) -> bool:
    fields = [key for key in ("labels", "bboxes", "masks", "ignore") if key in b.gt_instances]
    return all(torch.equal(a.gt_instances[key], b.gt_instances[key]) for key in fields)


def run(seed: int, root: Path) -> bool:
    """One mutation; returns whether the file was accepted."""
    rng = random.Random(seed)
    files = write_set(root)
    kind = rng.choice(["instances", "instances", "panoptic"])
    (root / f"{kind}.json").write_text(json.dumps(files[kind]))
    resize = rng.random() < 0.3
    before = samples(root, kind, resize)
    words, touched = [], set()
    draw = rng.random()
    if draw < 0.75:
        for _ in range(rng.choice([1, 1, 1, 2])):
            if isinstance(files[kind].get("annotations"), list) and files[kind]["annotations"]:
                word, ids = mutate(files[kind], rng)
                words.append(word)
                touched |= ids
        if len(words) > 1:
            touched = {1, 2, 3}
        text = json.dumps(files[kind])
    else:
        text, touched = json.dumps(files[kind]), {1, 2, 3}
        if draw < 0.9:
            words, touched = [spoil_files(root, rng)], {1}
        elif draw < 0.95:
            words, text = ["cut"], text[: rng.randrange(len(text))]
        else:
            words = ["noise"]
            for _ in range(3):
                at = rng.randrange(len(text))
                text = text[:at] + rng.choice('{}[],:"0x\n') + text[at + 1 :]
    (root / f"{kind}.json").write_text(text)
    try:
        found = samples(root, kind, resize, strict=rng.random() < 0.7)
    except VislabError as error:
        assert len(str(error)) > 20 and "Traceback" not in str(error)
        return False
    except Exception as error:
        raise AssertionError(f"seed {seed}: {words}") from error
    for number, sample in found.items():
        if number in before and number not in touched:  # an id may have become a text
            assert same(sample, before[number]), f"seed {seed}: {words} changed image {number}"
    return True


def _many(seeds, tmp_path) -> None:
    def too_long(*_):
        raise AssertionError("a mutated file took more than 20 s")

    previous = signal.signal(signal.SIGALRM, too_long)
    accepted = 0
    try:
        for seed in seeds:
            root = tmp_path / str(seed)
            root.mkdir()
            signal.alarm(20)
            accepted += run(seed, root)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    assert 0.05 < accepted / len(seeds) < 0.95  # the mutations are neither harmless nor hopeless


def test_some_mutated_files(tmp_path):
    _many(range(10), tmp_path)


@pytest.mark.slow
def test_mutated_files(tmp_path):
    _many(range(1000, 1500), tmp_path)
