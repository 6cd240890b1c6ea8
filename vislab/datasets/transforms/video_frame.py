"""Transform that takes the images of a dataset from a video of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vislab.errors import ConfigError, DataError
from vislab.io.listing import list_images
from vislab.io.paths import expand_path
from vislab.io.video import read_video
from vislab.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadVideoFrame:
    """Take the image from a video of the images in its folder, e.g. the .hnv file that `hnerv.py encode FOLDER` wrote.

    The number of the frame is the place of the image among the images of its folder in natural order, as `encode`
    numbers them. LoadImage after it keeps the frame, so that the labels of the images evaluate a model on the decoded
    video. The video is decoded at the first use in a process and kept in memory as uint8.

    Required keys: img_path.
    Modified keys: img (added).

    Args:
        source: Video file; may contain `$VISLAB_DATA`.
        size: (height, width) to which frames are resized, if the video is smaller or larger than the labels.

    Raises:
        DataError: The video is missing or damaged, or has another number of frames than the folder has images.
    """

    pipeline_stage = 0  # read by the config check
    needs_labels = True  # predictions take the image that they are given

    def __init__(self, *, source: str, size: Sequence[int] | None = None) -> None:
        if size is not None and (len(size) != 2 or not all(isinstance(side, int) and side >= 1 for side in size)):
            raise ConfigError(f"LoadVideoFrame: size={size!r} must be (height, width) in pixels, or None")
        self.source = source
        self.size = None if size is None else tuple(size)
        self._frames: list[np.ndarray] = []
        self._places: dict[str, dict[str, int]] = {}

    @classmethod
    def check_arguments(cls, **arguments: Any) -> None:
        """Raise the errors of the constructor, and DataError if the video does not exist, without reading it."""
        _ = cls(**arguments).path

    @property
    def path(self) -> str:
        """The video file.

        Raises:
            DataError: It does not exist.
        """
        path = expand_path(self.source, "LoadVideoFrame: source")
        if not os.path.isfile(path):
            raise DataError(
                f"LoadVideoFrame: the video {path} does not exist (looked in {os.getcwd()}). Make it from the images: "
                f"vislab hnerv encode FOLDER {path}"
            )
        return path

    def __call__(self, results: dict) -> dict:
        folder, name = os.path.split(results["img_path"])
        if folder not in self._places:
            self._places[folder] = self._number(folder)
        number = self._places[folder].get(name)
        if number is None:
            raise DataError(f"LoadVideoFrame: {results['img_path']} is not in its folder, whose images are the frames")
        frame = self._frames[number]
        if self.size is not None and frame.shape[:2] != self.size:
            frame = cv2.resize(frame, self.size[::-1], interpolation=cv2.INTER_CUBIC)
        return {**results, "img": frame.copy()}

    def _number(self, folder: str) -> dict[str, int]:
        """Return the number of the frame by the name of the image."""
        path = self.path
        if not self._frames:
            self._frames = list(read_video(path))
        names = [image.name for image in list_images(Path(folder))]
        if len(names) != len(self._frames):
            raise DataError(
                f"LoadVideoFrame: {path} has {len(self._frames)} frames, and {folder} has {len(names)} images: "
                "encode the same folder"
            )
        return {name: number for number, name in enumerate(names)}
