"""Test that the environment report does not need distutils."""

import sys

from tests.helpers.toy_run import make_runner
from vislab.engine.environment import collect_environment


def test_runner_starts_without_distutils(tmp_path, monkeypatch):
    for name in ("distutils", "distutils.errors", "setuptools", "pkg_resources"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    make_runner(tmp_path, total=1).train()


def test_report_names_versions():
    report = collect_environment()
    assert {"python", "torch", "mmengine", "accelerators"} <= report.keys()
    assert all(isinstance(value, str) for value in report.values())
