"""Test that importing the engine does not import transformers, and that it can be imported afterwards."""

import importlib.util
import subprocess
import sys

import pytest


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
def test_transformers_is_not_imported():
    code = "import sys, vislab.engine; assert 'transformers' not in sys.modules; from transformers import Adafactor"
    subprocess.run([sys.executable, "-c", code], check=True)
