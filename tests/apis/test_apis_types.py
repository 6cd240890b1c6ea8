"""Test that a type checker knows the types of the public API (mypy; skipped where it is not installed)."""

import re
import subprocess
import sys

import pytest

SCRIPT = """\
import vislab
from vislab.apis import Predictor, build_model, predict, test, train

reveal_type(vislab.create_model("hnerv_bunny_160x320_cpu"))
reveal_type(vislab.list_models())
reveal_type(train("config.py"))
reveal_type(test("config.py", "weights.pth"))
reveal_type(build_model("config.py"))
reveal_type(Predictor("name")(["photo.jpg"]))
for result in Predictor("name")(["photo.jpg"]):
    reveal_type(result.plot())
    reveal_type(result.to_coco())
"""
TYPES = [
    "torch.nn.modules.module.Module",
    "list[str]",
    "dict[str, float]",
    "dict[str, float]",
    "torch.nn.modules.module.Module",
    "list[vislab.apis.prediction.Prediction]",
    "numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]",
    "list[dict[str, Any]]",
]


def check(tmp_path, script: str) -> str:
    (tmp_path / "user.py").write_text(script)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--ignore-missing-imports",
        "user.py",
    ]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_a_type_checker_knows_the_public_api(tmp_path):
    pytest.importorskip("mypy")
    output = check(tmp_path, SCRIPT)
    assert "Success" in output, output
    assert re.findall(r'Revealed type is "(.*)"', output) == TYPES
    wrong = check(tmp_path, 'from vislab.apis import train\ntrain("config.py", work_folder="x")\n')
    assert 'Unexpected keyword argument "work_folder"' in wrong
