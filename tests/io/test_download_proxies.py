"""Test that downloads take the proxies of the environment, as it is at the time of each of them."""

import hashlib
from unittest import mock

import cv2
import numpy as np
import pytest

from tests.helpers.local_server import serving
from vislab.apis import full_data, inputs
from vislab.apis.full_data import FullSet, prepare_full
from vislab.errors import DataError
from vislab.io.download import fetch, open_address
from vislab.zoo.catalogue import Entry, Weights
from vislab.zoo.pretrained import download

CONTENT = cv2.imencode(".png", np.full((8, 8, 3), 7, np.uint8))[1].tobytes()
ADDRESS = "http://files.example/a.png"  # a name that no server has
DEAD = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("vislab.io.download._PAUSE", 0.0)


@pytest.fixture
def site():
    """A server that answers requests for its own files, and as a proxy those for ADDRESS."""
    with serving() as site:
        site.files |= {"/a.png": CONTENT, ADDRESS: CONTENT}
        yield site


def by_fetch(address, folder):
    return fetch(address, folder / "a.png").read_bytes()


def by_download(address, folder):
    weights = Weights("", "", None, (address,), "", "vislab", "MIT")
    return download(Entry("small", "Small", folder / "small.py", (), (weights,)), folder).read_bytes()


def by_prepare_data(address, folder):
    files = {"a.png": (address, hashlib.sha256(CONTENT).hexdigest())}
    with mock.patch.dict(full_data.FULL_SETS, lists=FullSet("lists", "", "MIT", files=files)):
        return (prepare_full("lists", folder) / "a.png").read_bytes()


def by_predictor(address, folder):
    return CONTENT if (inputs.read_image(address) == 7).all() else b""


@pytest.fixture(params=[by_fetch, by_download, by_prepare_data, by_predictor])
def get(request, tmp_path, monkeypatch):
    """Returns the content of an address, downloaded in one of the ways that commands do."""
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    return lambda address: request.param(address, tmp_path / "new")


def test_requests_go_through_the_proxy(get, site, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", site.address)
    assert get(ADDRESS) == CONTENT
    assert site.requests == [(ADDRESS, None)]


def test_no_proxy_bypasses_it(get, site, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", DEAD)
    monkeypatch.setenv("NO_PROXY", "files.example,127.0.0.1")
    assert get(f"{site.address}/a.png") == CONTENT
    assert site.requests == [("/a.png", None)]


def test_a_dead_proxy_is_one_message_without_its_password(get, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{DEAD}")
    expected = f"cannot download {ADDRESS} through the proxy {DEAD} .http_proxy, no_proxy.: .*refused"
    with pytest.raises(DataError, match=expected) as found:
        get(ADDRESS)
    assert "secret" not in str(found.value) and "\n" not in str(found.value)


def test_a_proxy_that_is_set_later_is_used(site, monkeypatch):
    with pytest.raises(OSError):
        open_address(f"http://{DEAD}/a.png")
    monkeypatch.setenv("HTTP_PROXY", site.address)
    with open_address(ADDRESS) as answer:
        assert answer.read() == CONTENT
    monkeypatch.delenv("HTTP_PROXY")
    with open_address(f"{site.address}/a.png") as answer:
        assert answer.read() == CONTENT
    assert [path for path, _ in site.requests] == [ADDRESS, "/a.png"]


def test_https_is_a_tunnel_through_its_own_proxy(site, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", DEAD)
    monkeypatch.setenv("HTTPS_PROXY", site.address)
    with pytest.raises(DataError, match="Tunnel connection failed: 501"):  # the answer of this proxy
        fetch("https://files.example/a.png", tmp_path / "a.png")


@pytest.mark.parametrize("proxy", ["http://", "socks5://127.0.0.1:9", "127.0.0.1:port"])
def test_what_is_no_proxy_is_one_message(get, monkeypatch, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(DataError, match=f"cannot download {ADDRESS} through the proxy {proxy}"):
        get(ADDRESS)
