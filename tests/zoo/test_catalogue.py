"""Test the catalogue: metafiles are valid and current, wrong ones are refused, names are found."""

import pytest

from tests.helpers import REPOSITORY
from vislab.engine.config.source import shipped_configs
from vislab.errors import ConfigError
from vislab.zoo.catalogue import catalogue_page, find_entry, list_models, read_catalogue, read_metafile
from vislab.zoo.foreign import CONVERTERS

METAFILE = """
Collections:
  - {Name: A, Paper: {Title: T, URL: U}, README: R}
Models:
  - Name: small
    In Collection: A
    Config: configs/a/small.py
    Results:
      - {Task: T, Dataset: D, Metrics: {AP: 1.0}, Source: here}
"""


def test_page_is_current():
    assert (REPOSITORY / "docs/model_zoo.md").read_text() == catalogue_page()


def test_published_figures_stand_in_the_configs():
    for entry in read_catalogue().values():
        text = entry.config.read_text()
        for result in entry.results:
            assert all(str(value) in text for value in result["Metrics"].values()), entry.name


def test_each_config_is_listed():
    assert read_catalogue().keys() == shipped_configs().keys()


def test_layouts_are_those_of_the_converters():
    layouts = {layout for converter in CONVERTERS.values() for layout in converter.LAYOUTS} | {"vislab"}
    assert {weights.layout for entry in read_catalogue().values() for weights in entry.weights} <= layouts


def test_names_are_found_and_suggested():
    assert "mask2former_swin_t_coco_panoptic" in list_models("mask2former_swin_*")
    assert find_entry("deformable_detr_r50_coco").options == {"model.num_classes": 91}
    assert set(list_models()) < set(list_models(weights=False))
    with pytest.raises(ConfigError, match="did you mean 'mask2former_swin_t_coco_panoptic'"):
        find_entry("mask2former_swin-t_coco_panoptic")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("    Weigths: []", "unknown key 'Weigths'; did you mean 'Weights'"),
        ("    Weights: [{Hub: a/b}]", "need License, Layout"),
        ("    Weights: [{Hub: a/b, URL: http://c/d, Layout: vislab, License: MIT}]", "one of Hub, Package and URL"),
        ("    Weights: [{URL: http://c, Layout: vislab, License: MIT}]", "need SHA256 and Size"),
        ("    Weights: [{URL: 'file:///a.pth', Layout: hf, License: MIT}]", r"no http\(s\) address"),
        (
            "    Weights: [{Hub: a/b, File: ../a.pth, Layout: hf, License: MIT}]",
            "'../a.pth' would be written outside",
        ),
        ("    Weights: [{Package: a, File: /a.pth, Layout: hf, License: MIT}]", "'/a.pth' would be written outside"),
        ("    Weights: [{Hub: a/b, Licence: MIT}]", "unknown key 'Licence'; did you mean 'License'"),
        ("    Weights: [{Hub: a/b, SHA256: 12ab, Layout: hf, License: MIT}]", "must be 64 hexadecimal digits"),
        ("    Results: []", "small has no Results"),
        ("    Results: [{Task: T, Dataset: D, Metrics: {}, Source: here}]", "those that are not run have none"),
        ("    Results: [{Task: T, Dataset: D, Metrics: {AP: 1}, Source: not run}]", "those that are not run have none"),
        ("    Results: [{Task: T, Dataset: D, Metrics: {AP: 1}, Source: paper}]", "a Source of"),
    ],
)
def test_wrong_entries_are_refused(tmp_path, line, message):
    (tmp_path / "small.py").write_text("")
    (tmp_path / "metafile.yml").write_text(METAFILE)
    assert [entry.name for entry in read_metafile(tmp_path / "metafile.yml")] == ["small"]
    (tmp_path / "metafile.yml").write_text(METAFILE + line + "\n")
    with pytest.raises(ConfigError, match=message):
        read_metafile(tmp_path / "metafile.yml")


def test_an_entry_without_its_config(tmp_path):
    (tmp_path / "metafile.yml").write_text(METAFILE)
    with pytest.raises(ConfigError, match=r"expected small\.py next to the metafile"):
        read_metafile(tmp_path / "metafile.yml")
