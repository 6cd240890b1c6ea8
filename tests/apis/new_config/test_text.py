"""Test that written configs train, are formatted, and are not written for damaged data."""

import shutil
import subprocess
import sys
from zipfile import ZipFile

import pytest

from tests.helpers.standin_data import make_small
from vislab.apis.new_config import TASKS, new_config
from vislab.apis.new_config.text import network_size
from vislab.apis.training import dry_run
from vislab.engine.config.load import load_config
from vislab.errors import ConfigError, DataError

FOLDERS = {
    "classification": "cifar10",
    "semantic": "camvid",
    "depth": "rgbd_kitchen",
    "instance": "coco_panoptic",
    "panoptic": "coco_panoptic",
    "detection": "coco_panoptic",
    "rotated": "dior_photos",
}
QUICK = {"semantic", "panoptic", "rotated"}  # one of each model
SMALL = {"train_dataloader.batch_size": 2, "train_dataloader.num_workers": 0, "val_dataloader.num_workers": 0}
SMALL |= {f"{part}_dataloader.persistent_workers": False for part in ("train", "val")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_small(root)
    with ZipFile(root / "cifar10_subset.zip") as archive:
        archive.extractall(root)
    return root


@pytest.mark.parametrize(
    "task", [task if task in QUICK else pytest.param(task, marks=pytest.mark.slow) for task in TASKS]
)
def test_config_of_a_folder_takes_a_first_step(task, data, tmp_path):
    path = tmp_path / f"my_{task}.py"
    notes = new_config(task, data / FOLDERS[task], path, weights=False)
    assert notes[0].startswith("train: ") and notes[1].startswith("val: ")
    text = path.read_text()
    assert len(text.splitlines()) < 80 and max(map(len, text.splitlines())) <= 120
    found = dry_run(path, cfg_options=SMALL)
    assert found["loss"] > 0


@pytest.mark.data
@pytest.mark.parametrize("task", TASKS)
def test_config_of_real_files_takes_a_first_step(task, data_root, tmp_path):
    folder = data_root / FOLDERS[task]
    if task == "classification":
        with ZipFile(data_root / "cifar10_subset.zip") as archive:
            names = [name for name in archive.namelist() if name.endswith("00.jpg")]
            archive.extractall(tmp_path, names)
        folder = tmp_path / "cifar10"
    new_config(task, folder, tmp_path / "mine.py", weights=False)
    assert dry_run(tmp_path / "mine.py", cfg_options=SMALL)["loss"] > 0


def test_config_is_formatted_as_the_others(data, tmp_path):
    path = tmp_path / "my_config.py"
    new_config("semantic", data / "camvid", path, weights=False)
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--line-length", "120", "--diff", str(path)], capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("names", [["ship"], [f"traffic light {i}" for i in range(20)]])
def test_names_of_classes_arrive_whole(data, tmp_path, names):
    shutil.copytree(data / "dior_photos", tmp_path / "photos")
    for path in (tmp_path / "photos/labels").rglob("*.txt"):
        path.write_text("".join(f"0{line[1:]}\n" for line in path.read_text().splitlines()))
    (tmp_path / "photos/classes.txt").write_text("\n".join(names))
    new_config("rotated", tmp_path / "photos", tmp_path / "my_config.py", weights=False)
    cfg = load_config(tmp_path / "my_config.py")
    assert [*cfg.train_dataloader.dataset.classes] == names and cfg.model.num_classes == len(names)


def test_nothing_is_written_if_a_file_is_damaged(data, tmp_path):
    damaged = data / "camvid/train/0.png"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:60])
    try:
        with pytest.raises(DataError, match=r"0\.png"):
            new_config("semantic", data / "camvid", tmp_path / "my_config.py", weights=False)
    finally:
        damaged.write_bytes(content)
    assert not (tmp_path / "my_config.py").exists()


def test_bad_arguments(data, tmp_path):
    with pytest.raises(ConfigError, match="semantic"):
        new_config("sematic", data, tmp_path / "a.py")
    with pytest.raises(ConfigError, match="letters, digits"):
        new_config("semantic", data, tmp_path / "my-config.py")
    with pytest.raises(DataError, match="not a folder"):
        new_config("semantic", data / "none", tmp_path / "a.py")
    (tmp_path / "a.py").write_text("")
    with pytest.raises(ConfigError, match="exists"):
        new_config("semantic", data, tmp_path / "a.py")


def test_network_size():
    assert network_size((480, 640), 512, square=False) == (384, 512)
    assert network_size((20, 60), 512, square=False) == (32, 64)
    assert network_size((500, 333), 224, square=True) == 224
    assert network_size((32, 32), 224, square=True) == 128
