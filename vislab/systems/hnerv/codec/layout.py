"""Headers of a .hnv file as bytes: file header, segment header, segment table (docs/hnv_format.md).

Every byte of a file is covered by a CRC-32 that is compared before the byte is used: the file header and the table by
the one after them, segment headers by those in the table, parts of a segment by those in its header.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from vislab.errors import DataError
from vislab.systems.hnerv.codec.content import MAX_FRAMES, MAX_PIXELS, MAX_SIDE, VideoInfo
from vislab.systems.hnerv.codec.entropy import Model
from vislab.systems.hnerv.codec.numbers import Reader, signed, varint
from vislab.systems.hnerv.codec.spec import MAX_OUTPUT, MAX_STAGES, MAX_WIDTH, DecoderSpec

MAGIC = b"HNV1"
END = b"1VNH"
VERSION = 1
MAX_HEADER = 1 << 8  # bytes of the file header
MAX_HEAD = 1 << 25  # bytes of a segment header; irregular times take a byte or more per frame
MAX_SECTION_VALUES = 1 << 24
FOOTER_BYTES = 12
_RESIDUAL, _DIFFERENCES, _IRREGULAR = 1, 2, 4


def crc(data: bytes, start: int = 0) -> int:
    """Return the CRC-32 (as in zip and PNG) of data, continuing from `start`."""
    return zlib.crc32(data, start)


def symbols_crc(tensors: Iterable[np.ndarray]) -> int:
    """Return the CRC-32 of the symbols of tensors one after the other, as little-endian int32."""
    value = 0
    for symbols in tensors:
        value = crc(np.ascontiguousarray(symbols, "<i4").data, value)
    return value


# ---------------------------------------------------------------------------------------------------------- file header


def pack_header(info: VideoInfo) -> bytes:
    """Return the file header."""
    numbers = (*info.size, info.base.numerator, info.base.denominator, info.interval)
    body = b"".join(map(varint, numbers)) + bytes([info.matrix])
    head = MAGIC + bytes([VERSION]) + varint(len(body)) + body
    return head + struct.pack("<I", crc(head))


def unpack_header(data: bytes) -> tuple[VideoInfo, int]:
    """Return the facts in the file header and its length. `data` is the beginning of the file.

    Raises:
        DataError: Not a .hnv file, of a later version, or damaged.
    """
    reader = Reader(data[:MAX_HEADER], "file header")
    if data[:4] != MAGIC:
        raise DataError("it does not begin like a .hnv file")
    version = Reader(data[4:], "file header").byte()
    if version != VERSION:
        raise DataError(f"its version is {version}, but this program reads version {VERSION}; install a later one")
    reader.take(5)
    body = Reader(reader.take(reader.varint(MAX_HEADER)), "file header")
    end = reader.position
    (stored,) = struct.unpack("<I", reader.take(4))
    if crc(data[:end]) != stored:
        raise DataError("the checksum of the file header is wrong")
    size = body.varint(MAX_SIDE), body.varint(MAX_SIDE)
    numerator, denominator, interval = body.varint(), body.varint(), body.varint()
    if not (numerator and denominator):
        raise DataError("the time base is zero")
    base = Fraction(numerator, denominator)
    if base.denominator != denominator:
        raise DataError(f"the time base {numerator}/{denominator} is not in lowest terms")
    info = VideoInfo(size, base, interval, body.byte())
    body.end()
    return info, end + 4


# --------------------------------------------------------------------------------------------- quantization of a tensor


@dataclass(frozen=True, eq=False)
class Coding:
    """Everything about a tensor but its symbols: step, offset and entropy models."""

    step: np.ndarray
    offset: np.ndarray | None
    models: tuple[Model, ...]

    def pack(self) -> bytes:
        """Return the bytes in the file."""
        out = _pack_array(self.step, self.offset is not None)
        if self.offset is not None:
            out += _pack_array(self.offset, False)
        return out + b"".join(model.pack() for model in self.models)

    @classmethod
    def unpack(cls, reader: Reader, shape: Sequence[int], model_shapes: Sequence[Sequence[int]]) -> "Coding":
        """Read the coding of a tensor of `shape` with one model for a tensor of each of `model_shapes`."""
        step, more = _unpack_array(reader, shape)
        offset, last = _unpack_array(reader, shape) if more else (None, False)
        if last:
            raise DataError(f"the {reader.name} has an offset with unknown flags")
        return cls(step, offset, tuple(Model.unpack(reader, model_shape) for model_shape in model_shapes))


def _pack_array(array: np.ndarray, more: bool) -> bytes:
    """Return a byte with axes of size > 1 (bits 4-7), `more` (bit 1), float32 (bit 0); then the numbers."""
    axes = sum(16 << i for i, size in enumerate(array.shape) if size > 1)
    single = array.dtype == np.float32
    return bytes([axes | more << 1 | single]) + array.astype("<f4" if single else "<f2").tobytes()


def _unpack_array(reader: Reader, shape: Sequence[int]) -> tuple[np.ndarray, bool]:
    code = reader.byte()
    axes = [bool(code >> 4 & 1 << i) for i in range(4)]
    if code & 12 or any(axes[len(shape) :]) or any(a and s == 1 for a, s in zip(axes, shape, strict=False)):
        raise DataError(f"the {reader.name} has steps with flags {code:#x} for a tensor of shape {tuple(shape)}")
    sizes = [size if axis else 1 for axis, size in zip(axes, shape, strict=False)] if any(axes) else []
    dtype = np.dtype("<f4" if code & 1 else "<f2")
    numbers = np.frombuffer(reader.take(prod(sizes) * dtype.itemsize), dtype)
    return numbers.astype(np.float32 if code & 1 else np.float16).reshape(sizes), bool(code & 2)


# ------------------------------------------------------------------------------------------------------- segment header


@dataclass(frozen=True)
class Part:
    """Length in bytes of a coded part, CRC-32 of its bytes, and of its symbols as little-endian int32."""

    length: int
    bytes_crc: int
    symbols_crc: int

    def pack(self) -> bytes:
        """Return the bytes in the file."""
        return varint(self.length) + struct.pack("<2I", self.bytes_crc, self.symbols_crc)

    @classmethod
    def unpack(cls, reader: Reader) -> "Part":
        """Read a part."""
        return cls(reader.varint(1 << 32), *struct.unpack("<2I", reader.take(8)))


@dataclass(frozen=True, eq=False)
class SegmentHead:
    """Header of a segment.

    Args:
        spec: The network.
        frames: Number of frames.
        embedding: (h, w) of an embedding.
        times: Time of each frame in units.
        residual: The weights are added to those of the segment before.
        differences: Symbols of an embedding are differences to those of the frame before, except for the first frame
            of each section.
        section: Frames per section.
        coding: Steps and offsets of embeddings; models of the first frames of sections and of the others.
        weights: The coded weights.
        sections: The coded sections of embeddings.
    """

    spec: DecoderSpec
    frames: int
    embedding: tuple[int, int]
    times: tuple[int, ...] | range
    residual: bool
    differences: bool
    section: int
    coding: Coding
    weights: Part
    sections: tuple[Part, ...]

    def pack(self, interval: int) -> bytes:
        """Return the bytes in the file."""
        steps = [b - a - interval for a, b in zip(self.times, self.times[1:], strict=False)]
        irregular = any(steps)
        flags = _RESIDUAL * self.residual | _DIFFERENCES * self.differences | _IRREGULAR * irregular
        out = bytes([flags]) + varint(self.frames) + signed(self.times[0])
        if irregular:
            out += b"".join(map(signed, steps))
        out += _pack_spec(self.spec) + self.spec.digest() + varint(self.section) + self.coding.pack()
        return out + b"".join(part.pack() for part in (self.weights, *self.sections))

    @classmethod
    def unpack(cls, data: bytes, info: VideoInfo) -> "SegmentHead":
        """Read a segment header.

        Raises:
            DataError: Not one, or its hash is not that of a network known here.
        """
        reader = Reader(data, "segment header")
        flags = reader.byte()
        if flags & ~7:
            raise DataError(f"the segment header has unknown flags {flags:#x}")
        frames = reader.varint(MAX_FRAMES)
        start = reader.signed()
        if frames == 0:
            raise DataError("a segment has no frames")
        if flags & _IRREGULAR:
            steps = [reader.signed() + info.interval for _ in range(frames - 1)]
            if any(step <= 0 for step in steps):
                raise DataError("the frame times of a segment do not increase")
            times = tuple(np.cumsum([start, *steps], dtype=object).tolist())
        else:
            times = range(start, start + frames * info.interval, info.interval)
        spec = _unpack_spec(reader)
        if reader.take(32) != spec.digest():
            raise DataError(f"the hash of the network {spec} is not that of this program; install a later version")
        section = reader.varint(MAX_FRAMES)
        h, w = spec.embedding_size(info.size)
        if section == 0 or min(section, frames) * spec.embed_dim * h * w > MAX_SECTION_VALUES:
            raise DataError(f"sections of {section} embeddings of {spec.embed_dim}x{h}x{w} are not possible")
        if h * w * spec.scale**2 > 4 * MAX_PIXELS:
            raise DataError(f"frames of {h * spec.scale}x{w * spec.scale} pixels are too large")
        if spec.largest_output((h, w)) > MAX_OUTPUT:
            raise DataError(f"a layer of {spec} has more than {MAX_OUTPUT} values for a frame of {info.size}")
        shapes = section_shapes(spec, (h, w), min(section, frames))
        coding = Coding.unpack(reader, (1, spec.embed_dim, h, w), shapes)
        weights = Part.unpack(reader)
        sections = tuple(Part.unpack(reader) for _ in range(-(-frames // section)))
        reader.end()
        residual, differences = bool(flags & _RESIDUAL), bool(flags & _DIFFERENCES)
        return cls(spec, frames, (h, w), times, residual, differences, section, coding, weights, sections)


def section_shapes(spec: DecoderSpec, embedding: tuple[int, int], frames: int) -> list[tuple[int, int, int, int]]:
    """Return the shapes of the two tensors of a section: its first frame, and the others if there are any."""
    return [(count, spec.embed_dim, *embedding) for count in (1, frames - 1) if count]


def _pack_spec(spec: DecoderSpec) -> bytes:
    head = varint(spec.embed_dim) + bytes([len(spec.strides), *spec.strides])
    return head + b"".join(map(varint, spec.widths)) + bytes(spec.kernels)


def _unpack_spec(reader: Reader) -> DecoderSpec:
    embed_dim, stages = reader.varint(MAX_WIDTH), reader.varint(MAX_STAGES)
    strides = tuple(reader.take(stages))
    widths = tuple(reader.varint(MAX_WIDTH) for _ in range(stages + 1))
    return DecoderSpec(embed_dim, strides, widths, tuple(reader.take(stages)))


# -------------------------------------------------------------------------------------------------------- segment table


@dataclass(frozen=True)
class Entry:
    """Entry of the segment table: frames, bytes of the segment, bytes of its header, and the header's CRC-32."""

    frames: int
    length: int
    head_length: int
    head_crc: int


def pack_table(entries: Sequence[Entry], header: bytes) -> bytes:
    """Return the segment table with the footer that ends the file. Its checksum includes the file header.

    The header's own checksum is left out: with it, the CRC would be the same for every header.
    """
    body = varint(len(entries))
    for e in entries:
        body += varint(e.frames) + varint(e.length) + varint(e.head_length) + struct.pack("<I", e.head_crc)
    length = struct.pack("<I", len(body))
    return body + length + struct.pack("<I", _table_crc(body, header)) + END


def unpack_footer(footer: bytes) -> tuple[int, int]:
    """Return the length of the segment table and its checksum from the last 12 bytes of a file."""
    length, checksum, end = struct.unpack("<2I4s", footer)
    if end != END:
        raise DataError("its end is missing: the file is truncated or was not written completely")
    return length, checksum


def unpack_table(body: bytes, checksum: int, header: bytes) -> list[Entry]:
    """Return the segment table.

    Raises:
        DataError: The checksum of header and table is wrong, or the table is impossible.
    """
    if _table_crc(body, header) != checksum:
        raise DataError("the checksum of the segment table is wrong")
    reader = Reader(body, "segment table")
    count = reader.varint(len(body) // 7)  # an entry takes 7 bytes or more
    entries = []
    for _ in range(count):
        frames, length, head_length = reader.varint(MAX_FRAMES), reader.varint(), reader.varint(MAX_HEAD)
        entries.append(Entry(frames, length, head_length, struct.unpack("<I", reader.take(4))[0]))
    reader.end()
    return entries


def _table_crc(body: bytes, header: bytes) -> int:
    return crc(struct.pack("<I", len(body)), crc(body, crc(header[:-4])))
