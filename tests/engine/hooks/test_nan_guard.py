"""Test that NaN in losses or weights stops the run with step, loss and images, and is not saved."""

from pathlib import Path

import pytest
import torch

from tests.helpers.toy_run import ToyModel, make_runner
from vislab.engine.hooks import NanGuardHook
from vislab.errors import TrainingError


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.pth")}


class Diverging(ToyModel):
    """Its second loss is NaN from the given call on."""

    def __init__(self, *, call: int = 9, weights: bool = False) -> None:
        super().__init__()
        self.call, self.weights, self.calls = call, weights, 0

    def forward(self, inputs, data_samples=None, mode: str = "tensor"):
        outputs = super().forward(inputs, data_samples, mode)
        if mode == "loss":
            self.calls += 1
            if self.calls >= self.call and self.weights:
                self.head.bias.data[0] = float("nan")
            elif self.calls >= self.call:
                outputs["loss_l1"] = outputs["loss_l1"] * float("nan")
        return outputs


def test_nan_loss_names_the_step_the_loss_and_the_images(tmp_path):
    runner = make_runner(tmp_path, model={"type": Diverging}, custom_hooks=[])
    with pytest.raises(TrainingError) as error:
        runner.train()
    text = str(error.value)
    assert "iteration 9" in text and "loss_l1=nan" in text and "loss_mse=" in text.split("finite ones:")[1]
    order = list(runner.train_dataloader.sampler)[8:12]  # the sampler still stands in the second epoch
    assert f"batch: {', '.join(str(int(i)) for i in order)}." in text
    assert files(tmp_path) == {"epoch_1.pth"}


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    runner = make_runner(tmp_path, model={"type": Diverging, "call": 12, "weights": True}, custom_hooks=[])
    runner.hooks[:] = [hook for hook in runner.hooks if not isinstance(hook, NanGuardHook)] + [Late()]
    with pytest.raises(TrainingError, match="weights are NaN or infinite: head.bias"):
        runner.train()
    assert files(tmp_path) == {"epoch_1.pth"}


class Late(NanGuardHook):
    """Overlooks the losses, as when the step itself breaks the weights."""

    def after_train_iter(self, *args, **kwargs):
        pass


def test_losses_on_a_device_are_read_rarely_and_the_first_bad_step_is_named(monkeypatch):
    class Step:
        iter = 0
        work_dir = "."

    guard, runner, reads = NanGuardHook(interval=10), Step(), []
    monkeypatch.setattr(guard, "_read", lambda r, read=guard._read: (reads.append(r.iter), read(r)))
    meta = torch.device("meta")
    for runner.iter in range(9):
        guard.after_train_iter(runner, 0, None, {"loss": torch.zeros((), device=meta)})
    assert reads == []
    guard._unread.clear()
    for step in range(5):
        guard._unread.append((step + 1, {"loss": torch.tensor(float("inf") if step >= 2 else 1.0)}, []))
    with pytest.raises(TrainingError, match="iteration 3"):
        guard.collect_rank_states(runner)
