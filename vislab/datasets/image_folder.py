"""Image classification datasets with one folder per class, such as ImageNet."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vislab.datasets.class_list import checked_names, class_index, warn_absent_classes
from vislab.datasets.in_memory import InMemoryImages
from vislab.errors import DataError, did_you_mean
from vislab.io.archives import list_members, split_archive
from vislab.io.images import read_rgb
from vislab.io.listing import IMAGE_SUFFIXES, choose_images, list_files
from vislab.registry import DATASETS


@DATASETS.register_module()
class ImageFolder(InMemoryImages):
    """Images under `data_root/split/CLASS/`, at any depth below the class folder.

    Records have img_path and label. Labels are indices into `metainfo["classes"]` if set, else into `classes`, else
    into the class folders in alphabetical order (ImageNet's order of synset ids). `metainfo["classes"]` may contain
    classes without a folder; a folder that is not in the list is an error.

    Args:
        data_root: Folder of the dataset, or a .zip file, which is read without unpacking; may contain `$VISLAB_DATA`.
        split: Folder below data_root, e.g. "train"; may be empty.
        classes: Names of the class folders in label order; other folders are skipped. Default: all.
        cache: Decode all images when the dataset is built and keep them in memory; for small images of one size.
        pipeline: Transforms.
        metainfo: Additional metainfo.
        indices: Use n images, evenly spaced over the list, which is sorted by class; or those with these indices.
        test_mode: See BaseDataset.
        lazy_init: Do not list the files yet.

    Raises:
        DataError: The folder is missing or has no class folders, a class has no folder or no images, or there are fewer
            than `indices` images.
    """

    def __init__(
        self,
        *,
        data_root: str,
        split: str = "",
        classes: Sequence[str] | None = None,
        cache: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        self.split = split
        self.classes = None if classes is None else checked_names(classes, "ImageFolder: classes")
        self.cache = cache
        super().__init__(
            data_root=data_root,
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        folder = Path(self.data_root, self.split)
        by_class = _images_by_class(folder)
        found = sorted(by_class)
        if not found:
            raise DataError(
                f"ImageFolder: {folder} contains no class folders; expected {folder}/CLASS/*.jpg. Check data_root, "
                "split."
            )
        used = found if self.classes is None else self.classes
        for name in used:
            if name not in found:
                raise DataError(f"ImageFolder: {folder} has no class folder {name!r}{did_you_mean(name, found)}")
        classes = tuple(used) if self.given_classes is None else self.given_classes
        if self.given_classes is not None:
            warn_absent_classes(classes, used, f"ImageFolder: {folder}")
        records = []
        for name in used:
            label = class_index(name, classes, f"ImageFolder: {folder}")
            paths = sorted(by_class[name])
            if not paths:
                raise DataError(
                    f"ImageFolder: class folder {folder / name} contains no images ({', '.join(IMAGE_SUFFIXES)}): add "
                    "images, remove it, or leave it out of classes=[...]"
                )
            records += [{"img_path": path, "label": label} for path in paths]
        self._metainfo["classes"] = classes
        return [record | {"row": row} for row, record in enumerate(records)] if self.cache else records

    def _get_unserialized_subset(self, indices: int | Sequence[int]) -> list[dict]:
        total = len(self.data_list)
        if isinstance(indices, int):
            if not 1 <= indices <= total:
                raise DataError(f"ImageFolder: indices={indices}, but {self.data_root}/{self.split} has {total} images")
            indices = [i * total // indices for i in range(indices)]  # the first ones are of one class
        return super()._get_unserialized_subset(indices)

    def full_init(self) -> None:
        if not self._fully_initialized:
            super().full_init()
            if self.cache:
                self.load_images(read_rgb)


def _images_by_class(folder: Path) -> dict[str, list[str]]:
    """Return the paths of all images below each class folder, in a folder or inside a .zip file."""
    inside = split_archive(folder)
    if inside is None:
        if not folder.is_dir():
            raise DataError(
                f"ImageFolder: {folder} is not a folder; expected a folder with one folder per class. Check data_root "
                "and split."
            )
        try:
            entries = [entry for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]
        except OSError as error:
            raise DataError(f"ImageFolder: cannot list {folder}: {error.strerror or error}.") from error
        return {entry.name: choose_images(list_files(entry.path), entry.path) for entry in entries}
    by_class: dict[str, list[str]] = {}
    for name in list_members(*inside):
        parts = name.split("/")
        if len(parts) > 1 and not any(part[:1] == "." for part in parts):
            by_class.setdefault(parts[0], []).append(f"{folder}/{name}")
    return {name: choose_images(paths, f"{folder}/{name}") for name, paths in by_class.items()}
