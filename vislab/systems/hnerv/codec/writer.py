"""Write .hnv files: code segments, write them with a table at the end, append segments to a file."""

import os
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from vislab.errors import DataError
from vislab.io.atomic import write_atomically
from vislab.systems.hnerv.codec.content import Quantized, Segment, VideoInfo
from vislab.systems.hnerv.codec.entropy import encode, fit_model
from vislab.systems.hnerv.codec.layout import (
    Coding,
    Entry,
    Part,
    SegmentHead,
    crc,
    pack_header,
    pack_table,
    symbols_crc,
)
from vislab.systems.hnerv.codec.reader import HnvFile


def write_hnv(path: str | os.PathLike, info: VideoInfo, segments: Iterable[Segment]) -> None:
    """Write a file with the segments, which are taken one at a time; an existing file is replaced at the end.

    Raises:
        DataError: Segments and frame size do not agree, or there is no segment.
        CheckpointError: The file cannot be written; an existing one is unchanged.
    """
    header = pack_header(info)

    def write(file: BinaryIO) -> None:
        file.write(header)
        entries = _write_segments(file, info, segments, [], 0)
        if not entries:
            raise DataError(f"no segment to write into {path}")
        file.write(pack_table(entries, header))

    write_atomically(path, write)


def append_segments(path: str | os.PathLike, segments: Iterable[Segment]) -> None:
    """Add segments to a file, which is replaced at the end.

    Raises:
        DataError: The file is damaged, or its frame size is not that of the segments.
        CheckpointError: The file cannot be written; it is unchanged.
    """
    with HnvFile(path) as old, open(path, "rb") as stream:
        info, header = old.info, pack_header(old.info)

        def write(file: BinaryIO) -> None:
            left = len(header) + sum(entry.length for entry in old.entries)
            while left:
                left -= file.write(stream.read(min(left, 1 << 20)))
            file.write(pack_table(_write_segments(file, info, segments, old.entries, old.end_time), header))

        write_atomically(path, write)


def coded_size(info: VideoInfo, segment: Segment) -> int:
    """Return the size in bytes of a file with one segment."""
    data, entry = code_segment(info, segment, start=0, first=True)
    return len(data) + len(pack_header(info)) + len(pack_table([entry], b""))


def _write_segments(
    file: BinaryIO, info: VideoInfo, segments: Iterable[Segment], entries: list[Entry], time: int
) -> list[Entry]:
    """Write segments; returns the entries of all. `time` is that of the first frame of a regular segment."""
    entries = list(entries)
    for segment in segments:
        data, entry = code_segment(info, segment, start=time, first=not entries)
        file.write(data)
        entries.append(entry)
        time = _times(segment, info, time)[-1] + info.interval
    return entries


def code_segment(info: VideoInfo, segment: Segment, *, start: int, first: bool) -> tuple[bytes, Entry]:
    """Return the bytes of a segment and its entry in the table.

    Args:
        info: Facts about the video.
        segment: The segment.
        start: Time of the first frame of a regular segment, and the earliest of any.
        first: No segment is before it.

    Raises:
        DataError: Segment and frame size or times do not agree, or a residual segment has none before it.
    """
    spec, embeddings = segment.spec, segment.embeddings
    size = embeddings.symbols.shape[2:]
    if size != spec.embedding_size(info.size):
        raise DataError(
            f"embeddings of {size[0]}x{size[1]} do not fit frames of {info.size[0]}x{info.size[1]} at scale "
            f"{spec.scale}"
        )
    if segment.residual and first:
        raise DataError("the first segment has residual weights, but no segment is before it")
    times = _times(segment, info, start)
    if not first and times[0] < start:
        raise DataError(f"a segment starts at time {times[0]}, before the end {start} of the one before")

    weights, weight_part = _code_weights(segment.weights)
    best = min((_code_sections(segment, differences) for differences in (True, False)), key=lambda coded: coded[0])
    _, differences, coding, sections, section_parts = best
    head = SegmentHead(
        spec, segment.frames, size, times, segment.residual, differences, segment.section, coding, weight_part,
        tuple(section_parts),
    ).pack(info.interval)  # fmt: skip
    data = b"".join([head, weights, *sections])
    return data, Entry(segment.frames, len(data), len(head), crc(head))


def _times(segment: Segment, info: VideoInfo, start: int) -> tuple[int, ...] | range:
    return segment.times or range(start, start + segment.frames * info.interval, info.interval)


def _code_weights(weights: dict[str, Quantized]) -> tuple[bytes, Part]:
    """Return the codings of all weights followed by their symbols."""
    codings = []
    for tensor in weights.values():
        axes = range(tensor.symbols.ndim) if tensor.symbols.ndim > 1 else ()
        codings.append(Coding(tensor.step, tensor.offset, (fit_model(tensor.symbols, axes),)))
    symbols = [tensor.symbols for tensor in weights.values()]
    stream = encode((s, coding.models[0]) for s, coding in zip(symbols, codings, strict=True))
    data = b"".join(coding.pack() for coding in codings) + stream
    return data, Part(len(data), crc(data), symbols_crc(symbols))


def _code_sections(segment: Segment, differences: bool) -> tuple[int, bool, Coding, list[bytes], list[Part]]:
    """Return the length in bytes, and the coded sections of embeddings."""
    symbols = segment.embeddings.symbols  # (T, d, h, w)
    changes = np.concatenate([symbols[:1], np.diff(symbols, axis=0)]) if differences else symbols
    is_first = np.arange(segment.frames) % segment.section == 0
    parts = [symbols[is_first], changes[~is_first]]
    models = tuple(fit_model(part, axes=(1,)) for part in parts if part.size)
    coding = Coding(segment.embeddings.step, segment.embeddings.offset, models)
    sections, section_parts = [], []
    for start in range(0, segment.frames, segment.section):
        stop = min(start + segment.section, segment.frames)
        tensors = [part for part in (symbols[start : start + 1], changes[start + 1 : stop]) if part.size]
        data = encode(zip(tensors, models, strict=False))
        sections.append(data)
        section_parts.append(Part(len(data), crc(data), symbols_crc([symbols[start:stop]])))
    length = len(coding.pack()) + sum(map(len, sections))
    return length, differences, coding, sections, section_parts
