"""Test downloads of complete datasets: layouts, names that lead out of the folder, damage, full disks, repetition."""

import argparse
import hashlib
import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers import CONFIGS
from tests.helpers.local_server import serving
from vislab.apis.full_data import FULL_SETS, prepare_full, unpack
from vislab.commands import prepare_data
from vislab.errors import DataError


def packed(**files: bytes) -> bytes:
    """A .zip file of names, in which __ stands for /, and contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


@pytest.fixture
def site(monkeypatch):
    """FULL_SETS with sources on a server of this machine."""
    monkeypatch.setattr("vislab.io.download._PAUSE", 0.0)
    with serving() as site:
        for name, full in FULL_SETS.items():
            archives = [f"{site.address}/{address.rpartition('/')[2]}" for address in full.archives]
            files = {file: (f"{site.address}/{file}", hashlib.sha256(file.encode()).hexdigest()) for file in full.files}
            monkeypatch.setitem(FULL_SETS, name, replace(full, archives=archives, files=files))
        panoptic = packed(panoptic_val2017__1=b"ids")
        site.files |= {
            "/train2017.zip": packed(train2017__2=b"photo 2"),
            "/val2017.zip": packed(val2017__1=b"photo 1"),
            "/annotations_trainval2017.zip": packed(annotations__instances=b"{}"),
            "/panoptic_annotations_trainval2017.zip": packed(
                **{"annotations__panoptic": b"{}", "annotations__panoptic_val2017.zip": panoptic}
            ),
            "/ADEChallengeData2016.zip": packed(
                ADEChallengeData2016__images__a=b"photo", ADEChallengeData2016__annotations__a=b"map"
            ),
            **{f"/{file}": file.encode() for file in ("nyu_train.txt", "nyu_test.txt")},
        }
        yield site


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layouts(site, tmp_path):
    assert prepare_full("coco2017", tmp_path) == tmp_path / "coco"
    prepare_full("ade20k", tmp_path)
    prepare_full("nyu_lists", tmp_path)
    assert tree(tmp_path) == {
        "coco/train2017/2": b"photo 2",
        "coco/val2017/1": b"photo 1",
        "coco/annotations/instances": b"{}",
        "coco/annotations/panoptic": b"{}",
        "coco/annotations/panoptic_val2017/1": b"ids",
        "ADEChallengeData2016/images/a": b"photo",
        "ADEChallengeData2016/annotations/a": b"map",
        "nyu/nyu_train.txt": b"nyu_train.txt",
        "nyu/nyu_test.txt": b"nyu_test.txt",
    }
    count = len(site.requests)
    prepare_full("coco2017", tmp_path)
    assert len(site.requests) == count


def test_places_are_those_of_the_configs():
    text = "".join(path.read_text() for path in (CONFIGS / "_base_/datasets").glob("*.py"))
    for name, full in FULL_SETS.items():
        assert f'"data/{full.place}"' in text or name == "fashion_mnist", name


def test_the_next_call_goes_on(site, tmp_path):
    part = site.files.pop("/panoptic_annotations_trainval2017.zip")
    with pytest.raises(DataError, match=r"cannot download .*panoptic_annotations_trainval2017\.zip: HTTP Error 404"):
        prepare_full("coco2017", tmp_path)
    assert not (tmp_path / "coco").exists() and not list(tmp_path.glob(".*"))
    site.files["/panoptic_annotations_trainval2017.zip"] = part
    prepare_full("coco2017", tmp_path)
    assert [path for path, _ in site.requests].count("/train2017.zip") == 1
    assert not list((tmp_path / "downloads").iterdir())


def test_archives_from_elsewhere_are_kept(site, tmp_path):
    (tmp_path / "there").mkdir()
    file = tmp_path / "there/ADEChallengeData2016.zip"
    file.write_bytes(site.files["/ADEChallengeData2016.zip"])
    prepare_full("ade20k", tmp_path / "a", file)
    prepare_full("ade20k", tmp_path / "b", file.parent)
    assert tree(tmp_path / "a/ADEChallengeData2016") == tree(tmp_path / "b/ADEChallengeData2016")
    assert site.requests == [] and file.is_file()
    with pytest.raises(DataError, match=r"is not ADEChallengeData2016\.zip, and no folder"):
        prepare_full("ade20k", tmp_path / "c", tmp_path / "there/other.zip")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "..\\x", "C:/x", "."])
def test_names_that_lead_out_of_the_folder(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(packed(**{"good": b"1", name: b"2"}))
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="would be written outside of the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "in")
    assert sorted(tree(tmp_path)) == ["a.zip"]


def test_damage_leaves_nothing(site, tmp_path):
    for content in (site.files["/ADEChallengeData2016.zip"][:-30], b"<html>", b""):
        site.files["/ADEChallengeData2016.zip"] = content
        with pytest.raises(DataError, match="is damaged .* It was removed: run the command again"):
            prepare_full("ade20k", tmp_path)
        assert not tree(tmp_path)


def test_changed_bytes(site, tmp_path):
    whole = bytearray(packed(a=bytes(range(256)) * 40))
    whole[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "a.zip", tmp_path)


def test_a_disk_that_is_too_small(site, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3))
    with pytest.raises(DataError, match="needs 8 bytes unpacked, and .* has 3: free some space"):
        prepare_full("ade20k", tmp_path)
    monkeypatch.undo()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(DataError, match="cannot be unpacked to .*No space left"):
        unpack(tmp_path / "downloads/ADEChallengeData2016.zip", tmp_path)


def test_unknown_names_and_the_list(tmp_path, capsys, monkeypatch):
    with pytest.raises(DataError, match="no dataset 'ade20'; did you mean 'ade20k'"):
        prepare_full("ade20", tmp_path)
    monkeypatch.setenv("VISLAB_OFFLINE", "1")
    with pytest.raises(DataError, match="VISLAB_OFFLINE is set: copy torchvision's files of FashionMNIST"):
        prepare_full("fashion_mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []
    prepare_data.main(argparse.Namespace(names=[], root=str(tmp_path), source=None))
    text = capsys.readouterr().out
    assert all(name in text for name in FULL_SETS) and "COCO's terms of use" in text
