"""Test downloads: complete or absent, and continued after an interruption."""

import hashlib
import os

import pytest

from tests.helpers.local_server import serving
from vislab.errors import DataError
from vislab.io.download import fetch

CONTENT = os.urandom(50_000)


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
