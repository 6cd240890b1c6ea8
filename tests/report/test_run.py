"""Test reading configs and pictures of work directories; curves are tested in tests/tools/test_analyze_logs.py."""

import pytest

from vislab.report.run import parse_config, read_json, read_run


def test_config_is_read_without_running_it():
    text = "a = dict(type='x', b=[dict(c=-1.5), (1, None)], d=dict({'e.f': True}))\nf = 'text'\n"
    assert parse_config(text) == {"a": {"type": "x", "b": [{"c": -1.5}, [1, None]], "d": {"e.f": True}}, "f": "text"}
    with pytest.raises(ValueError):
        parse_config("a = open('x')")


def test_pictures_of_the_last_validation(tmp_path):
    for start, names in (
        ("1", ["val_000_9.png", "val_001_9.png"]),
        ("2", ["val_000_10.png", "val_001_10.png", "x.png"]),
    ):
        folder = tmp_path / start / "vis_data" / "vis_image"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    (tmp_path / "metrics.json").write_text('{"metrics": {}}')
    run = read_run(tmp_path)
    assert [path.name for path in run.pictures] == ["val_000_10.png", "val_001_10.png"] and run.curves == {}


def test_json_that_is_no_object(tmp_path, capsys):
    (tmp_path / "a.json").write_text("[1]")
    assert read_json(tmp_path / "a.json") == {} and "a.json is damaged" in capsys.readouterr().err
