"""Test browsing of samples: selection, pixels, and one image per transform."""

import cv2
import numpy as np
import pytest

from vislab.datasets.scenes import Scenes
from vislab.errors import ConfigError
from vislab.visualization.browse import browse

LOAD, PACK = {"type": "LoadImage"}, {"type": "PackInputs"}


def config(*steps, length=9) -> dict:
    dataset = {"type": "Scenes", "length": length, "size": (30, 40), "pipeline": [LOAD, *steps, PACK]}
    return {"train_dataloader": {"dataset": dataset}}


@pytest.fixture
def bare(monkeypatch) -> None:
    """Pictures without labels: the pixels of the sample alone."""
    show = lambda item, _: item["inputs"].permute(1, 2, 0).numpy()
    monkeypatch.setattr("vislab.visualization.browse._finished", show)


def test_samples_are_spread_evenly_and_shown_as_they_are(tmp_path, bare):
    paths = browse(config(), out=tmp_path / "new", number=3)
    assert [path.name for path in paths] == ["train_000000.png", "train_000004.png", "train_000008.png"]
    for path, index in zip(paths, (0, 4, 8), strict=True):
        np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], Scenes(length=9, size=(30, 40))[index]["img"])
    assert len(browse(config(length=2), out=tmp_path, number=5)) == 2


def test_augmentation_repeats_with_the_seed(tmp_path):
    def shown(seed: int, folder: str) -> list[np.ndarray]:
        paths = browse(config({"type": "RandomFlip", "prob": 0.5}), out=tmp_path / folder, number=9, seed=seed)
        return [cv2.imread(str(path)) for path in paths]

    first, again, other = shown(0, "a"), shown(0, "b"), shown(1, "c")
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_stages_are_rows_below_each_other(tmp_path, bare):
    """Two sizes, so two pictures: 30x40 and, after the second step, 60x80."""
    steps = ({"type": "Resize", "size": (60, 80)},)
    (finished,) = browse(config(*steps), out=tmp_path / "a", number=1)
    (stages,) = browse(config(*steps), out=tmp_path / "b", number=1, stages=True)
    assert cv2.imread(str(finished)).shape[:2] == (60, 80)
    height, width = cv2.imread(str(stages)).shape[:2]
    assert height >= 30 + 60 and 80 <= width < 160


def test_a_split_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no val_dataloader"):
        browse(config(), out=tmp_path, split="val")
