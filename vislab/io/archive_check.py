"""Verify the zip archives of `torch.save`: completeness, and the CRC-32 checksum of each record.

torch does not check the checksums, so damaged weights would be loaded without an error.
"""

import logging
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from vislab.errors import CheckpointError

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field
_MAX_EXPANSION = 64  # limit for compressed archives; weights compress to about 0.9
_SMALL = 1 << 30


def is_archive(file: str | os.PathLike) -> bool:
    """Return whether `file` is a zip archive; torch's older format is a pickle."""
    with open(file, "rb") as stream:
        return stream.read(2) == b"PK"


def check_archive(file: str | os.PathLike) -> None:
    """Compare all records of the archive of a checkpoint with their checksums.

    Takes one sequential read and a CRC-32 (1 to 4 GB/s). An archive without checksums (`torch.serialization.
    set_crc32_options(False)`) is accepted with a warning.

    Raises:
        CheckpointError: The file is truncated, damaged, not a checkpoint, or decompresses to an excessive size.
    """
    file = Path(file)
    try:
        with zipfile.ZipFile(file) as archive, open(file, "rb", buffering=0) as stream:
            records = archive.infolist()
            _check_contents(file, records)
            if any(r.CRC for r in records if r.file_size):
                for record in records:
                    _check_record(file, archive, stream, record)
            else:
                logger.warning(f"{file} was saved without checksums: damage cannot be detected")
    except CheckpointError:
        raise
    except Exception as error:  # zipfile raises many types: struct.error, NotImplementedError, UnicodeDecodeError ...
        raise damaged(file, str(error) or type(error).__name__) from error


def damaged(file: Path, reason: str) -> CheckpointError:
    """Return the error for a damaged file."""
    size = file.stat().st_size if file.exists() else 0
    return CheckpointError(
        f"checkpoint {file} ({size} bytes) cannot be read: truncated or damaged ({reason}). "
        "Copy or download it again, or use an earlier one."
    )


def _check_contents(file: Path, records: list[zipfile.ZipInfo]) -> None:
    names = [record.filename for record in records]
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"{file} is a TorchScript archive: a program with its weights. Load it with torch.jit.load where it is "
            'trusted, and save its weights alone: torch.save({"state_dict": module.state_dict()}, "weights.pth")'
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(
            f"{file} is a zip archive, but no checkpoint of torch's: it contains {', '.join(names[:3]) or 'nothing'}."
        )
    if len(set(names)) < len(names):
        raise damaged(file, "two records have the same name")
    size, whole = file.stat().st_size, sum(record.file_size for record in records)
    compressed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
    if whole > (max(_MAX_EXPANSION * size, _SMALL) if compressed else size):
        raise CheckpointError(
            f"{file} was not loaded: its {size} bytes claim to contain {whole} bytes, which weights never do. "
            "Take the file from a source you trust."
        )


def _check_record(file: Path, archive: zipfile.ZipFile, stream: BinaryIO, record: zipfile.ZipInfo) -> None:
    if record.compress_type != zipfile.ZIP_STORED:  # packed again by another program: zipfile compares by itself
        with archive.open(record) as content:
            while content.read(_CHUNK):
                pass
        return
    stream.seek(record.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise damaged(file, f"the header of record {record.filename} is broken")
    stream.seek(record.header_offset + _LOCAL_HEADER.size + name_length + extra_length)  # where torch reads it
    checksum, left = 0, record.file_size
    buffer = memoryview(bytearray(min(_CHUNK, left)))
    while left:
        count = stream.readinto(buffer[: min(len(buffer), left)])
        if not count:
            raise damaged(file, f"record {record.filename} ends too early")
        checksum = zlib.crc32(buffer[:count], checksum)
        left -= count
    if checksum != record.CRC:
        raise damaged(file, f"record {record.filename} is not what was saved: its checksum is wrong")
