"""Semantic segmentation datasets: folders of images and label images, ADE20K, Cityscapes and CamVid.

Each dataset adds the mapping from the values of its label files to class indices to its records (`seg_label_map`), and
LoadSemSeg applies it. Labels are not shifted anywhere else, so they cannot be shifted twice.
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
from vislab.errors import DataError, check_choice
from vislab.registry import DATASETS


@DATASETS.register_module()
class SemSegFolder(BaseDataset):
    """Images and label images in a folder, paired by name or read from a list; records have img_path and seg_map_path.

    Args:
        data_root: Folder; may contain `$VISLAB_DATA`.
        images: Pattern of the images with one "*" for the name ("**" also matches in subfolders).
        labels: Pattern of the label images with the same wildcard.
        ann_file: List file with an image and a label path per line, instead of the patterns.
        classes: Class names, in the order of the class indices in the files.
        label_map: Class index, or 255 (ignored), by value in the label files. Default: values are class indices, 255 is
            ignored.
        metainfo: See BaseDataset. If it has `classes` in addition to the names above, labels are indices into that
            list.
        pipeline, indices, test_mode, lazy_init: See BaseDataset.

    Raises:
        DataError: There are no images, an image has no labels, the list is malformed, or there are more than 255
            classes.
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
            self._metainfo.pop("palette", None)  # the palette is in the order of the original classes

    def load_data_list(self) -> list[dict]:
        if self.ann_file:
            rows = read_list(self.ann_file, ("image", "labels"))
            pairs = [(str(Path(self.data_root, a)), str(Path(self.data_root, b))) for a, b, *_ in rows]
            missing = [path for pair in pairs for path in pair if not Path(path).is_file()]
            if missing:
                raise DataError(
                    f"{self.ann_file} refers to {len(missing)} files that do not exist, the first is {missing[0]}"
                )
        else:
            pairs = [pair[1:] for pair in pair_by_pattern(self.data_root, self.images, self.labels)]
        return [{"img_path": a, "seg_map_path": b} for a, b in pairs]

    def get_data_info(self, idx: int) -> dict:
        return {**super().get_data_info(idx), "seg_label_map": self.label_map}


@DATASETS.register_module()
class ADE20K(SemSegFolder):
    """ADE20K (ADEChallengeData2016): 20,210 training and 2,000 validation images, 150 classes.

    Label files have 0 for "other" and 1..150 for the classes; 0 is mapped to 255 (ignored) and k to k - 1. Files with
    the value 255, which were shifted before, are an error.

    Args:
        data_root: Folder with images/ and annotations/; may contain `$VISLAB_DATA`.
        split: "training" or "validation".
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
        split: "train" or "val".
        kind: "labelIds", the files of the dataset (34 ids), or "labelTrainIds", as created by its scripts.
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
        check_choice("Cityscapes: kind", kind, ("labelIds", "labelTrainIds"))
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
    """CamVid with 11 classes: lists of "image mask" lines, masks with ids 0..10, 11 = void.

    Args:
        data_root: Folder; may contain `$VISLAB_DATA`.
        ann_file: List file relative to data_root, such as train.txt or val.txt.
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
