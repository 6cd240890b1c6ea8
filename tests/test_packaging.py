"""Test that configs can be inherited from a checkout and from an installed wheel, which has all files."""

import os
import re
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from vislab import __version__
from vislab.__main__ import COMMANDS
from vislab.engine.config.load import load_config
from vislab.errors import ConfigError

REPOSITORY = Path(__file__).parents[1]
CONFIGS = REPOSITORY / "configs"
FILES = sorted(CONFIGS.rglob("*.py"))
LEAVES = [path for path in FILES if "_base_" not in path.parts]
SYSTEMS = sorted(path.name for path in (REPOSITORY / "vislab/systems").iterdir() if (path / "__init__.py").exists())
CHILD = """from mmengine.config import read_base

with read_base():
    from vislab.configs.{module} import *

log_level = "ERROR"
"""


def module(path: Path) -> str:
    return ".".join(path.relative_to(CONFIGS).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_names_can_be_imported(path):
    assert all(part.isidentifier() for part in module(path).split("."))


# one of each folder in the default run
FIRST = {path.parent: path for path in reversed(LEAVES)}.values()


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=module(p), marks=[] if p in FIRST else pytest.mark.slow) for p in LEAVES]
)
def test_a_config_elsewhere_inherits_a_shipped_one(path, tmp_path):
    (tmp_path / "mine.py").write_text(CHILD.format(module=module(path)))
    mine, shipped = load_config(tmp_path / "mine.py").to_dict(), load_config(path).to_dict()
    assert mine.pop("log_level") == "ERROR" and shipped.pop("log_level") == "INFO"
    assert mine == shipped


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vislab.configs.hnerv.hnerv_bunny_160x320_cpuu", "did you mean .*hnerv_bunny_160x320_cpu.py"),
        ("vislab.configs.hnrv.hnerv_bunny_160x320_cpu", "no package 'vislab.configs.hnrv'"),
        ("vislab.config.hnerv.hnerv_bunny_160x320_cpu", "begin with vislab.configs"),
        ("nothing.like_it", "no package 'nothing'"),
        ("nothing", "no package ''"),
    ],
)
def test_a_wrong_base_is_named_with_its_line(name, message, tmp_path):
    (tmp_path / "mine.py").write_text(
        f"from mmengine.config import read_base\nwith read_base():\n    from {name} import *"
    )
    with pytest.raises(ConfigError, match=f"mine.py, line 3: .*{message}"):
        load_config(tmp_path / "mine.py")


def test_configs_of_another_package(tmp_path, monkeypatch):
    (tmp_path / "elsewhere/settings").mkdir(parents=True)
    (tmp_path / "elsewhere/settings/base.py").write_text("work_dir = 'there'\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from mmengine.config import read_base\nwith read_base():\n    from elsewhere.settings.base import *\n"
    )
    assert load_config(tmp_path / "mine.py").work_dir == "there"


def test_the_former_names_still_lead_to_the_file():
    with pytest.warns(UserWarning, match="is called fpn_lite0_rgbd_kitchen.py now"):
        cfg = load_config(CONFIGS / "timesnet/fpn_lite0_rgbd-kitchen.py")
    assert Path(cfg.filename).name == "fpn_lite0_rgbd_kitchen.py"


def test_files_that_are_not_python_are_named_in_the_package_data():
    """Else an installed package lacks them, and only what reads them fails, such as the report of a finished run."""
    patterns = ConfigParser()
    patterns.read(REPOSITORY / "setup.cfg")
    patterns = [pattern.strip() for pattern in patterns["options.package_data"]["*"].split(",")]
    files = [path for path in (REPOSITORY / "vislab").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in (file for file in files if file.suffix != ".py"):
        package = next(folder for folder in path.parents if (folder / "__init__.py").is_file())
        assert any(path in package.glob(pattern) for pattern in patterns), path


@pytest.fixture
def source(tmp_path):
    """A copy of what a build needs: it leaves folders behind."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("vislab", "configs", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(REPOSITORY / name), str(folder / name)], check=True)
    return folder


@pytest.mark.slow
def test_an_editable_install_is_found_before_a_folder_of_its_name(source, tmp_path):
    """In the folder that contains a clone named vislab, `import vislab` is the package, not the clone."""
    clone = source.rename(tmp_path / "vislab")
    code = f"from setuptools.build_meta import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=clone, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    code = f"import site, sys; sys.path = [p for p in sys.path if p != {str(REPOSITORY)!r}]; site.addsitedir('site'); "
    code += (
        "from vislab.configs import hnerv; import vislab; print(vislab.__version__, vislab.__file__, *hnerv.__path__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [f"{clone}/vislab/__init__.py", f"{clone}/configs/hnerv"], done.stderr


@pytest.mark.slow
def test_a_wheel_brings_the_configs(source, tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(source)]
    subprocess.run(wheel, check=True, capture_output=True)
    target, work = tmp_path / "installed", tmp_path / "work"
    install = [*pip, "install", "--no-deps", "-q", "--target", str(target), *map(str, tmp_path.glob("*.whl"))]
    subprocess.run(install, check=True, capture_output=True)
    assert not (target / "configs").exists()
    found = sorted(p.relative_to(target / "vislab/configs") for p in (target / "vislab/configs").rglob("*.py"))
    assert found == sorted([*(p.relative_to(CONFIGS) for p in FILES), Path("__init__.py")])

    data = [path for path in (REPOSITORY / "vislab").rglob("*") if path.suffix in (".j2", ".typed")]
    assert data and all((target / path.relative_to(REPOSITORY)).is_file() for path in data)

    work.mkdir()
    (work / "mine.py").write_text(CHILD.format(module="hnerv.hnerv_bunny_160x320_cpu"))
    code = (
        "import vislab; from vislab.engine.config.load import load_config\n"
        "cfg = load_config('mine.py'); print(vislab.__file__, cfg.train_cfg.max_epochs, cfg.log_level)"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run([sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, text=True)
    epochs = load_config(CONFIGS / "hnerv/hnerv_bunny_160x320_cpu.py").train_cfg.max_epochs
    assert done.stdout.split()[1:] == [str(epochs), "ERROR"] and str(target) in done.stdout, done.stderr


def test_the_repository_holds_no_packages():
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this folder is no git checkout")
    assert not [name for name in listed.stdout.splitlines() if name.endswith((".whl", ".gz", ".zip", ".pth"))]


def test_citation_has_the_version_and_the_papers_of_all_systems():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    addresses = [paper["url"].removeprefix("https://arxiv.org/abs/") for paper in citation["references"]]
    pages = {name: (REPOSITORY / f"docs/{name}.md").read_text() for name in SYSTEMS}
    assert {name: sum(number in page for number in addresses) for name, page in pages.items()} == dict.fromkeys(
        SYSTEMS, 1
    )


def test_workflow_runs_targets_and_commands_that_exist():
    jobs = yaml.safe_load((REPOSITORY / ".github/workflows/tests.yml").read_text())["jobs"]
    commands = "\n".join(step["run"] for job in jobs.values() for step in job["steps"] if "run" in step)
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", commands, re.MULTILINE):
        assert f"\n{target}:" in makefile
    assert set(re.findall(r"vislab (\w+)", commands)) <= set(COMMANDS)
    versions = jobs["test"]["strategy"]["matrix"]["python"]
    assert (
        versions == ["3.10", "3.11", "3.12", "3.13"]
        and "python_requires = >=3.10" in (REPOSITORY / "setup.cfg").read_text()
    )
