"""Compute the expected length of a video file from its container structure, to detect truncation that FFmpeg ignores.

Supports Matroska and WebM, AVI, fragmented MP4, FLV, ASF (WMV), MPEG transport streams, GIF and Y4M. Only headers are
read, no frames.
"""

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx", b"free", b"skip", b"mfra", b"uuid", b"emsg", b"prft")
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_TRANSPORT_PACKET = 188


def missing_bytes(path: str | Path) -> int:
    """Return how many bytes are missing compared to the length in the container; 0 for unknown containers."""
    length = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(2 * _TRANSPORT_PACKET + 1)
        if head[:4] == _EBML:
            end = _matroska_end(file, length)
        elif head[:4] == b"RIFF":
            end = _riff_end(file, length)
        elif head[4:8] in _BOXES:
            end = _boxes_end(file, length)
        elif head[:3] == b"FLV":
            end = _flv_end(file, length)
        elif head[:16] == _ASF:
            end = _asf_end(file)
        elif head[:4] == b"GIF8":
            file.seek(max(0, length - 4096))
            whole = file.read().rstrip(b"\0\r\n").endswith(b"\0;")  # end of the last block, and the trailer
            end = length if whole else length + 1
        elif head[:10] == b"YUV4MPEG2 ":
            end = _y4m_end(file, length)
        elif head[::_TRANSPORT_PACKET] == b"GGG":  # the synchronization bytes of three packets
            end = -(-length // _TRANSPORT_PACKET) * _TRANSPORT_PACKET
        else:
            end = 0
    return max(0, end - length)


def _matroska_end(file: BinaryIO, length: int) -> int:
    """Return the end of the segment, or of the last element if the size of the segment is unknown (live recordings)."""
    at = 0
    while at < length:
        file.seek(at)
        name, size = _ebml_name(file), _ebml_size(file)
        if size is None:
            if name not in (_SEGMENT, _CLUSTER):  # only these two may be of unknown size
                return length + 1 if file.tell() >= length else 0
            at = file.tell()
        elif name == _SEGMENT:  # data after the segment is ignored
            return file.tell() + size
        else:
            at = file.tell() + size
    return at


def _ebml_name(file: BinaryIO) -> bytes:
    first = file.read(1)
    return first + file.read(8 - first[0].bit_length() if first and first[0] else 0)


def _ebml_size(file: BinaryIO) -> int | None:
    """Read an integer whose leading zero bits encode its length in bytes; None if unknown (all ones) or missing."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value


def _riff_end(file: BinaryIO, length: int) -> int:
    """Return the end of the last RIFF chunk (large AVI files have several); 0 if the size was not filled in."""
    end = 0
    while end < length:
        file.seek(end)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            break
        size = struct.unpack("<I", head[4:])[0]
        if size in (0, 0xFFFFFFFF):
            break
        end += 8 + size + size % 2
    return end


def _boxes_end(file: BinaryIO, length: int) -> int:
    """Return the end of the last box; other bytes after the boxes are ignored."""
    end = 0
    while end + 8 <= length:
        file.seek(end)
        size, kind, large = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        if kind not in _BOXES or size == 0:  # 0: up to the end of the file
            break
        size = large if size == 1 else size
        if size < 8:
            break
        end += size
    return end


def _flv_end(file: BinaryIO, length: int) -> int:
    """Return the end of the last tag: 11 bytes of header, the data, and 4 bytes with the length of the tag."""
    end = 13
    while end < length:
        file.seek(end)
        head = file.read(4)
        if head[0] & 0x1F not in (8, 9, 18):  # audio, video, script
            break
        end += 15 + int.from_bytes(head[1:].ljust(3, b"\0"), "big")
    return end


def _asf_end(file: BinaryIO) -> int:
    """Return the length in the file properties (ASF, WMV); 0 for broadcasts, where it is unknown."""
    file.seek(0)
    properties = file.read(1 << 16).partition(_ASF_FILE_PROPERTIES)[2]
    if len(properties) < 76 or properties[72] & 1:
        return 0
    return int.from_bytes(properties[24:32], "little")


def _y4m_end(file: BinaryIO, length: int) -> int:
    """Return the end of the last frame, from the frame size in the header; 0 for unsupported pixel layouts."""
    file.seek(0)
    words = {word[:1]: word[1:] for word in file.readline(512).decode("latin-1").split()[1:]}
    start, layout = file.tell(), words.get("C", "420")
    planes = None if "alpha" in layout else _Y4M_PLANES.get(layout if layout == "mono" else layout[:3])
    if planes is None or file.readline(512) != b"FRAME\n" or not (words.get("W", "") + words.get("H", "")).isdecimal():
        return 0
    width, height = int(words["W"]), int(words["H"])
    x_share, y_share, count = planes
    samples = width * height + count * -(-width // x_share) * -(-height // y_share)
    frame = len(b"FRAME\n") + samples * (2 if re.search(r"p\d", layout) else 1)  # 420p10: two bytes per sample
    return start + -(-(length - start) // frame) * frame


_Y4M_PLANES = {"420": (2, 2, 2), "422": (2, 1, 2), "444": (1, 1, 2), "411": (4, 1, 2), "mono": (1, 1, 0)}
"""By color layout: subsampling of the color planes in x and y, and their number."""
