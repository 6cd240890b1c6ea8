"""Test inputs of predictions: conversion of all image types to RGB, files with unique names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.files import write_film
from vislab.apis.inputs import Job, collect, count_images, is_folder, read_image, sources
from vislab.errors import DataError


def test_inputs_get_unique_names_and_missing_ones_a_message(tmp_path):
    for name in ("x/a.jpg", "x/deep/a.png", "y/a.PNG", "y/note.txt", "film.MP4", "empty/readme"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    jobs, problems = collect([tmp_path / n for n in ("x", "y", "film.MP4", "y/a.PNG", "empty", "gone.png")])
    assert [job.name for job in jobs] == ["a", "deep/a", "a_2", "film", "a_3"]
    assert jobs[3] == Job(tmp_path / "film.MP4", "film", True)
    assert "empty: the folder contains no images" in problems[0] and "gone.png: there is no such" in problems[1]


RED = np.zeros((24, 40, 3), np.uint8)
RED[:12, :20] = (220, 40, 40)  # in the top left quarter


def test_results_of_one_input_do_not_replace_those_of_another(tmp_path):
    for name in ("a.png", "a.jpg", "a_sem_seg.png"):
        Image.fromarray(RED).save(tmp_path / name)
    jobs, _ = collect([tmp_path])
    assert [job.name for job in jobs] == ["a", "a_2", "a_sem_seg_2"]


def stored(mode: str) -> Image.Image:
    return Image.fromarray(RED).convert(mode)


def test_arrays_and_images_become_rgb(tmp_path):
    alpha = np.dstack([RED, np.full((24, 40), 9, np.uint8)])
    for source in (RED, alpha, RED[::-1][::-1], Image.fromarray(RED), Image.fromarray(alpha), stored("RGBA")):
        found = read_image(source)
        np.testing.assert_array_equal(found, RED)
        found[...] = 0  # of its own
    assert RED.max() == 220
    gray = RED[..., 0]
    for source in (gray, gray[..., None], Image.fromarray(gray), Image.fromarray(gray).convert("LA")):
        np.testing.assert_array_equal(read_image(source), np.dstack([gray] * 3))
    np.testing.assert_array_equal(read_image(Image.fromarray(gray > 0)), np.dstack([(gray > 0) * np.uint8(255)] * 3))
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray(RED).save(tmp_path / "a.png", exif=exif)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.open(tmp_path / "a.png")):
        np.testing.assert_array_equal(read_image(source), np.rot90(RED))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (RED.transpose(2, 0, 1), "mine is an array of uint8 with shape .*transpose"),
        (RED / 255, r"mine is an array of float64.*\* 255"),
        (np.zeros((5, 5, 2), np.uint8), "shape"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
        (Image.new("I", (4, 4)), "mine is a PIL image of mode I"),
        (7, "mine is a int"),
    ],
)
def test_what_is_no_image_is_named(source, message):
    with pytest.raises(DataError, match=message):
        read_image(source, "mine")


def test_sources_are_one_per_image_and_read_late(tmp_path):
    for name in ("f/b.png", "f/a.jpg", "f/deep/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RED).save(tmp_path / name)
    write_film(tmp_path / "v.mp4", [RED] * 3)
    inputs = [tmp_path / "f", RED, tmp_path / "v.mp4", "gone.png", Image.fromarray(RED)]
    found = list(sources(inputs))
    assert [Path(s.name).name for s in found] == [
        *("a.jpg", "b.png", "c.png", "image 1", "00000", "00001", "00002", "gone.png", "image 4")
    ]
    assert [s.frame for s in found[4:7]] == [0, 1, 2] and [float(s.time) for s in found[4:7]] == [0, 0.04, 0.08]
    assert all(s.read().shape == (24, 40, 3) for s in found if s.name != "gone.png")
    with pytest.raises(DataError, match="gone.png"):
        found[7].read()
    assert count_images(inputs[:2]) == 4 and count_images(iter(inputs)) is None and count_images(inputs) is None


def test_only_what_is_asked_for_is_taken_from_a_generator():
    taken = []

    def images():
        for k in range(10):
            taken.append(k)
            yield np.full((4, 4), k, np.uint8)

    some = sources(images())
    assert [next(some).name, next(some).name] == ["image 0", "image 1"] and taken == [0, 1]


def test_one_image_or_several():
    for one in (RED, Image.fromarray(RED), "a.png", Path("a.png"), b"x", {"a": 1}, 7, None):
        assert len(list(sources(one))) == count_images(one) == 1
    assert [s.name for s in sources(p for p in ("a", "b"))] == ["a", "b"]
    assert list(sources([])) == [] and list(sources(iter(()))) == []
    assert [s.read().shape for s in sources(np.stack([RED, RED]))] == [(24, 40, 3)] * 2


def test_inputs_that_are_empty_or_broken_say_so_when_read(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.mp4").write_text("no video")
    for name, message in (("empty", "contains no images"), ("bad.mp4", "bad.mp4")):
        (source,) = sources(tmp_path / name)
        with pytest.raises(DataError, match=message):
            source.read()


def test_names_are_one_per_input():
    assert [s.name for s in sources([RED, RED], ["a", "b"])] == ["a", "b"]
    for names in (["a"], ["a", "b", "c"]):
        with pytest.raises(DataError, match="one name per image"):
            list(sources([RED, RED], names))


def test_images_are_not_downloaded_offline(monkeypatch):
    monkeypatch.setenv("VISLAB_OFFLINE", "1")
    with pytest.raises(DataError, match="VISLAB_OFFLINE is set"):
        read_image("http://127.0.0.1:9/a.png")


def test_addresses_get_the_name_of_their_file():
    jobs, problems = collect(["https://x.org/deep/a%20b.png?size=3", "HTTP://x.org/", "http://x.org/film.mp4"])
    assert [(job.name, job.video) for job in jobs] == [("a b", False), ("image", False)]
    assert len(problems) == 1 and problems[0].startswith("http://x.org/film.mp4: ")
    assert not is_folder("a\0b") and not is_folder("x" * 5000)
