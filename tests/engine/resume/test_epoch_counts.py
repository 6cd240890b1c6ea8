"""Test that components by epoch raise an error in runs by iterations."""

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.optim import MultiStepLR, ReduceOnPlateauLR

from tests.helpers.toy_run import make_runner
from vislab.engine.hooks import CheckpointHook
from vislab.engine.resume.epoch_counts import check_hooks, check_schedules
from vislab.errors import ConfigError

MULTI_STEP = [{"type": "MultiStepLR", "milestones": [4], "by_epoch": True}]


def test_what_counts_epochs_is_refused_in_runs_counted_in_iterations(tmp_path):
    options = {"by_epoch": False, "total": 6}
    cases = [
        ({"param_scheduler": MULTI_STEP}, r"param_scheduler\[0\] \(MultiStepLR\) has by_epoch=True"),
        (
            {"default_hooks": {"checkpoint": {"type": "CheckpointHook", "by_epoch": True}}},
            "CheckpointHook has by_epoch",
        ),
        ({"custom_hooks": [{"type": "EMAHook", "begin_epoch": 2}]}, "EMAHook has begin_epoch=2.*begin_iter"),
    ]
    for changes, message in cases:
        with pytest.raises(ConfigError, match=message):
            make_runner(tmp_path, **options, **changes).train()


def test_schedules_by_iteration_pass_and_those_of_each_optimizer_are_looked_at():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    by_iteration = MultiStepLR(optimizer, milestones=[4], by_epoch=False)
    check_schedules([by_iteration])
    check_schedules({"one": [by_iteration], "other": []})
    by_epoch = MultiStepLR(optimizer, milestones=[4])
    with pytest.raises(ConfigError, match=r"param_scheduler.other\[1\] \(MultiStepLR\)"):
        check_schedules({"one": [by_iteration], "other": [by_iteration, by_epoch]})
    check_schedules([ReduceOnPlateauLR(optimizer, monitor="loss")])  # it steps at each validation
    with pytest.raises(ConfigError, match=r"\(ReduceOnPlateauLR\) has begin=2 in epochs"):
        check_schedules([ReduceOnPlateauLR(optimizer, monitor="loss", begin=2)])


def test_hooks_that_begin_at_once_pass():
    check_hooks([EMAHook(), EMAHook(begin_iter=10), EMAHook(begin_epoch=1), CheckpointHook(by_epoch=False)])
    with pytest.raises(ConfigError, match="begin_epoch=3"):
        check_hooks([EMAHook(), EMAHook(begin_epoch=3)])
