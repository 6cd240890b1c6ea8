"""Read .hnv files: check each part before it is decoded, weights of segments, embeddings of any frame."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import prod
from pathlib import Path

import numpy as np

from vislab.errors import DataError
from vislab.systems.hnerv.codec.content import Quantized
from vislab.systems.hnerv.codec.entropy import decode
from vislab.systems.hnerv.codec.layout import (
    FOOTER_BYTES,
    MAX_HEADER,
    Coding,
    Part,
    SegmentHead,
    crc,
    section_shapes,
    symbols_crc,
    unpack_footer,
    unpack_header,
    unpack_table,
)
from vislab.systems.hnerv.codec.numbers import Reader


class HnvFile:
    """A .hnv file opened for reading; a context manager.

    Attributes:
        path: Path of the file.
        info: Facts about the video.
        entries: The segment table.
        size: Size of the file in bytes.

    Args:
        path: Path of the file.

    Raises:
        DataError: The file is missing, not a .hnv file, or its headers are damaged. Further parts are checked when they
            are read.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            self._file = open(self.path, "rb")  # noqa: SIM115
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        try:
            with self._told():
                self._read_frame()
        except BaseException:
            self.close()
            raise
        self._heads: dict[int, SegmentHead] = {}

    def _read_frame(self) -> None:
        """Read the file header and the segment table."""
        self.size = self._file.seek(0, os.SEEK_END)
        if self.size < FOOTER_BYTES:
            raise DataError(f"it has only {self.size} bytes")
        beginning = self._take(0, min(self.size, 2 * MAX_HEADER))
        self.info, header_length = unpack_header(beginning)
        table_length, checksum = unpack_footer(self._take(self.size - FOOTER_BYTES, FOOTER_BYTES))
        table_start = self.size - FOOTER_BYTES - table_length
        if table_start < header_length:
            raise DataError("its segment table is longer than the file")
        self.entries = unpack_table(self._take(table_start, table_length), checksum, beginning[:header_length])
        self._offsets = [header_length, *accumulate((e.length for e in self.entries), initial=header_length)][1:]
        if self._offsets[-1] != table_start:
            raise DataError(f"its segments have {self._offsets[-1]} bytes, but the table is at {table_start}")
        if not self.entries:
            raise DataError("it has no segments")
        self._first_frames = list(accumulate((e.frames for e in self.entries), initial=0))

    def __enter__(self) -> "HnvFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def frames(self) -> int:
        """Number of frames of all segments."""
        return self._first_frames[-1]

    @property
    def end_time(self) -> int:
        """Time after the last frame in units of `info.base`."""
        return self.head(len(self.entries) - 1).times[-1] + self.info.interval

    @property
    def bits_per_pixel(self) -> float:
        """All bits of the file per pixel of the video."""
        return 8 * self.size / (self.frames * prod(self.info.size))

    def locate(self, frame: int) -> tuple[int, int]:
        """Return the segment of a frame, and the number of the frame in it.

        Raises:
            IndexError: There is no such frame.
        """
        if not 0 <= frame < self.frames:
            raise IndexError(f"frame {frame} of {self.path}, which has frames 0 to {self.frames - 1}")
        segment = bisect_right(self._first_frames, frame) - 1
        return segment, frame - self._first_frames[segment]

    def times(self) -> Iterator[int]:
        """Yield the times of all frames in units of `info.base`."""
        for i in range(len(self.entries)):
            yield from self.head(i).times

    def head(self, segment: int) -> SegmentHead:
        """Return the header of a segment.

        Raises:
            DataError: It is damaged or impossible.
        """
        if segment not in self._heads:
            with self._told(f"segment {segment}"):
                entry = self.entries[segment]
                if entry.head_length > entry.length:
                    raise DataError("its header is longer than itself")
                data = self._take(self._offsets[segment], entry.head_length)
                if crc(data) != entry.head_crc:
                    raise DataError("the checksum of its header is wrong")
                head = SegmentHead.unpack(data, self.info)
                parts = sum(part.length for part in (head.weights, *head.sections))
                if head.frames != entry.frames or entry.head_length + parts != entry.length:
                    raise DataError("its header does not agree with the segment table")
                if head.residual and segment == 0:
                    raise DataError("it needs the weights of a segment before it")
                self._heads = {segment: head}  # one at a time: those of long videos are large
        return self._heads[segment]

    def weights(self, segment: int) -> dict[str, Quantized]:
        """Return the weights of a segment as stored, by name.

        Raises:
            DataError: They are damaged.
        """
        head = self.head(segment)
        with self._told(f"the weights of segment {segment}"):
            start = self._offsets[segment] + self.entries[segment].head_length
            reader = Reader(self._take_part(start, head.weights), "part with the weights")
            shapes = head.spec.weight_shapes()
            codings = {name: Coding.unpack(reader, shape, [shape]) for name, shape in shapes.items()}
            parts = [(shape, codings[name].models[0]) for name, shape in shapes.items()]
            symbols = decode(reader.data[reader.position :], parts)
            _compare(symbols, head.weights)
            return {
                name: Quantized(array, codings[name].step, codings[name].offset)
                for name, array in zip(shapes, symbols, strict=True)
            }

    def embeddings(self, segment: int, section: int) -> Quantized:
        """Return the embeddings of a section of a segment, (frames, d, h, w).

        Raises:
            DataError: They are damaged.
        """
        head = self.head(segment)
        with self._told(f"section {section} of segment {segment}"):
            before = sum(part.length for part in (head.weights, *head.sections[:section]))
            start = self._offsets[segment] + self.entries[segment].head_length + before
            data = self._take_part(start, head.sections[section])
            frames = min(head.section, head.frames - section * head.section)
            shapes = section_shapes(head.spec, head.embedding, frames)
            symbols = np.concatenate(decode(data, list(zip(shapes, head.coding.models, strict=False))))
            if head.differences:
                symbols = np.cumsum(symbols, axis=0, dtype=np.int32)
            _compare([symbols], head.sections[section])
            return Quantized(symbols, head.coding.step, head.coding.offset)

    def verify(self) -> None:
        """Read and decode every part.

        Raises:
            DataError: One is damaged.
        """
        time = None
        for segment in range(len(self.entries)):
            head = self.head(segment)
            if time is not None and head.times[0] < time:
                raise DataError(f"{self.path}: segment {segment} begins before the end of the one before")
            time = head.times[-1] + 1
            self.weights(segment)
            for section in range(len(head.sections)):
                self.embeddings(segment, section)

    def _take_part(self, start: int, part: Part) -> bytes:
        data = self._take(start, part.length)
        if crc(data) != part.bytes_crc:
            raise DataError("the checksum is wrong")
        return data

    def _take(self, start: int, count: int) -> bytes:
        self._file.seek(start)
        data = self._file.read(count)
        if len(data) != count:
            raise DataError(f"it ends at {start + len(data)} while {count} bytes are read from {start}")
        return data

    @contextmanager
    def _told(self, part: str = "") -> Iterator[None]:
        """Put the path and the part before messages."""
        try:
            yield
        except DataError as error:
            what = f"{part}: " if part else ""
            raise DataError(f"{self.path} is not a valid .hnv file: {what}{error}. Copy or encode it again.") from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from error


def _compare(symbols: Sequence[np.ndarray], part: Part) -> None:
    if symbols_crc(symbols) != part.symbols_crc:
        raise DataError("the decoded numbers do not have the stored checksum")
