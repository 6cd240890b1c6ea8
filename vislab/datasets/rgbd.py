"""Any folder of color images and depth maps, paired by name; frames of a video are split by range, never at random."""

from collections.abc import Callable, Sequence
from typing import Any

from vislab.datasets.base import BaseDataset
from vislab.datasets.pairs import pair_by_pattern
from vislab.errors import DataError
from vislab.registry import DATASETS


@DATASETS.register_module()
class RGBDFolder(BaseDataset):
    """Records of img_path and depth_path. What the depth values mean is said to LoadDepth (scale, invalid values).

    Args:
        data_root: Folder; may contain `$VISLAB_DATA`.
        color: Pattern of the color files below it, with one "*" for the frame's name ("**": in subfolders too).
        depth: Pattern of the depth files; the same name goes in for the "*".
        frames: Of the frames sorted by name, use positions start..stop - 1, as a slice: (0, 160), (160, None).
            Neighboring frames of a video show nearly the same: a random split would test on what was trained on.
        pipeline: Transforms.
        metainfo: Entries of metainfo.
        indices: Use the first n records, or the records with these indices.
        test_mode: See BaseDataset.
        lazy_init: Do not look into the folder yet.

    Raises:
        DataError: no frames, a color file without depth, or an empty range.
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
