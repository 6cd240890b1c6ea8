"""Depth datasets defined by file lists: NYU Depth v2 in the BTS layout, KITTI with Eigen's split."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vislab.datasets.base import BaseDataset
from vislab.datasets.pairs import read_list
from vislab.datasets.transforms.depth import kitti_window
from vislab.errors import DataError
from vislab.registry import DATASETS


class _DepthList(BaseDataset):
    """Base class: records of img_path, depth_path and focal, from lines "image depth focal"."""

    PREFIX: Mapping[str, str] = {}

    def __init__(
        self,
        *,
        data_root: str,
        ann_file: str,
        data_prefix: Mapping[str, str] | None = None,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            data_prefix={**self.PREFIX, **(data_prefix or {})},
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        records, without = [], 0
        for image, depth, *rest in read_list(self.ann_file, ("image", "depth")):
            if depth == "None":
                without += 1
                continue
            paths = (
                str(Path(self.data_prefix["img"], image.lstrip("/"))),
                str(self.depth_path(Path(self.data_prefix["depth"]), depth.lstrip("/"))),
            )
            if not records:  # checking every file of a large dataset takes minutes on a network file system
                missing = [path for path in paths if not Path(path).is_file()]
                if missing:
                    raise DataError(
                        f"{self.ann_file} does not match data_root={self.data_root!r}: its first line refers to "
                        f"{missing[0]}, which does not exist. data/README.md shows the expected layout."
                    )
            record = {"img_path": paths[0], "depth_path": paths[1]}
            if rest:
                try:
                    record["focal"] = float(rest[0])
                except ValueError:
                    raise DataError(f"{self.ann_file}: focal length {rest[0]!r} of {image} is not a number") from None
            records.append(record)
        self.without_depth = without
        return records

    def depth_path(self, folder: Path, name: str) -> Path:
        """Return the path of a depth file of the list."""
        return folder / name


@DATASETS.register_module()
class NYUDepth(_DepthList):
    """NYU Depth v2 as used by BTS and its successors: 24,231 training pairs ("sync"), 654 test pairs.

    The lists have lines "scene/rgb_00000.jpg scene/sync_depth_00000.png 518.8579"; a leading slash is removed. Depth
    files are 16-bit, in millimeters: LoadDepth(scale=0.001). The test pairs are created from the official .mat file by
    tools/dataset_converters/nyu_mat.py.

    Args:
        data_root: Folder; may contain `$VISLAB_DATA`.
        ann_file: The list, relative to data_root.
        data_prefix: Folders of `img` and `depth` below data_root. Default: {"img": "sync", "depth": "sync"}.
        pipeline, metainfo, indices, test_mode, lazy_init: See BaseDataset.

    Raises:
        DataError: The list is missing or malformed, or does not match the folder.
    """

    PREFIX = {"img": "sync", "depth": "sync"}


@DATASETS.register_module()
class KittiEigen(_DepthList):
    """KITTI with Eigen's split: 23,158 training pairs; 697 test images, of which the 45 without depth are skipped.

    The lists have lines "2011_09_26/<drive>/image_02/data/0000000000.png <drive>/proj_depth/groundtruth/image_02/
    0000000000.png 721.5377", with None for a missing depth file. Depth files are 16-bit, in 1/256 meters, 0 = unknown:
    LoadDepth(scale=1 / 256), 0.00390625 in a config. Drives are directly below the depth folder, or in train/ and val/
    as in the official archive.

    The arguments are those of NYUDepth; data_prefix defaults to {"img": "raw", "depth": "data_depth_annotated"}.

    Raises:
        DataError: The list is missing or malformed, or does not match the folder.
    """

    PREFIX = {"img": "raw", "depth": "data_depth_annotated"}

    def depth_path(self, folder: Path, name: str) -> Path:
        drive = name.split("/", 1)[0]
        places = self.__dict__.setdefault("_places", {})
        if drive not in places:
            candidates = [folder, folder / "train", folder / "val"]
            places[drive] = next((c for c in candidates if (c / drive).is_dir()), folder)
        return places[drive] / name

    def fit_frame(self, img: np.ndarray) -> np.ndarray:
        """Crop an image (H, W, 3) to the window used by the evaluation protocol; called for images given to predict."""
        top, left, height, width = kitti_window(img.shape[:2])
        return img[top : top + height, left : left + width]
