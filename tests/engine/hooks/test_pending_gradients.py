"""Test that gradients of an open accumulation window are restored bit for bit on resume."""

import pytest
import torch

from tests.helpers.toy_run import broken_run, make_runner

BARE = {"val_cfg": None, "val_dataloader": None, "val_evaluator": None, "custom_hooks": []}


SGD = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}


ADAMW = {"optimizer": {"type": "AdamW", "lr": 0.01}, "clip_grad": {"max_norm": 0.5}}


@pytest.mark.parametrize(
    ("by_epoch", "total", "stop", "wrapper"),
    [(False, 12, 6, SGD), (True, 3, 8, ADAMW), (False, 10, 9, SGD)],
)
def test_resume_inside_an_accumulation_window(tmp_path, by_epoch, total, stop, wrapper):
    hooks = {"checkpoint": {"type": "CheckpointHook", "interval": 1 if by_epoch else 5}}
    options = {"by_epoch": by_epoch, "total": total, "default_hooks": hooks, **BARE}
    options["optim_wrapper"] = wrapper | {"accumulative_counts": 4}
    whole = make_runner(tmp_path / "whole", **options)
    whole.train()
    broken_run(tmp_path / "broken", stop, **options)
    resumed = make_runner(tmp_path / "broken", **options, resume=True)
    resumed.train()
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_gradients_that_do_not_fit_are_told(tmp_path):
    hooks = {"checkpoint": {"type": "CheckpointHook", "interval": 5}}
    options = {"by_epoch": False, "total": 8, "default_hooks": hooks, **BARE}
    broken_run(tmp_path, 6, optim_wrapper=SGD | {"accumulative_counts": 4}, **options)
    resumed = make_runner(tmp_path, optim_wrapper=SGD | {"accumulative_counts": 2}, resume=True, **options)
    said = []
    resumed.logger.warning = said.append
    resumed.train()
    assert any("1 of 4 iterations" in text and "do not fit" in text for text in said)
