"""Tests of the content of checkpoints: plain data under the keys that a resume reads."""

import time

import torch

from tests.helpers.toy_run import make_runner
from vislab.engine.checkpoint_content import checkpoint_content


def test_everything_is_there_and_plain(tmp_path):
    runner = make_runner(tmp_path, total=1, custom_hooks=[])
    runner.train()
    meta = {"epoch": 1, "iter": 6, "mine": 7}
    content = checkpoint_content(runner, meta, save_optimizer=True, save_param_scheduler=True)
    assert {
        "meta",
        "state_dict",
        "message_hub",
        "hooks",
        "settings",
        "optimizer",
        "param_schedulers",
        "random_state",
    } <= set(content)
    assert (
        content["meta"]["mine"] == 7 and content["meta"]["seed"] == 3 and 0 < content["meta"]["seconds"] < time.time()
    )
    assert content["meta"]["dataset_meta"]["classes"] == ("a", "b")
    assert all(torch.equal(v, content["state_dict"][k]) for k, v in runner.model.state_dict().items())
    torch.save(content, tmp_path / "a.pth")
    torch.load(tmp_path / "a.pth", weights_only=True)
    small = checkpoint_content(runner, meta, save_optimizer=False, save_param_scheduler=False)
    assert not {"optimizer", "param_schedulers"} & set(small) and "state_dict" in small
