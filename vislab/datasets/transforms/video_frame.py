"""Transform that takes the images of a dataset from a video of them."""

import os
from pathlib import Path

import cv2
import numpy as np

from vislab.errors import DataError
from vislab.io.images import read_size
from vislab.io.listing import list_images
from vislab.io.paths import expand_path
from vislab.io.video import read_video
from vislab.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadVideoFrame:
    """Take the image from a video of the images in its folder, e.g. the .hnv file that `hnerv.py encode FOLDER` wrote.

    The number of the frame is the place of the image among the images of its folder in natural order, as `encode`
    numbers them. A video of another size is resized to the size of the image. LoadImage after it keeps the frame, so
    that the labels of the images evaluate a model on the decoded video. The video is decoded at the first use in a
    process and kept in memory as uint8. Records that have an image already, as in predictions, are not changed.

    Required keys: img_path or img.
    Modified keys: img (added).

    Args:
        source: Video file; may contain `$VISLAB_DATA`.

    Raises:
        DataError: The video is missing or damaged, or has another number or shape of frames than the folder has images.
    """

    pipeline_stage = -1  # before LoadImage; read by the config check

    def __init__(self, *, source: str) -> None:
        self.source = source
        self._frames: list[np.ndarray] = []
        self._places: dict[str, dict[str, int]] = {}

    @classmethod
    def check_arguments(cls, *, source: str) -> None:
        """Raise DataError if the video does not exist, without reading it."""
        _ = cls(source=source).path

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
        if "img" in results:
            return results
        image = results["img_path"]
        folder, name = os.path.split(image)
        if folder not in self._places:
            self._places[folder] = self._number(folder)
        number = self._places[folder].get(name)
        if number is None:
            raise DataError(f"LoadVideoFrame: {image} is not in its folder, whose images are the frames")
        return {**results, "img": self._fit(self._frames[number], read_size(image), image)}

    def _fit(self, frame: np.ndarray, size: tuple[int, int], image: str) -> np.ndarray:
        """Return the frame in (height, width) of its image, as a copy."""
        (height, width), (full_height, full_width) = frame.shape[:2], size
        rounding = min(abs(height - full_height * width / full_width), abs(width - full_width * height / full_height))
        if rounding > 1:
            raise DataError(
                f"LoadVideoFrame: the frames of {self.path} are {height}x{width} (h x w), and {image} is "
                f"{full_height}x{full_width}, of another shape: encode the same folder"
            )
        if frame.shape[:2] == size:
            return frame.copy()
        return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_CUBIC)

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
