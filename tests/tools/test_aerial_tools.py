"""Test the tools of aerial data from end to end in this process: tiles and submissions of DOTA, pseudo labels."""

import json
import runpy
import sys
import zipfile
from argparse import ArgumentParser

import numpy as np
import pytest
from safetensors import safe_open

from tests.helpers import CONFIGS, TOOLS
from tests.helpers.aerial_trees import BOX, dota_line, make_hit_uav, write_picture
from vislab.commands import pseudo_labels
from vislab.errors import ConfigError
from vislab.structures import rotated_boxes as rb
from vislab.systems.mutdet.pseudo_file import PseudoFile


@pytest.fixture
def run(monkeypatch):
    """Returns a function that runs a tool with arguments."""

    def call(tool: str, *args: object) -> None:
        if tool == "pseudo_labels.py":
            parser = ArgumentParser()
            pseudo_labels.add_arguments(parser)
            pseudo_labels.main(parser.parse_args([*map(str, args)]))
            return
        monkeypatch.setattr(sys, "argv", [tool, *map(str, args)])
        content = runpy.run_path(str(TOOLS / tool))
        content["main"](content["parse_args"]())

    return call


def test_tiles_of_dota_and_a_submission(tmp_path, run, capsys):
    write_picture(tmp_path / "DOTA/images/P1.png", (64, 96))
    (tmp_path / "DOTA/labelTxt").mkdir()
    (tmp_path / "DOTA/labelTxt/P1.txt").write_text(dota_line(name="plane"))
    tiles = tmp_path / "tiles"
    run("dataset_converters/dota_tiles.py", tmp_path / "DOTA", "--out", tiles, "--size", 64, "--overlap", 32)
    assert f"2 tiles of 1 images are in {tiles}" in capsys.readouterr().out
    found = {}
    for place in json.loads((tiles / "tiles.json").read_text())["tiles"]:
        box = [BOX[0] - place["left"], *BOX[1:]]
        found[place["name"]] = [{"instances": [{"label": {"id": 0, "name": "plane"}, "score": 0.5, "rbbox": box}]}]
    (tmp_path / "predictions.json").write_text(json.dumps(found))
    out = tmp_path / "Task1.zip"
    run("dataset_converters/dota_submission.py", tiles / "tiles.json", tmp_path / "predictions.json", "--out", out)
    with pytest.raises(ConfigError, match="ends in .zip"):
        run("dataset_converters/dota_submission.py", tiles / "tiles.json", "missing.json", "--out", tmp_path / "a.txt")
    with zipfile.ZipFile(out) as archive:
        (line,) = archive.read("Task1_plane.txt").decode().splitlines()
        assert len(archive.namelist()) == 15
    np.testing.assert_allclose(np.array(line.split()[2:], float), rb.to_dota(np.array(BOX)), atol=0.01)


def test_pseudo_labels(tmp_path, run, capsys, monkeypatch):
    data = make_hit_uav(tmp_path / "hit_uav")
    monkeypatch.setenv("VISLAB_DATA", str(tmp_path))
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet10t").state_dict(), str(tmp_path / "w.safetensors"))
    common = ["--encoder", "resnet10t", "--weights", tmp_path / "w.safetensors", "--crop-size", 32, "--limit", 8]
    fit = ["--dims", 4, "--clusters", 3, "--labels", CONFIGS / "_base_/datasets/hit_uav.py"]
    for labels, message in (("missing.py", "there is no config"), ("hnerv_bunny", "nor the name of a shipped config")):
        with pytest.raises(ConfigError, match=message):
            run("pseudo_labels.py", data / "train", "--out", tmp_path / "new", *common, "--labels", labels)
    assert not (tmp_path / "new").exists()
    run("pseudo_labels.py", data / "train", "--out", tmp_path / "out", *common, *fit)
    printed = capsys.readouterr().out
    assert "objects in 4 images are in" in printed and "recall at IoU 0.5 of 3 labeled objects: 0.000 with 8" in printed
    file = PseudoFile(tmp_path / "out/pseudo_labels.safetensors")
    assert (file.clusters, file.channels, len(file.images)) == (3, 4, 4)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["codebook.safetensors", "pseudo_labels.safetensors"]
    with safe_open(tmp_path / "out/codebook.safetensors", "np") as book:
        assert book.get_tensor("centroids").shape == (3, 4)
    with pytest.raises(ConfigError, match="pseudo_labels.safetensors exists"):
        run("pseudo_labels.py", data / "train", "--out", tmp_path / "out", *common, *fit)
    with pytest.raises(ConfigError, match="device='foo' cannot be used"):
        run("pseudo_labels.py", data / "train", "--out", tmp_path / "new", *common, "--device", "foo")
    with pytest.raises(ConfigError, match="remove --dims and --clusters"):
        run("pseudo_labels.py", data / "train", "--out", tmp_path / "x", *common, *fit, "--codebook", tmp_path / "out")
    run("pseudo_labels.py", data / "train", "--out", tmp_path / "again", *common, "--codebook", tmp_path / "out")
    again = PseudoFile(tmp_path / "again/pseudo_labels.safetensors")
    np.testing.assert_array_equal(again.read(0).embeddings, file.read(0).embeddings)
    with pytest.raises(ConfigError, match="use one of them"):
        run("pseudo_labels.py", data / "train", "--out", tmp_path / "x", *common, "--masks", "m", "--model", "a", "b")
