"""Test figures of pages: marks are read, commands are run once, and a figure is kept, moved, failed or not here."""

import pytest

from tests.helpers import REPOSITORY
from tests.helpers.warm import run_warm
from vislab.errors import ConfigError
from vislab.report.figures import last_value, read_figures, verify

SCRIPT = """import pathlib, sys
with open("runs", "a") as file:
    file.write("x")
print("epoch 1 psnr: 20.5")
print("RESULT psnr=31.25 ratio=6.5e-1 rows=3")
sys.exit(int(sys.argv[1]))
"""
PAGE = """# Page
31.3 dB, 0.65 times <!-- verify: python script.py 0; psnr = 31.3 +- 0.1 -->
<!-- verify: python script.py 0;
     ratio = .70 +- 0.01 -->
<!-- verify: python script.py 0; none = 1 +- 1 -->
<!-- verify: python script.py 3; psnr = 31.25 +- 1 -->
<!-- verify: not here; needs four GPUs -->
<!-- another comment -->
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path


def test_each_verdict(folder):
    figures = read_figures([folder / "page.md"])
    assert [figure.place.rpartition(":")[2] for figure in figures] == ["2", "3", "5", "6", "7"]
    found = list(verify(figures, folder, timeout=60))
    assert [verdict.status for verdict in found] == ["kept", "moved", "failed", "failed", "not here"]
    assert found[1].text == "ratio = 0.65 (0.7 +- 0.01): python script.py 0"
    assert "prints no none" in found[2].text and "status 3" in found[3].text
    assert (folder / "runs").read_text() == "xx", "each command is run once"


def test_commands_that_take_too_long(tmp_path):
    (tmp_path / "page.md").write_text("<!-- verify: python -c 'import time; time.sleep(60)'; a = 1 +- 0 -->")
    (verdict,) = verify(read_figures([tmp_path / "page.md"]), tmp_path, timeout=0.2)
    assert verdict.status == "failed" and "took more than 0.2 s" in verdict.text


def test_the_last_value_with_the_whole_name_counts():
    text = "psnr=1 val/psnr: 2.5, psnr: 3e1 psnr_8bit=4 psnr=.5.1"
    assert last_value(text, "psnr") == 30 and last_value(text, "val/psnr") == 2.5 and last_value(text, "snr") is None


@pytest.mark.parametrize("mark", ["python a.py", "rm -r x; a = 1 +- 1", "python a.py; a = 1", "not here;", ""])
def test_unreadable_marks_are_refused(tmp_path, mark):
    (tmp_path / "page.md").write_text(f"\n<!-- verify: {mark} -->")
    with pytest.raises(ConfigError, match=r"page\.md:2: cannot read the mark"):
        read_figures([tmp_path / "page.md"])
    with pytest.raises(ConfigError, match="there is no page"):
        read_figures([tmp_path / "none.md"])


def test_command(folder):
    done = run_warm([REPOSITORY / "tools/verify.py", "page.md"], cwd=folder)
    assert done.returncode == 1 and "1 kept, 1 moved, 2 failed, 1 not here" in done.stdout
    listed = run_warm([REPOSITORY / "tools/verify.py", "page.md", "--list", "--only", "script.py 3"], cwd=folder)
    assert listed.returncode == 0 and listed.stdout.splitlines()[-1] == "1 figures"


def test_marks_of_the_repository_can_be_read():
    figures = read_figures([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
    for figure in figures:
        script = figure.command.split()[1] if figure.command else ""
        assert (REPOSITORY / script).exists(), figure.place
