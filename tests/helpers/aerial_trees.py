"""Small aerial datasets in the published layouts, with one rotated box per line of text: DIOR, HIT-UAV, DOTA."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vislab.structures import rotated_boxes as rb

BOX = (40.0, 30.0, 30.0, 12.0, 0.4)
CORNER_TAGS = ("left_top", "right_top", "right_bottom", "left_bottom")


def write_picture(path: Path, size: tuple[int, int] = (64, 96), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(coarse, size[::-1]))


def corners(box: Sequence[float] = BOX) -> list[float]:
    return rb.to_dota(np.array(box)).tolist()


def robndbox(box: Sequence[float] = BOX, dialect: str = "corners") -> str:
    """The XML of a rotated box as in DIOR-R ("corners"), as in roLabelImg ("center"), or of its hull ("upright")."""
    if dialect == "upright":
        values = zip(("xmin", "ymin", "xmax", "ymax"), rb.rboxes_to_hboxes(np.array(box)).tolist(), strict=True)
        return "<bndbox>" + "".join(f"<{key}>{value:.0f}</{key}>" for key, value in values) + "</bndbox>"
    if dialect == "center":
        values = zip(("cx", "cy", "w", "h", "angle"), box, strict=True)
    else:
        points = np.array(corners(box)).reshape(4, 2)
        values = [(f"{c}_{tag}", v) for tag, point in zip(CORNER_TAGS, points, strict=True)
                  for c, v in zip("xy", point, strict=True)]  # fmt: skip
    return "<robndbox>" + "".join(f"<{key}>{value:.6f}</{key}>" for key, value in values) + "</robndbox>"


def dior_xml(objects: Sequence[tuple[str, str]], size: tuple[int, int] = (64, 96), difficult: int = 0) -> bytes:
    """An XML file with (class name, box XML) objects, with the line ends of the published files."""
    lines = ["<annotation>", f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"]
    for name, box in objects:
        lines += ["<object>", "<type>robndbox</type>", f"<name>{name}</name>", f"<difficult>{difficult}</difficult>"]
        lines += [box, "<angle>1</angle>", "</object>"]
    return "\r\n".join([*lines, "</annotation>", ""]).encode()


def make_dior(root: Path, objects: Sequence[tuple[str, str]] = (), *, size: tuple[int, int] = (64, 96)) -> Path:
    """Two images in each of train, val and test; the first one of train has the `objects`, the others a ship."""
    names = {"train": ("00001", "00002"), "val": ("00003", "00004"), "test": ("11726", "11727")}
    (root / "ImageSets/Main").mkdir(parents=True)
    for split, ids in names.items():
        (root / f"ImageSets/Main/{split}.txt").write_bytes("".join(f"{i}\r\n" for i in ids).encode())
        for name in ids:
            folder = "JPEGImages-test" if split == "test" else "JPEGImages-trainval"
            write_picture(root / folder / f"{name}.jpg", size)
            for kind, dialect in (("Oriented", "corners"), ("Horizontal", "upright")):
                path = root / f"Annotations/{kind} Bounding Boxes/{name}.xml"
                path.parent.mkdir(parents=True, exist_ok=True)
                mine = objects if name == "00001" and objects else [("ship", robndbox(dialect=dialect))]
                path.write_bytes(dior_xml(mine, size))
    return root


def make_hit_uav(
    root: Path, boxes: Sequence[Sequence[float]] = (BOX,), *, count: int = 4, split: str = "train"
) -> Path:
    """`count` images with the `boxes`, one of each category in turn, the last image without."""
    names = ("Person", "Car", "Bicycle", "OtherVehicle", "DontCare")
    images = [{"id": 7 + i, "width": 96, "height": 64, "filename": f"{i}.jpg"} for i in range(count)]
    for image in images:
        write_picture(root / split / image["filename"], seed=image["id"])
    annotations = [
        {"image_id": image["id"], "category_id": k % 5, "bbox": list(box), "difficult": False}
        for image in images[:-1]
        for k, box in enumerate(boxes)
    ]
    content = {
        "images": images,
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [{"id": i, **annotation} for i, annotation in enumerate(annotations)],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / f"annotations/{split}.json").write_text(json.dumps(content))
    return root


def make_corner_text(
    root: Path, lines: Sequence[str], *, count: int = 3, suffix: str = ".jpg", split: str = "", labels: str = "labelTxt"
) -> Path:
    """`count` images with a text file each: the first one has the `lines`, the last one none."""
    images, texts = root / "images" / split, root / labels / split
    texts.mkdir(parents=True)
    for i in range(count):
        write_picture(images / f"P{i:04d}{suffix}", seed=i)
        text = "" if i == count - 1 else "\r\n".join([*(lines if i == 0 else lines[-1:]), ""])
        (texts / f"P{i:04d}.txt").write_bytes(text.encode())
    return root


def dota_line(box: Sequence[float] = BOX, name: str = "ship", difficult: int = 0) -> str:
    return " ".join([*(f"{value:.3f}" for value in corners(box)), name, str(difficult)])


def fraction_line(box: Sequence[float] = BOX, label: int = 0, size: tuple[int, int] = (64, 96)) -> str:
    points = np.array(corners(box)).reshape(4, 2) / (size[1], size[0])
    return " ".join([str(label), *(f"{value:.6f}" for value in points.ravel())])
