"""Test stage 1: one row per object, stopped runs go on, several processes give the same, damaged files are named."""

import numpy as np
import pytest

from tests.helpers.aerial_trees import write_picture
from vislab.errors import ConfigError, DataError
from vislab.systems.mutdet.proposals import Proposals
from vislab.systems.mutdet.pseudo_file import PseudoFile
from vislab.systems.mutdet.pseudo_labels import check_sizes, find_objects, finish, image_names

SETTINGS = {"limit": 5}
FIT = {"dims": 3, "clusters": 2}


def propose(image, path) -> Proposals:
    """2 to 5 boxes that depend on the pixels; none for a name with "empty"."""
    count = 0 if "empty" in path else 2 + int(image[0].sum()) % 4
    rboxes = np.array([(20 + 10 * i, 30, 12 + i, 6, 0.1 * i) for i in range(count)], np.float32).reshape(-1, 5)
    return Proposals(rboxes, np.linspace(1, 0.5, count).astype(np.float32))


def embed(image, rboxes) -> np.ndarray:
    """An embedding that tells the box."""
    return np.concatenate([rboxes, rboxes**2], axis=1)


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(("b/1.png", "a.jpg", "empty.png", "c.png")):
        write_picture(tmp_path / "images" / name, seed=i)
    return tmp_path / "images"


def run(folder, out, **arguments):
    steps = list(find_objects(folder, out / "partial", propose, embed, SETTINGS, **arguments))
    return steps, finish(folder, out / "partial", out / "p.safetensors", FIT)


def test_rows_belong_together(folder, tmp_path):
    steps, (images, objects, book) = run(folder, tmp_path)
    assert [image.name for image in images] == ["a.jpg", "b/1.png", "c.png", "empty.png"] == image_names(folder)
    assert [step[:2] for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sum(step[2] for step in steps) == sum(len(o.rboxes) for o in objects) > 6
    file = PseudoFile(tmp_path / "p.safetensors")
    for i, image in enumerate(images):
        found = file.read(i)
        assert (image.height, image.width) == (64, 96)
        assert (len(found.rboxes) == 0) == ("empty" in image.name)
        embeddings, labels = book.apply(embed(None, found.rboxes))
        np.testing.assert_array_equal(found.embeddings, embeddings)
        np.testing.assert_array_equal(found.labels, labels)


def test_a_stopped_run_goes_on(folder, tmp_path):
    expected = run(folder, tmp_path / "whole")[1][1]
    calls = []

    def stop(image, rboxes):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return embed(image, rboxes)

    with pytest.raises(KeyboardInterrupt):
        list(find_objects(folder, tmp_path / "out/partial", propose, stop, SETTINGS))
    steps, (_, objects, _) = run(folder, tmp_path / "out")
    assert [step[0] for step in steps] == [3, 4]
    for a, b in zip(expected, objects, strict=True):
        np.testing.assert_array_equal(a.embeddings, b.embeddings)
    with pytest.raises(ConfigError, match="is a run with limit=5: repeat these settings"):
        list(find_objects(folder, tmp_path / "out/partial", propose, embed, {"limit": 6}))
    (tmp_path / "out/partial/settings.json").write_text('{"limit": 5')
    with pytest.raises(DataError, match="settings.json is damaged .*remove .*partial and repeat the command"):
        run(folder, tmp_path / "out")


@pytest.mark.slow
def test_several_processes_give_the_same(folder, tmp_path):
    a = run(folder, tmp_path / "one")
    run(folder, tmp_path / "two", workers=2)
    same = [(tmp_path / name / "p.safetensors").read_bytes() for name in ("one", "two")]
    assert same[0] == same[1] and len(a[0]) == 4


def test_clusters_of_another_run(folder, tmp_path):
    _, (_, objects, book) = run(folder, tmp_path)
    _, again, same = finish(folder, tmp_path / "partial", tmp_path / "q.safetensors", book)
    assert same is book
    for a, b in zip(objects, again, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)


def test_sizes_are_checked_before_the_work(folder, tmp_path):
    _, (_, _, book) = run(folder, tmp_path)
    check_sizes(book, 10, 1)
    check_sizes(FIT, 3, 1)
    for codebook, channels, limit, text in (
        (book, 11, 1, "fitted to embeddings of 10 channels, the encoder gives 11"),
        (FIT, 2, 1, "1 <= dims <= 2"),
        ({"dims": 2, "clusters": 0}, 2, 1, "at least one cluster"),
        (FIT, 3, 0, "limit=0"),
    ):
        with pytest.raises(ConfigError, match=text):
            check_sizes(codebook, channels, limit)


def test_other_images_are_not_mixed_in(folder, tmp_path):
    list(find_objects(folder, tmp_path / "x", propose, embed, SETTINGS))
    (folder / "c.png").rename(folder / "d.png")
    with pytest.raises(ConfigError, match="is a run with names="):
        list(find_objects(folder, tmp_path / "x", propose, embed, SETTINGS))


def test_errors(folder, tmp_path):
    with pytest.raises(DataError, match=r"a.jpg: \d boxes and \d embeddings"):
        list(find_objects(folder, tmp_path / "x", propose, lambda *args: embed(*args)[1:], SETTINGS))
    run(folder, tmp_path / "out")
    (tmp_path / "out/partial/0000001.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match="0000001.safetensors is damaged"):
        finish(folder, tmp_path / "out/partial", tmp_path / "out/q.safetensors", FIT)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="contains no images"):
        image_names(tmp_path / "none")
