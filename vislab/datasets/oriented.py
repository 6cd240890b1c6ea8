"""Base class of datasets with rotated or horizontal boxes in files of their own: aerial images."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

from mmengine.logging import print_log

from vislab.datasets.base import BaseDataset
from vislab.datasets.class_list import checked_names, given_classes, loose_name
from vislab.datasets.label_share import check_share, choose_share
from vislab.datasets.object_boxes import Entry, Problems, to_instances
from vislab.errors import ConfigError, DataError, check_choice
from vislab.io.images import read_size


class AnnotatedImage(NamedTuple):
    """One image of a set: its unique name, path, (height, width) or None to read them from the file, and objects.

    `entries` is None if the set has no labels.
    """

    name: str
    path: str
    size: tuple[int, int] | None
    entries: list[Entry] | None


class OrientedArguments(TypedDict, total=False):
    """Arguments of OrientedDataset that its subclasses pass on; see there."""

    classes: Sequence[str] | None
    label_share: float
    label_seed: int
    difficult: Literal["ignore", "use"]
    filter_empty: bool
    pipeline: Sequence[dict | Callable]
    metainfo: dict[str, Any] | None
    indices: int | Sequence[int] | None
    test_mode: bool
    lazy_init: bool


class OrientedDataset(BaseDataset):
    """Base class of datasets with boxes of objects; subclasses implement `read_annotations`.

    Records have img_id (the name of the image), img_path, height, width and instances, dicts of rbbox (cx, cy, w, h,
    theta; le90) or bbox (xyxy), label, ignore, area (None) and id. Labels are indices into `metainfo["classes"]` if
    set, else into the classes of the dataset; names are compared without case, spaces, hyphens and underscores, and
    files that number their classes name them in `classes`. Everything is checked when the dataset is built; all
    problems are named in one error, and boxes without area are skipped with a warning.

    Args:
        data_root: Folder of the dataset; may contain `$VISLAB_DATA`.
        ann_file, data_prefix: See BaseDataset.
        classes: Class names of the files. Default: those of the dataset.
        label_share: Use only this share of the images, in (0, 1]; see label_share.py. 0.01, 0.05, 0.1, 0.25 and 0.5
            of one seed contain each other.
        label_seed: Seed of the choice.
        difficult: Whether objects that the file marks as difficult are ignored (by losses and metrics) or used.
        filter_empty: Skip images without objects; ignored ones do not count.
        pipeline, metainfo, indices, test_mode, lazy_init: See BaseDataset.

    Raises:
        DataError: Files are missing, or the annotations are invalid.
    """

    def __init__(
        self,
        *,
        data_root: str,
        ann_file: str = "",
        data_prefix: Mapping[str, str] | None = None,
        classes: Sequence[str] | None = None,
        label_share: float = 1.0,
        label_seed: int = 0,
        difficult: Literal["ignore", "use"] = "ignore",
        filter_empty: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        name = type(self).__name__
        check_share(label_share, name)
        check_choice(f"{name}: difficult", difficult, ("ignore", "use"))
        own = self.METAINFO.get("classes") if classes is None else checked_names(classes, f"{name}: classes")
        if own is None:
            raise ConfigError(f"{name} needs classes=[...], the class names in the order of the numbers in the files")
        self.own_classes: tuple[str, ...] = tuple(own)
        if len({loose_name(c) for c in own}) < len(own):
            raise ConfigError(f"{name}: two of the classes {own} differ only in case, spaces or hyphens")
        self.label_share, self.label_seed = label_share, label_seed
        self.difficult, self.filter_empty = difficult, filter_empty
        if given_classes(metainfo, name) is None:
            metainfo = {**(metainfo or {}), "classes": self.own_classes}
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            data_prefix=data_prefix,
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def read_annotations(self, problems: Problems) -> list[AnnotatedImage]:
        """Return the images with their objects; problems of single objects and files are added to `problems`."""
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        name = type(self).__name__
        problems = Problems(f"{name} ({self.data_root})")
        images = self.read_annotations(problems)
        twice = next((n for n, count in Counter(image.name for image in images).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{name}: the image {twice} occurs twice in the annotations of {self.data_root}")
        sizes = [image.size or read_size(image.path) for image in images]
        entries = [image.entries or [] for image in images]
        instances = to_instances(entries, sizes, self._metainfo["classes"], problems)
        problems.refuse()
        records = [
            {"img_id": image.name, "img_path": image.path, "height": h, "width": w}
            | ({} if image.entries is None else {"instances": objects})
            for image, (h, w), objects in zip(images, sizes, instances, strict=True)
        ]
        if self.label_share == 1 or not records:
            return records
        chosen = choose_share([image.name for image in images], self.label_share, self.label_seed)
        listed = ", ".join(images[i].name for i in chosen[:20]) + (", ..." if len(chosen) > 20 else "")
        print_log(
            f"{name}: label_share={self.label_share:g}, label_seed={self.label_seed}: {len(chosen)} of {len(images)} "
            f"images are used: {listed}",
            logger="current",
        )
        return [records[i] for i in chosen]

    def filter_data(self) -> list[dict]:
        if not self.filter_empty:
            return self.data_list
        return [record for record in self.data_list if any(not i["ignore"] for i in record.get("instances", ()))]

    def ignores(self, difficult: bool) -> bool:
        """Return whether an object is ignored."""
        return difficult and self.difficult == "ignore"
