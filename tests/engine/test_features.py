"""Test the extraction and the cache of features: eval mode, order, keys, stale and damaged files, refusals."""

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from torch import nn

from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import LoadImage, PackInputs, Resize
from vislab.engine import features as module
from vislab.engine.features import (
    Extractor,
    Features,
    cached_features,
    check_features,
    dataset_fingerprint,
    extract,
)
from vislab.errors import DataError
from vislab.models.preprocessor import ImagePreprocessor

VIT = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}


def write_images(folder: Path, count: int = 6, side: int = 16) -> Path:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for number in range(count):
            path = folder / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 256, (side, side, 3), np.uint8))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "images")


def dataset(folder: Path, *steps) -> ImageFolder:
    return ImageFolder(data_root=str(folder), pipeline=[LoadImage(), *steps, PackInputs()])


def make_extractor(seed: int = 0, tokens: bool = False, **changes) -> Extractor:
    torch.manual_seed(seed)
    encoder = timm.create_model("vit_tiny_patch16_224", **{**VIT, **changes})
    return Extractor(encoder, ImagePreprocessor(), tokens=tokens)


def test_features_are_those_of_the_encoder_in_eval_mode(folder):
    extractor = make_extractor(tokens=True, drop_path_rate=0.9)
    extractor.encoder.train()
    extractor.encoder.blocks[0].eval()
    found = extract(extractor, dataset(folder), batch_size=5)
    assert extractor.encoder.training and not extractor.encoder.blocks[0].training  # as before
    images = torch.stack([dataset(folder)[i]["inputs"] for i in range(12)]).float() / 255
    with torch.no_grad():
        output = extractor.encoder.eval().forward_features(images).numpy()
    assert np.allclose(found.arrays["class"], output[:, 0], atol=1e-5)
    assert np.allclose(found.arrays["mean"], output[:, 1:].mean(1), atol=1e-5)
    assert np.allclose(found.arrays["tokens"], output, atol=1e-2) and found.arrays["tokens"].dtype == np.float16
    assert found.labels.tolist() == [0] * 6 + [1] * 6


def test_batch_norm_statistics_do_not_change(folder):
    encoder = timm.create_model("resnet10t", num_classes=0).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    extract(Extractor(encoder, ImagePreprocessor()), dataset(folder, Resize(size=64)), batch_size=4)
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in before.items())


def test_a_file_is_read_until_something_changes(folder, tmp_path):
    calls = []
    run = lambda extractor, data, **settings: calls.append(0) or cached_features(tmp_path, extractor, data, settings)
    extractor = make_extractor()
    first, known = run(extractor, dataset(folder))
    assert not known
    again, known = run(make_extractor(), dataset(folder))
    assert known and np.array_equal(first.arrays["mean"], again.arrays["mean"])
    others = [
        run(make_extractor(seed=1), dataset(folder)),  # other weights
        run(make_extractor(num_heads=4), dataset(folder)),  # the same weights with other heads
        run(Extractor(extractor.encoder, ImagePreprocessor(mean=(0.5,) * 3, std=(0.5,) * 3)), dataset(folder)),
        run(Extractor(extractor.encoder, ImagePreprocessor(), layer=0), dataset(folder)),
        run(extractor, dataset(folder), size=8),
    ]
    assert not any(known for _, known in others)
    assert len(list(tmp_path.glob("features_*.npz"))) == 6


def test_changed_images_and_labels_change_the_key(folder):
    before = dataset_fingerprint(dataset(folder))
    path = folder / "cat/0.png"
    os.utime(path, ns=(1, 1))
    touched = dataset_fingerprint(dataset(folder))
    path.rename(folder / "dog/0_.png")
    assert len({before, touched, dataset_fingerprint(dataset(folder))}) == 3


def test_archives_count_with_their_content(folder, tmp_path):
    archive = tmp_path / "set.zip"

    def write(change: bool) -> str:
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*.png")):
                data = path.read_bytes()
                file.writestr(str(path.relative_to(folder)), data[:-1] + b"x" if change and path.stem == "3" else data)
        return dataset_fingerprint(ImageFolder(data_root=str(archive)))

    assert write(False) == write(False) != write(True)


def test_a_change_outside_the_key_is_noticed(folder, tmp_path, logged):
    extractor = make_extractor()
    first, _ = cached_features(tmp_path, extractor, dataset(folder), {})
    (path,) = tmp_path.glob("*.npz")
    np.savez(path, labels=first.labels, **{name: values + 1 for name, values in first.arrays.items()})
    again, known = cached_features(tmp_path, extractor, dataset(folder), {})
    assert not known and np.array_equal(again.arrays["mean"], first.arrays["mean"])
    assert "cached features differ" in logged()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"text"])
def test_a_damaged_file_is_replaced(folder, tmp_path, content, logged):
    extractor = make_extractor()
    cached_features(tmp_path, extractor, dataset(folder), {})
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(content)
    assert not cached_features(tmp_path, extractor, dataset(folder), {})[1]
    assert "damaged" in logged() and cached_features(tmp_path, extractor, dataset(folder), {})[1]


def test_what_cannot_be_kept_is_refused(folder, monkeypatch):
    write_images(folder / "bird", count=1, side=32)
    encoder = timm.create_model("resnet10t", num_classes=0)
    with pytest.raises(DataError, match="different sizes"):
        extract(Extractor(encoder, ImagePreprocessor(), tokens=True), dataset(folder, Grow()), batch_size=1)
    with pytest.raises(DataError, match="range of float16"):
        extractor = make_extractor(tokens=True)
        nn.init.constant_(extractor.encoder.norm.bias, 1e6)
        extract(extractor, dataset(folder, Resize(size=16)))
    monkeypatch.setattr(module.os, "sysconf", lambda name: 8)
    with pytest.raises(DataError, match="more than half of the memory"):
        extract(make_extractor(), dataset(folder, Resize(size=16)))


class Grow:
    """Doubles the size of all images of the class "dog" and makes them large enough for two cells."""

    def __call__(self, results: dict) -> dict:
        side = 128 if "dog" in results["img_path"] else 64
        return Resize(size=side)(results)


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda a, b: (a._replace(labels=a.labels * 0 + 3), b), "all 6 training images have class 3"),
        (lambda a, b: (a._replace(labels=a.labels[:5]), b), "6 training features 'mean', but 5 labels"),
        (lambda a, b: (a._replace(labels=a.labels - 1), b), "label -1 of a training image is no class"),
        (lambda a, b: (a, Features({"mean": b.arrays["mean"][:0]}, b.labels[:0])), "there are no test images"),
        (lambda a, b: (Features({}, a.labels[:0]), b), "there are no training images"),
        (lambda a, b: (a, Features({"tokens": np.full((6, 2, 3), np.nan, np.float16)}, b.labels)),
         "6 of 6 test features contain NaN"),
        (lambda a, b: (Features({"mean": np.vstack([[np.inf] * 4, np.ones((5, 4))])}, a.labels), b),
         "1 of 6 training features contain NaN or infinity"),
    ],
)  # fmt: skip
def test_features_that_cannot_be_classified_are_refused(change, text):
    train, test = (Features({"mean": np.ones((6, 4), np.float32)}, np.arange(6) % 2) for _ in range(2))
    check_features(train, test)
    with pytest.raises(DataError, match=text):
        check_features(*change(train, test))


def test_samples_without_a_label_are_refused(folder):
    class Unlabeled:
        def __call__(self, results: dict) -> dict:
            results.pop("label")
            return results

    with pytest.raises(DataError, match="no single class label"):
        extract(make_extractor(), dataset(folder, Unlabeled()))
