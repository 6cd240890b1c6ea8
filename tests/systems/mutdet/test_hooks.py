"""Test the start of fine-tuning: what is left out, other depths, resumed runs."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop

from tests.helpers.deformable_detr import DINO, LAYERS
from tests.helpers.mutdet import small_detector, small_mutdet
from vislab.systems.mutdet import StartFromPretraining
from vislab.systems.mutdet.hooks import detector_weights

BACKBONE = {"name": "resnet10t", "out_indices": (2, 3, 4)}


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_exactly_the_detector_is_kept_whatever_the_depth(layers):
    torch.manual_seed(0)
    state = small_mutdet().state_dict()
    torch.manual_seed(1)
    detector = small_detector(backbone=BACKBONE, decoder=LAYERS | DINO | {"num_layers": layers})
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    missing, unexpected = detector.load_state_dict(detector_weights(state), strict=False)
    new = {f"decoder.{part}.{i}." for part in ("layers", "heads") for i in range(2, layers)}
    old = {f"decoder.{part}.{i}." for part in ("layers", "heads") for i in range(layers, 2)}
    anew = [n for n in missing if not n.startswith(tuple(new))]
    heads = [f"decoder.heads.{i}" for i in range(min(layers, 2))] + ["proposals.head"]
    assert sorted(anew) == sorted(
        [f"{h}.classes.{p}" for h in heads for p in ("weight", "bias")] + ["denoising.labels.weight"]
    )
    assert all(name.startswith(tuple(old)) for name in unexpected) and bool(unexpected) == (layers < 2)
    for name, value in detector.state_dict().items():
        expected = before[name] if name in missing else state[name]
        assert torch.equal(value, expected), name


@pytest.mark.parametrize(("resumed", "training"), [(False, True), (True, True), (False, False)])
def test_only_a_new_training_run_starts_from_it(resumed, training):
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop) if training else {"max_epochs": 1}
    lines = []
    runner = SimpleNamespace(_resume=resumed, _train_loop=loop, logger=SimpleNamespace(info=lines.append))
    names = ("pretext.embed.x", "decoder.heads.0.classes.weight", "denoising.labels.weight", "neck.x")
    checkpoint = {"state_dict": dict.fromkeys(names, 0)}
    StartFromPretraining().after_load_checkpoint(runner, checkpoint)
    kept = ["neck.x"] if training and not resumed else list(names)
    assert list(checkpoint["state_dict"]) == kept and bool(lines) == (len(kept) == 1)
