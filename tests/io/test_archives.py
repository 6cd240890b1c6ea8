"""Test files in .zip archives: paths, content, and errors for damaged archives."""

import threading
import zipfile
from pathlib import Path

import pytest

from vislab.errors import DataError
from vislab.io import archives
from vislab.io.archives import list_members, read_member, split_archive

FILES = {"set/cat/1.jpg": b"a cat" * 50, "set/cat/2.jpg": b"another", "set/dog/1.jpg": b"a dog", "notes.txt": b""}


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/empty/", b"")  # ZipFile.mkdir is of Python 3.11
        for name, content in FILES.items():
            archive.writestr(name, content)
    return str(path)


def test_paths_that_lead_into_an_archive(tmp_path, packed):
    assert split_archive(packed) == split_archive(f"{packed}/") == (packed, "")
    assert split_archive(tmp_path / "set.zip" / "set" / "cat") == (packed, "set/cat")
    (tmp_path / "folder.zip").mkdir()
    for path in ("gone.zip/a", f"{packed}x/a", str(tmp_path), str(tmp_path / "folder.zip" / "a")):
        assert split_archive(path) is None


def test_members_are_read_and_listed_without_folders(packed):
    assert {name: read_member(packed, name) for name in list_members(packed, "")} == FILES
    assert list_members(packed, "set/cat") == ["1.jpg", "2.jpg"]
    assert list_members(packed, "set") == ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg"]
    assert list_members(packed, "se") == list_members(packed, "set/empty") == []  # a folder, not a beginning


def test_a_file_that_is_not_in_it(packed):
    with pytest.raises(DataError, match=r"set.zip contains no file 'set/cow/1.jpg': check data_root"):
        read_member(packed, "set/cow/1.jpg")


def test_damage_is_one_message(tmp_path, packed):
    with zipfile.ZipFile(packed) as archive:
        at = archive.getinfo("set/cat/1.jpg").header_offset + 45
    data = bytearray(Path(packed).read_bytes())
    data[at] ^= 0xFF
    (tmp_path / "broken.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"cannot read 'set/cat/1.jpg' of .*broken.zip"):
        read_member(str(tmp_path / "broken.zip"), "set/cat/1.jpg")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(DataError, match="text.zip is not a readable zip archive"):
        list_members(str(tmp_path / "text.zip"), "")


def test_each_thread_has_its_own_file_position(packed):
    """One open archive for one thread, however often it reads; another for another thread."""

    def opened() -> set[int]:
        return {id(archive) for key, archive in archives._open.items() if key[0] == packed}

    read_member(packed, "notes.txt"), read_member(packed, "set/dog/1.jpg")
    first = opened()
    found = []
    thread = threading.Thread(target=lambda: found.append(read_member(packed, "set/dog/1.jpg")))
    thread.start(), thread.join()
    assert found == [b"a dog"] and len(first) == 1 and len(opened()) == 2


def test_an_archive_that_was_replaced_is_read_anew(packed):
    read_member(packed, "set/dog/1.jpg")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("set/dog/1.jpg", b"a new dog")
    assert read_member(packed, "set/dog/1.jpg") == b"a new dog"
