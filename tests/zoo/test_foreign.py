"""Test checkpoints of other projects: names in both directions, permuted weights, pickles of arrays, reports."""

import pickle

import numpy as np
import pytest
import torch

from tests.helpers.mask2former_names import official_name, same_weights, small_model
from vislab.errors import CheckpointError, ConfigError
from vislab.zoo import load_foreign


def test_pickles_of_arrays_are_read_and_others_refused(tmp_path):
    source, target = small_model(), small_model(seed=1)
    arrays = {official_name(n): v.numpy() for n, v in source.state_dict().items()}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "x", "matching_heuristics": True}))
    assert not load_foreign(target, path).missing and same_weights(source, target)
    path.write_bytes(pickle.dumps({"model": {"a": np.ones(2)}, "run": pytest.raises}))
    with pytest.raises(CheckpointError, match="only arrays"):
        load_foreign(target, path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError):
        load_foreign(target, path)


def test_a_head_for_other_classes_is_left_and_reported():
    source, target = small_model(), small_model(seed=1, num_classes=8)
    before = target.decoder.class_embed.weight.clone()
    report = load_foreign(target, {official_name(n): v for n, v in source.state_dict().items()})
    assert set(report.mismatched) == {"decoder.class_embed.weight", "decoder.class_embed.bias"}
    assert torch.equal(before, target.decoder.class_embed.weight)
    assert torch.equal(source.decoder.query_feat.weight, target.decoder.query_feat.weight)


def test_what_cannot_be_loaded_is_explained():
    with pytest.raises(ConfigError, match="layout"):
        load_foreign(small_model(), {}, layout="tf")
    with pytest.raises(ConfigError, match="Linear"):
        load_foreign(torch.nn.Linear(2, 2), {})
    with pytest.raises(CheckpointError, match="unknown layout"):
        load_foreign(small_model(), {"fc.weight": torch.ones(2)})
    with pytest.raises(CheckpointError, match="none of its 1"):
        load_foreign(small_model(), {"sem_seg_head.predictor.nothing": torch.ones(2)})
