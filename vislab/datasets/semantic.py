"""Semantic segmentation: any folder of images and label images, and ADE20K, Cityscapes and CamVid in their own layouts.

A dataset knows how its label files are coded and puts that into each record (`seg_label_map`); LoadSemSeg applies it.
Nothing else shifts labels, so none is shifted twice.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vislab.datasets.base import BaseDataset
from vislab.datasets.class_list import checked_names, class_index, given_classes, warn_absent_classes
from vislab.datasets.pairs import pair_by_pattern, read_list
from vislab.datasets.semantic_classes import (
    ADE20K_CLASSES,
    CAMVID_CLASSES,
    CAMVID_PALETTE,
    CITYSCAPES_CLASSES,
    CITYSCAPES_IDS,
    CITYSCAPES_PALETTE,
)
from vislab.datasets.transforms.loading import refuse_many_classes
from vislab.errors import DataError
from vislab.registry import DATASETS


@DATASETS.register_module()
class SemSegFolder(BaseDataset):
    """Records of img_path and seg_map_path, paired by name or read from a list of "image labels" lines.

    Args:
        data_root: Folder; may contain `$VISLAB_DATA`.
        images: Pattern of the images below it, with one "*" for the name ("**": in subfolders too).
        labels: Pattern of the label images; the same name goes in for the "*".
        ann_file: A list with an image and a label path in each line, instead of the patterns.
        classes: Names, in the order of the class indices of the files.
        label_map: From each value a label file may hold to a class index or 255 (ignored); None: the values are the
            indices, with 255 ignored.
        metainfo: See BaseDataset. Where it gives `classes` besides the names above, labels become places in that list.
        pipeline, indices, test_mode, lazy_init: See BaseDataset.

    Raises:
        DataError: no images, an image without labels, a malformed list, more than 255 classes.
    """

    def __init__(
        self,
        *,
        data_root: str,
        images: str = "images/*.jpg",
        labels: str = "labels/*.png",
        ann_file: str = "",
        classes: Sequence[str] | None = None,
        label_map: Mapping[int, int] | None = None,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        self.images, self.labels = images, labels
        name = type(self).__name__
        own = self.METAINFO.get("classes") if classes is None else checked_names(classes, f"{name}: classes")
        given = given_classes(metainfo, name)
        for names in (own, given):
            refuse_many_classes(len(names or ()), name)
        names = own or given
        count = len(names) if names is not None else 255
        self.label_map = dict(label_map) if label_map is not None else {**{k: k for k in range(count)}, 255: 255}
        if own and given and own != given:
            places = {k: class_index(c, given, name) for k, c in enumerate(own)} | {255: 255}
            self.label_map = {value: places.get(k, k) for value, k in self.label_map.items()}
            warn_absent_classes(given, own, name)
        elif own:
            metainfo = {**(metainfo or {}), "classes": own}
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )
        if own and given and own != given and "palette" not in metainfo:
            self._metainfo.pop("palette", None)  # the colors of the classes in their own order

    def load_data_list(self) -> list[dict]:
        if self.ann_file:
            rows = read_list(self.ann_file, ("image", "labels"))
            pairs = [(str(Path(self.data_root, a)), str(Path(self.data_root, b))) for a, b, *_ in rows]
            missing = [path for pair in pairs for path in pair if not Path(path).is_file()]
            if missing:
                raise DataError(f"{self.ann_file} names {len(missing)} files that do not exist, first {missing[0]}")
        else:
            pairs = [pair[1:] for pair in pair_by_pattern(self.data_root, self.images, self.labels)]
        return [{"img_path": a, "seg_map_path": b} for a, b in pairs]

    def get_data_info(self, idx: int) -> dict:
        return {**super().get_data_info(idx), "seg_label_map": self.label_map}


@DATASETS.register_module()
class ADE20K(SemSegFolder):
    """ADE20K (ADEChallengeData2016): 20,210 training and 2,000 validation images, 150 classes.

    Label files hold 0 for "other" and 1..150 for the classes; here 0 becomes 255 (ignored) and k becomes k - 1. A file
    with 255 in it was shifted before and is refused.

    Args:
        data_root: Folder with images/ and annotations/; may contain `$VISLAB_DATA`.
        split: training | validation.
        pipeline, metainfo, indices, test_mode, lazy_init: See BaseDataset.
    """

    METAINFO = {"classes": ADE20K_CLASSES}

    def __init__(
        self,
        *,
        data_root: str,
        split: str = "training",
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        super().__init__(
            data_root=data_root,
            images=f"images/{split}/*.jpg",
            labels=f"annotations/{split}/*.png",
            label_map={0: 255, **{k + 1: k for k in range(len(ADE20K_CLASSES))}},
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )


@DATASETS.register_module()
class Cityscapes(SemSegFolder):
    """Cityscapes, fine labels: 2,975 training and 500 validation images of 1024x2048, 19 classes.

    Args:
        data_root: Folder with leftImg8bit/ and gtFine/; may contain `$VISLAB_DATA`.
        split: train | val.
        kind: "labelIds", the files that come with the set (34 ids), or "labelTrainIds", as its scripts make them.
        pipeline, metainfo, indices, test_mode, lazy_init: See BaseDataset.
    """

    METAINFO = {"classes": CITYSCAPES_CLASSES, "palette": CITYSCAPES_PALETTE}

    def __init__(
        self,
        *,
        data_root: str,
        split: str = "train",
        kind: str = "labelIds",
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        if kind not in ("labelIds", "labelTrainIds"):
            raise DataError(f"Cityscapes: kind={kind!r} is not labelIds or labelTrainIds")
        own = {k: k for k in range(len(CITYSCAPES_CLASSES))}
        super().__init__(
            data_root=data_root,
            images=f"leftImg8bit/{split}/**_leftImg8bit.png",
            labels=f"gtFine/{split}/**_gtFine_{kind}.png",
            label_map={**(CITYSCAPES_IDS if kind == "labelIds" else own), 255: 255},
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )


@DATASETS.register_module()
class CamVid(SemSegFolder):
    """CamVid in the 11-class form: lists of "image mask" lines, masks of ids 0..10 and 11 = void.

    Args:
        data_root: Folder; may contain `$VISLAB_DATA`.
        ann_file: The list, relative to data_root: train.txt, val.txt.
        pipeline, metainfo, indices, test_mode, lazy_init: See BaseDataset.
    """

    METAINFO = {"classes": CAMVID_CLASSES, "palette": CAMVID_PALETTE}

    def __init__(
        self,
        *,
        data_root: str,
        ann_file: str,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            label_map={**{k: k for k in range(len(CAMVID_CLASSES))}, len(CAMVID_CLASSES): 255},
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )
