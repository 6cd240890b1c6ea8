"""Find files that installed packages carry, without importing the packages."""

import hashlib
import importlib.util
from pathlib import Path

from vislab.errors import DataError


def package_file(package: str, pattern: str, *, sha256: str = "") -> Path:
    """Return the file of an installed package.

    Args:
        package: Name for importing it.
        pattern: Path inside the package, with wildcards; one file matches.
        sha256: Checksum of the file.

    Raises:
        DataError: The package is not installed, has no such file, or has another one.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    files = sorted(file for folder in folders for file in Path(folder).glob(pattern))
    if not files:
        raise DataError(f"the package {package} is not installed: pip install {package}")
    if sha256 and hashlib.sha256(files[0].read_bytes()).hexdigest() != sha256:
        raise DataError(f"{files[0]} is not the expected file: reinstall {package}")
    return files[0]
