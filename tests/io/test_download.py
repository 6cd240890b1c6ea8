"""Test downloads: complete or absent, and continued after an interruption."""

import hashlib
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.local_server import serving
from vislab.errors import DataError
from vislab.io.download import fetch

CONTENT = os.urandom(50_000)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("vislab.io.download._PAUSE", 0.0)


@pytest.fixture
def site():
    with serving() as site:
        site.files["/a.bin"] = CONTENT
        yield site


def test_a_file_arrives_whole_and_is_not_fetched_twice(site, tmp_path):
    target = fetch(f"{site.address}/a.bin", tmp_path / "new/a.bin", md5=hashlib.md5(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT and [p.name for p in target.parent.iterdir()] == ["a.bin"]
    fetch(f"{site.address}/a.bin", target)
    assert len(site.requests) == 1


def test_a_broken_connection_goes_on_where_it_stopped(site, tmp_path):
    site.faults = [20_000, 5_000]
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [None, "bytes=20000-", "bytes=25000-"]


def test_the_next_call_goes_on_too(site, tmp_path):
    site.faults = [10_000]
    with pytest.raises(DataError, match=r"closed after 10,000 bytes.*same command continues.*--source"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin", tries=1)
    assert not (tmp_path / "a.bin").exists()
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert site.requests[-1][1] == "bytes=10000-"


def test_a_server_without_range_sends_all_again(site, tmp_path):
    site.faults, site.knows_range = [10_000], False
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_rest_that_belongs_to_a_longer_file_is_dropped(site, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 60_000)
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(site, tmp_path):
    site.faults = ["503"]
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT


def test_what_cannot_be_had_is_one_message(site, tmp_path):
    with pytest.raises(DataError, match=r"cannot download .*b\.bin: HTTP Error 404"):
        fetch(f"{site.address}/b.bin", tmp_path / "b.bin")
    with pytest.raises(DataError, match="cannot download .*[Rr]efused"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "b.bin")
    with pytest.raises(DataError, match=r"MD5 is \w+, expected 00"):
        fetch(f"{site.address}/a.bin", tmp_path / "c.bin", md5="00")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changed_meanwhile_is_not_mixed(site, tmp_path):
    site.faults = [10_000]
    with pytest.raises(DataError):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin", tries=1)
    site.files["/a.bin"] = other = os.urandom(40_000)
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin").read_bytes() == other


def test_without_tag_and_checksum_a_download_starts_again(site, tmp_path):
    site.faults, site.tags = [10_000], False
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == [None, None]


@pytest.mark.parametrize("cuts", [10, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("knows_range", [True, False])
def test_random_cuts(site, tmp_path, cuts, knows_range):
    draw = random.Random(0)
    site.knows_range = knows_range
    for number in range(cuts):
        site.faults = [draw.randrange(50_000) for _ in range(2)]
        target = fetch(f"{site.address}/a.bin", tmp_path / f"{number}.bin", sha256=hashlib.sha256(CONTENT).hexdigest())
        assert target.read_bytes() == CONTENT
    assert len([*tmp_path.iterdir()]) == cuts


def test_wrong_bytes_never_get_the_name(site, tmp_path):
    expected = hashlib.sha256(CONTENT).hexdigest()
    site.files["/a.bin"] = CONTENT[:30_000] + b"?" + CONTENT[30_001:]
    for _ in range(3):
        with pytest.raises(DataError, match="SHA256"):
            fetch(f"{site.address}/a.bin", tmp_path / "a.bin", sha256=expected)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_too_large(site, tmp_path):
    site.surplus = 10
    with pytest.raises(DataError, match="closed after 50,000 bytes"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_redirects_are_followed(site, tmp_path):
    site.redirects["/b.bin"] = "/a.bin"
    assert fetch(f"{site.address}/b.bin", tmp_path / "b.bin").read_bytes() == CONTENT


def test_a_full_disk_is_one_message(site, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(DataError, match="no space left"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_offline(site, tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"VISLAB_OFFLINE is set.*a\.bin"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin")
    assert site.requests == []


def test_two_at_once_download_once(site, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch, f"{site.address}/a.bin", tmp_path / "a.bin") for _ in range(2)]
        assert all(one.result().read_bytes() == CONTENT for one in both)
    assert len(site.requests) == 1
