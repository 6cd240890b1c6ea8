"""Test the package `vislab.apis`: cheap import, lazy names."""

import subprocess
import sys
from pathlib import Path

import pytest

from vislab import apis


def test_import_is_cheap_and_names_are_functions():
    code = "import sys, vislab.apis; assert 'torch' not in sys.modules; from vislab.apis import train; print(train)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("<function train"), done.stderr
    assert all(callable(getattr(apis, name)) for name in apis.__all__)
    with pytest.raises(AttributeError, match="trian"):
        apis.trian  # noqa: B018


def test_names_are_seen_without_importing_anything():
    assert set(apis.__all__) <= set(dir(apis)) and set(apis.__all__) == set(apis._HOME)
    source = Path(apis.__file__).read_text()
    for name, module in apis._HOME.items():
        line = next(line for line in source.splitlines() if line.startswith(f"    from vislab.apis.{module} import"))
        assert name in line.split("import")[1].replace(",", " ").split()
