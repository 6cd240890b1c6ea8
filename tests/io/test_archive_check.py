"""Test the check of zip archives of checkpoints: each kind of damage is found, intact files pass."""

import struct
import zipfile
from copy import copy

import pytest
import torch

from vislab.errors import CheckpointError
from vislab.io import archive_check
from vislab.io.archive_check import check_archive, is_archive


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"w": torch.arange(1000.0), "b": torch.ones(3)}, path)
    return path


def packed(path, records: dict[str, bytes], kind=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


def test_only_zip_archives_are_archives(tmp_path, saved):
    torch.save({"w": torch.ones(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert is_archive(saved) and not is_archive(tmp_path / "old.pth")
    check_archive(saved)


def test_a_flipped_bit_in_any_record_is_found(saved):
    """The place of each record's content is worked out from its local header, as the zip format lays it down."""
    whole = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        records = [record for record in archive.infolist() if record.file_size]
    assert len(records) >= 4
    for record in records:
        name, extra = struct.unpack_from("<HH", whole, record.header_offset + 26)
        at = record.header_offset + 30 + name + extra + record.file_size // 2
        saved.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match="is not what was saved: its checksum is wrong"):
            check_archive(saved)


def test_a_broken_local_header_is_found(saved):
    whole = saved.read_bytes()
    saved.write_bytes(b"PK\x03\x05" + whole[4:])
    with pytest.raises(CheckpointError, match="the header of record .* is broken"):
        check_archive(saved)


def test_a_file_that_ends_early_is_damaged(saved):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=rf"\({len(whole) // 2} bytes\) cannot be read: truncated or damaged"):
        check_archive(saved)


def test_an_archive_without_checksums_is_accepted_and_said(saved, monkeypatch):
    said = []
    monkeypatch.setattr(archive_check.logger, "warning", said.append)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(9)}, saved)
    finally:
        torch.serialization.set_crc32_options(True)
    check_archive(saved)
    assert len(said) == 1 and "without checksums" in said[0]


def test_an_archive_that_another_program_compressed(tmp_path, saved):
    with zipfile.ZipFile(saved) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    path = packed(tmp_path / "packed.pth", records, zipfile.ZIP_DEFLATED)
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        at = max(archive.infolist(), key=lambda record: record.compress_size).header_offset + 200
    data = path.read_bytes()
    path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        check_archive(path)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"a/data.pkl": b"x", "a/constants.pkl": b"x"}, "is a TorchScript archive"),
        ({"word/document.xml": b"x"}, "no checkpoint of torch's: it contains word/document.xml"),
        ({}, "it contains nothing"),
    ],
)
def test_archives_of_other_kinds(tmp_path, records, message):
    with pytest.raises(CheckpointError, match=message):
        check_archive(packed(tmp_path / "a.pth", records))


def test_two_records_of_one_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a/data.pkl", b"x")
        archive.writestr("a/data.pkl", b"y")
    with pytest.raises(CheckpointError, match="two records have the same name"):
        check_archive(tmp_path / "a.pth")


def test_records_that_share_their_bytes(tmp_path):
    """Many entries of the directory that lead to one record claim more than the file is long."""
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", bytes(1000))
        for name in ("a/data/0", "a/data/1"):
            record = copy(archive.infolist()[0])
            record.filename = name
            archive.filelist.append(record)
    with pytest.raises(CheckpointError, match="claim to contain 3000 bytes"):
        check_archive(tmp_path / "a.pth")


def test_a_file_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_check, "_SMALL", 1 << 10)  # up to this size anything may be compressed well
    path = packed(tmp_path / "a.pth", {"a/data.pkl": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="claim to contain 1048576 bytes"):
        check_archive(path)
    monkeypatch.setattr(archive_check, "_SMALL", 1 << 20)
    check_archive(path)
