"""Test that hook states are restored on resume: patience, pending gradients, counters of users."""

from collections import deque

from mmengine.hooks import Hook

from tests.helpers.toy_run import broken_run, make_runner
from vislab.engine.resume.hook_state import HookStates

BARE = {"val_cfg": None, "val_dataloader": None, "val_evaluator": None, "custom_hooks": []}


class Counter(Hook):
    """Counts without knowing of checkpoints."""

    def __init__(self, start: int = 0) -> None:
        self.start, self.count, self.last = start, start, deque(maxlen=2)
        self.path = "/tmp/somewhere"

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.count += 1
        self.last.append(outputs["loss"].detach())
        self.path = f"/tmp/{self.count}"


class Keeper(Counter):
    """Decides itself what it keeps."""

    def state_dict(self) -> dict:
        return {"twice": 2 * self.count}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["twice"] // 2


def test_hooks_of_users(tmp_path):
    hooks = [{"type": Counter}, {"type": Counter, "start": 100}, {"type": Keeper}]
    options = {"total": 3, **BARE, "custom_hooks": hooks}
    whole = make_runner(tmp_path / "whole", **options)
    whole.train()
    broken_run(tmp_path / "broken", 8, **options)
    resumed = make_runner(tmp_path / "broken", **options, resume=True)
    resumed.train()
    for one, other in zip(whole.hooks, resumed.hooks, strict=True):
        if isinstance(one, Counter):
            assert other.count == one.count and other.last.maxlen == 2
            assert list(map(float, other.last)) == list(map(float, one.last))


def test_settings_and_paths_are_no_state():
    hook = Counter(start=5)
    states = HookStates([hook])
    assert states.state_dict() == {}
    hook.count, hook.path = 7, "/elsewhere/x"
    assert states.state_dict() == {"Counter": {"count": 7}}
    other = Counter(start=9)
    HookStates([other]).load_state_dict({"Counter": {"count": 7}})
    assert (other.start, other.count, other.path) == (9, 7, "/tmp/somewhere")
