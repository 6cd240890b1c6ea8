"""Test downloads: complete or absent, and continued after an interruption."""

import hashlib
import os
import random
import subprocess
import sys
import time

import pytest

from tests.helpers import REPOSITORY
from tests.helpers.local_server import serving
from vislab.errors import DataError
from vislab.io.download import fetch, file_name, inner_path, is_address

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
    with pytest.raises(DataError, match=r"closed after 10,000 bytes.*same command continues.*put it at"):
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
        fetch(f"{site.address}/a.bin", tmp_path / "c.bin", md5="0" * 32)
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


def test_a_length_that_is_too_large(site, tmp_path):
    site.surplus = 10
    with pytest.raises(DataError, match="closed after 50,000 bytes"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_redirects_are_followed(site, tmp_path):
    site.redirects["/b.bin"] = "/a.bin"
    assert fetch(f"{site.address}/b.bin", tmp_path / "b.bin").read_bytes() == CONTENT


def test_a_full_disk_is_one_message(site, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="no space left"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_offline(site, tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"VISLAB_OFFLINE is set.*a\.bin"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin")
    assert site.requests == []


def test_fifty_wrong_bytes(site, tmp_path):
    draw, expected = random.Random(0), hashlib.sha256(CONTENT).hexdigest()
    for _ in range(50):
        place = draw.randrange(len(CONTENT))
        wrong = (CONTENT[place] + draw.randrange(1, 256)) % 256
        site.files["/a.bin"] = CONTENT[:place] + bytes([wrong]) + CONTENT[place + 1 :]
        with pytest.raises(DataError, match=r"not the expected file: its SHA256 is \w+, expected"):
            fetch(f"{site.address}/a.bin", tmp_path / "a.bin", sha256=expected)
        assert list(tmp_path.iterdir()) == []
    site.files["/a.bin"] = CONTENT
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin", sha256=expected).read_bytes() == CONTENT


def test_a_wrong_byte_in_a_part_of_an_earlier_call(site, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"?" + CONTENT[1:30_000])
    expected = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(DataError, match="SHA256"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin", sha256=expected)
    assert list(tmp_path.iterdir()) == []
    assert fetch(f"{site.address}/a.bin", tmp_path / "a.bin", sha256=expected).read_bytes() == CONTENT


def test_a_length_that_is_too_small(site, tmp_path):
    site.surplus = -10
    with pytest.raises(DataError, match="SHA256"):
        fetch(f"{site.address}/a.bin", tmp_path / "a.bin", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://x/a/model.pt?download=1#top", "model.pt"),
        ("http://x/../evil.pt", "evil.pt"),
        ("http://x/..%2fevil.pt", "evil.pt"),
        ("http://x/a/..%2F..%2Fetc%2Fevil.pt", "evil.pt"),
        ("http://x/%2Fetc%2Fpasswd", "passwd"),
        ("http://x/..\\evil.pt", "evil.pt"),
        ("http://x/..%5C..%5Cevil.pt", "evil.pt"),
        ("http://x/my%20model.pt", "my model.pt"),
        ("http://x", None),
        ("http://x/a/", None),
        ("http://x/a/..", None),
        ("http://x/a/%2e%2e", None),
        ("http://x/a/..%2f", None),
        ("http://x/a/evil.pt%00.png", None),
        ("http://x/C:evil.pt", None),
    ],
)
def test_names_of_files(address, name):
    if name is None:
        with pytest.raises(DataError, match="does not end with the name of a file"):
            file_name(address)
    else:
        assert file_name(address) == name


@pytest.mark.parametrize("name", ["../a.png", "/etc/a", "a/../../b", "..\\a", "C:/a", "", "."])
def test_paths_that_lead_out_of_their_folder(name):
    with pytest.raises(DataError, match=r"list\.json is refused"):
        inner_path(name, "list.json")
    assert inner_path("a/..b.png", "list.json").name == "..b.png"


def test_the_server_does_not_choose_the_name(site, tmp_path):
    site.headers = {"Content-Disposition": 'attachment; filename="../evil.pt"', "Content-Location": "/../evil.pt"}
    site.redirects["/b.bin"] = "/a/../../evil.pt"
    site.files["/evil.pt"] = CONTENT
    for name in ("a.bin", "b.bin"):
        fetch(f"{site.address}/{name}", tmp_path / "new" / name)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == ["new", "new/a.bin", "new/b.bin"]


def test_files_of_this_computer_are_no_downloads(site, tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with pytest.raises(DataError, match=r"no http\(s\) address"):
        fetch((tmp_path / "a.bin").as_uri(), tmp_path / "b.bin")
    site.redirects["/c.bin"] = (tmp_path / "a.bin").as_uri()
    with pytest.raises(DataError, match="cannot download"):
        fetch(f"{site.address}/c.bin", tmp_path / "b.bin")
    assert not (tmp_path / "b.bin").exists()
    assert is_address("HTTPS://x") and not is_address("a/http.png") and not is_address(tmp_path)


def started(site, target, sha256: str) -> subprocess.Popen:
    """Start a process that downloads /a.bin and prints its checksum."""
    code = (
        "import sys; from pathlib import Path; from vislab.io.download import checksum, fetch\n"
        "print(checksum(fetch(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])))"
    )
    command = [sys.executable, "-c", code, f"{site.address}/a.bin", str(target), sha256]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.01)


def test_two_racing_processes_leave_one_correct_file(site, tmp_path):
    target, expected, site.stall = tmp_path / "a.bin", hashlib.sha256(CONTENT).hexdigest(), 20_000
    both = [started(site, target, expected) for _ in range(2)]
    wait_for(lambda: site.requests)
    time.sleep(0.3)  # the other process waits too
    site.go_on.set()
    for process in both:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.strip(), err) == (0, expected, "")
    assert target.read_bytes() == CONTENT and [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert len(site.requests) == 1


def test_a_process_goes_on_where_a_killed_one_stopped(site, tmp_path):
    target, expected, site.stall = tmp_path / "a.bin", hashlib.sha256(CONTENT).hexdigest(), 20_000
    first = started(site, target, expected)
    wait_for(lambda: site.requests)
    second = started(site, target, expected)
    time.sleep(0.3)
    first.kill()
    first.communicate()
    site.go_on.set()
    out, err = second.communicate(timeout=30)
    assert (second.returncode, out.strip(), err) == (0, expected, "")
    assert target.read_bytes() == CONTENT and [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_bar_is_shown_on_a_terminal(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch(f"{site.address}/a.bin", tmp_path / "a.bin")
    assert "a.bin" in capsys.readouterr().err
