"""Test the derived dataset: qualities of single exits, kept after an interruption."""

import numpy as np
import pytest
import torch

from tests.helpers.eco_m2f import (
    CLASSES,
    EXITS,
    build_model,
    labeled_batches,
)
from vislab.errors import DataError
from vislab.systems.eco_m2f import (
    Derived,
    derive,
    image_quality,
)


def test_derived_qualities_are_those_of_single_exits(tmp_path):
    torch.manual_seed(0)
    model = build_model(inference={"tasks": ("panoptic", "semantic"), "score_threshold": 0.0, "overlap_threshold": 0.0})
    derived = derive(model, labeled_batches(3), tmp_path / "d.npz")
    assert derived.quality.shape == (3, 3) and derived.features.shape == (3, 32) and derived.exits == EXITS
    model.eval()
    for i, batch in enumerate(labeled_batches(3, 1)):
        for column, k in enumerate(EXITS):
            with torch.no_grad():
                data = model.data_preprocessor(batch)
                sample = model(**data, mode="predict", num_layers=k)[0]
            assert image_quality(sample, "pq", CLASSES)[0] == pytest.approx(derived.quality[i, column])
    same = Derived.load(tmp_path / "d.npz")
    assert same.names == derived.names and np.array_equal(same.counts, derived.counts)
    other = derive(model, labeled_batches(3), tmp_path / "m.npz", measure="miou")
    assert ((other.quality >= 0) & (other.quality <= 1)).all() and other.counts.shape == (3, 3, CLASSES, 3)


def test_deriving_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    model, path = build_model(), tmp_path / "d.npz"
    whole = derive(model, labeled_batches(5), tmp_path / "whole.npz")

    def interrupted():
        for i, batch in enumerate(labeled_batches(5)):
            if i == 2:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        derive(model, interrupted(), path, save_every=2)
    assert len(Derived.load(path).names) == 4
    seen = []
    project = model.pixel_decoder.project
    monkeypatch.setattr(model.pixel_decoder, "project", lambda m: seen.append(len(m[0])) or project(m))
    again = derive(model, labeled_batches(5), path)
    assert seen == [1] and again.names == whole.names
    np.testing.assert_allclose(again.quality, whole.quality)
    with pytest.raises(DataError, match="another file"):
        derive(model, labeled_batches(5), path, measure="miou")
    path.write_bytes(b"cut off")
    with pytest.raises(DataError, match="Run derive again"):
        derive(model, labeled_batches(5), path)
