"""Write frames to an .mp4 file with the frame times of the input video."""

import logging
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

logger = logging.getLogger(__name__)


class VideoWriter:
    """Writes RGB frames to an .mp4 file (H.264), all with the size of the first frame.

    The file is written under a temporary name and renamed when it is complete.

    Args:
        path: Path of the file, which is overwritten.
        rate: Frame rate of frames without a time.
        time_base: Unit of the frame times in seconds. Default: 1 / rate.
    """

    def __init__(self, path: Path, rate: Fraction | int = 25, time_base: Fraction | None = None) -> None:
        self.path, self.rate = path, Fraction(rate)
        self.time_base = time_base or 1 / self.rate
        self._partial = path.with_name(f".{path.stem}.partial.mp4")
        self._container = self._stream = None
        self._start: Fraction | None = None
        self._scaled = False  # whether a frame had another size than the first
        self._last = -1  # time of the last frame, in units of time_base

    def __enter__(self) -> "VideoWriter":
        return self

    def add(self, frame: np.ndarray, time: Fraction | None = None) -> None:
        """Append a frame (H, W, 3) uint8 RGB; odd sides lose their last row or column, as required by H.264.

        Frames of another size than the first are resized.

        Args:
            frame: The pixels.
            time: Time in seconds, relative to that of the first frame. Default: one frame after the last one.
        """
        if self._container is None:
            self._open(frame.shape)
        height, width = self._stream.height, self._stream.width
        if frame.shape != self._first and not self._scaled:
            self._scaled = True
            logger.warning(
                f"the frames of {self.path.name} change their size from {self._first[0]}x{self._first[1]} to "
                f"{frame.shape[0]}x{frame.shape[1]} (h x w): they are resized to the first one"
            )
        if frame.shape != self._first or min(frame.shape[:2]) < 2:
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
        step = max(1, round(1 / self.rate / self.time_base))
        picture.pts = self._last + step if self._last >= 0 else 0
        if time is not None:
            self._start = time if self._start is None else self._start
            picture.pts = round((time - self._start) / self.time_base)
        self._last = picture.pts = max(picture.pts, self._last + 1)  # times must increase
        picture.time_base = self.time_base
        self._container.mux(self._stream.encode(picture))

    def _open(self, shape: tuple[int, ...]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._partial), "w")
        # no B frames, with which the muxer computes the duration of videos with variable frame rate from decoding times
        self._stream = self._container.add_stream("libx264", rate=self.rate, options={"crf": "18", "bf": "0"})
        self._stream.height, self._stream.width = (max(2, side - side % 2) for side in shape[:2])
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = self.time_base
        self._first = shape

    def __exit__(self, kind: type | None, *exc: object) -> None:
        if self._container is None:
            return
        try:
            if kind is None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if kind is None:
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)
