"""Datasets of color images and depth maps in a folder, paired by name."""

from collections.abc import Callable, Sequence
from typing import Any

from vislab.datasets.base import BaseDataset
from vislab.datasets.pairs import pair_by_pattern
from vislab.errors import DataError
from vislab.registry import DATASETS


@DATASETS.register_module()
class RGBDFolder(BaseDataset):
    """Color images and depth maps in a folder, paired by name; records have img_path and depth_path.

    The unit and invalid values of the depth files are set in LoadDepth.

    Args:
        data_root: Folder; may contain `$VISLAB_DATA`.
        color: Pattern of the color files with one "*" for the frame name ("**" also matches in subfolders).
        depth: Pattern of the depth files with the same wildcard.
        frames: Use frames start..stop - 1 in the order of their names, e.g. (0, 160) or (160, None). Split videos by
            range: neighboring frames are nearly identical, so a random split would put training images into the test
                set.
        pipeline: Transforms.
        metainfo: Additional metainfo.
        indices: Use the first n records, or the records with these indices.
        test_mode: See BaseDataset.
        lazy_init: Do not list the files yet.

    Raises:
        DataError: There are no frames, a color file has no depth file, or the range is empty.
    """

    def __init__(
        self,
        *,
        data_root: str,
        color: str = "*.color.jpg",
        depth: str = "*.depth.png",
        frames: Sequence[int | None] | None = None,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        self.color, self.depth = color, depth
        self.frames = slice(None) if frames is None else slice(*frames)
        super().__init__(
            data_root=data_root,
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        pairs = pair_by_pattern(self.data_root, self.color, self.depth)
        chosen = pairs[self.frames]
        if not chosen:
            raise DataError(
                f"frames={self.frames.start, self.frames.stop} selects none of the {len(pairs)} frames in "
                f"{self.data_root}"
            )
        return [{"img_path": image, "depth_path": depth} for _, image, depth in chosen]
