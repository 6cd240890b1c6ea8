"""Download the public datasets of the published configs whose terms allow it, with the layout of data/README.md."""

import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vislab.errors import DataError, did_you_mean
from vislab.io.download import fetch, file_name, inner_path, is_offline

BY_HAND = "pass its path with --source"
_COCO = "http://images.cocodataset.org"
_BTS = "https://raw.githubusercontent.com/cleinc/bts/5e3406b35d1497b2e55d2dd600524d1f4efacaed/train_test_inputs"


@dataclass(frozen=True)
class FullSet:
    """A public dataset.

    Attributes:
        place: Its folder.
        about: Content and size of the download, for lists.
        terms: License or terms of use.
        archives: Addresses of .zip files, unpacked into the folder; those inside them too.
        within: Leading folder of the names in the archives, which is left out.
        files: Addresses of plain files and their SHA256 by name in the folder.
        torchvision: Name of the class of torchvision that downloads it.
    """

    place: str
    about: str
    terms: str
    archives: Sequence[str] = ()
    within: str = ""
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    torchvision: str = ""


FULL_SETS = {
    "cifar10_full": FullSet("cifar10", "CIFAR-10, 170 MB", "none stated", torchvision="CIFAR10"),
    "cifar100": FullSet("cifar100", "CIFAR-100, 169 MB", "none stated", torchvision="CIFAR100"),
    "fashion_mnist": FullSet("fashion_mnist", "Fashion-MNIST, 31 MB", "MIT", torchvision="FashionMNIST"),
    "coco2017": FullSet(
        "coco",
        "COCO 2017 with instances and panoptic labels, 21 GB",
        "COCO's terms of use",
        archives=(
            f"{_COCO}/zips/train2017.zip",
            f"{_COCO}/zips/val2017.zip",
            f"{_COCO}/annotations/annotations_trainval2017.zip",
            f"{_COCO}/annotations/panoptic_annotations_trainval2017.zip",
        ),
    ),
    "ade20k": FullSet(
        "ADEChallengeData2016",
        "ADE20K, 150 classes, 1 GB",
        "non-commercial research (ADE20K)",
        archives=("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
        within="ADEChallengeData2016",
    ),
    "nyu_lists": FullSet(
        "nyu",
        "lists of the images of NYU Depth v2, 2 MB; images by hand",
        "GPL-3.0 (lists of BTS)",
        files={
            "nyu_train.txt": (
                f"{_BTS}/nyudepthv2_train_files_with_gt.txt",
                "66e2beb718a58c5c946c169f6e70cc6ae166ddd19f5618266fff52ff7443e0e9",
            ),
            "nyu_test.txt": (
                f"{_BTS}/nyudepthv2_test_files_with_gt.txt",
                "e92c191d5835a22589b843c11b80cd7235d5bd0d4136e42a6debcea4511bf906",
            ),
        },
    ),
}


def prepare_full(name: str, root: str | Path, source: str | Path | None = None) -> Path:
    """Download a dataset into its folder in `root`, unless it exists; returns the folder.

    Archives are kept in `root`/downloads until all are unpacked, and an interrupted download goes on at the next call.

    Args:
        name: A key of FULL_SETS.
        root: The folder that configs call `data`.
        source: A folder with the archives, downloaded by other means, or the only archive. They are kept.

    Raises:
        DataError: No such dataset; a file cannot be downloaded, is damaged, or would be written outside of the folder;
            or the disk is too small.
    """
    if name not in FULL_SETS:
        raise DataError(f"there is no dataset {name!r}{did_you_mean(name, FULL_SETS)}")
    full, root = FULL_SETS[name], Path(root).expanduser()
    target = root / full.place
    if full.files:  # lists stand beside images that are already there
        for file, (address, sha256) in full.files.items():
            fetch(address, target / file, sha256=sha256)
        return target
    if target.exists():
        return target
    building, downloads = root / f".{name}.building", root / "downloads"
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        if full.torchvision:
            _download_with_torchvision(full.torchvision, building)
        archives = [
            _given(source, address) or fetch(address, downloads / file_name(address), by_hand=BY_HAND)
            for address in full.archives
        ]
        for archive in archives:
            try:
                unpack(archive, building, within=full.within)
            except DamagedArchive as error:
                if archive.parent != downloads:
                    raise
                archive.unlink()
                raise DataError(f"{error}. It was removed: run the command again") from error
        os.replace(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    for archive in archives:
        if archive.parent == downloads:
            archive.unlink()
    return target


class DamagedArchive(DataError):
    """An archive cannot be read."""


def unpack(archive: Path, folder: Path, *, within: str = "") -> None:
    """Unpack a .zip file, and the .zip files in it into their own folders.

    Args:
        archive: The file.
        folder: Folder for its content.
        within: Leading folder of the names, which is left out.

    Raises:
        DamagedArchive: The file is damaged.
        DataError: A name leads out of the folder, or the disk is too small.
    """
    inner = []
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            targets = [folder / _inner_path(member.filename, archive, within) for member in members]
            needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
            if needed > free:
                raise DataError(
                    f"{archive} needs {needed:,} bytes unpacked, and {folder} has {free:,}: free some space"
                )
            for member, target in zip(members, targets, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                inner += [target] if target.suffix == ".zip" else []
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DamagedArchive(f"{archive} is damaged ({error})") from error
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked to {folder}: {error}") from error
    for target in inner:
        unpack(target, target.parent)
        target.unlink()


def _inner_path(name: str, archive: Path, within: str) -> PurePosixPath:
    """Return the path of a member below the folder; raises DataError if it leads out."""
    path = inner_path(name, str(archive))
    return path.relative_to(within) if len(path.parts) > 1 and path.parts[0] == within else path


def _given(source: str | Path | None, address: str) -> Path | None:
    """Return the archive that was downloaded by other means, if there is one."""
    if source is None:
        return None
    path = Path(source).expanduser()
    path = path / file_name(address) if path.is_dir() else path
    if path.name != file_name(address) or not path.is_file():
        raise DataError(f"--source: {source} is not {file_name(address)}, and no folder with this file")
    return path


def _download_with_torchvision(name: str, folder: Path) -> None:
    import torchvision.datasets  # imported late: takes a second

    if is_offline():
        raise DataError(f"VISLAB_OFFLINE is set: copy torchvision's files of {name} to the folder (data/README.md)")
    try:
        getattr(torchvision.datasets, name)(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{name} cannot be downloaded: {error}. Check the network, and run the command again"
        ) from error
