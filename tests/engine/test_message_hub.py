"""Test the log buffers: the values of mmengine in constant time, without device synchronization per step."""

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer as MMEngineHistoryBuffer

from tests.helpers.toy_run import make_runner
from vislab.engine.message_hub import HistoryBuffer, MessageHub


def test_statistics_equal_mmengines():
    ours, theirs = HistoryBuffer(), MMEngineHistoryBuffer()
    for value in np.random.RandomState(0).randn(300):
        ours.update(float(value)), theirs.update(float(value))
    for name in ("mean", "min", "max"):
        for window in (None, 1, 10, 1000):
            assert ours.statistics(name, window) == theirs.statistics(name, window)
    assert ours.current() == theirs.current()
    assert np.array_equal(ours.data[0], theirs.data[0]) and np.array_equal(ours.data[1], theirs.data[1])


def test_old_values_are_forgotten():
    buffer = HistoryBuffer(max_length=100)
    for value in range(1000):
        buffer.update(value)
    values = buffer.data[0]
    assert 100 <= len(values) <= 200 and values[-1] == 999 and values[0] == 1000 - len(values)


def test_updates_do_not_copy_the_history():
    buffer = HistoryBuffer()
    moved = 0
    for value in range(20_000):
        before = buffer._values
        buffer.update(value)
        moved += before is not buffer._values
    assert moved < 15


def test_tensors_of_a_device_are_read_together(monkeypatch):
    buffer = HistoryBuffer()
    reads = []
    monkeypatch.setattr(buffer, "_read_waiting", lambda read=buffer._read_waiting: (reads.append(1), read()))
    for value in range(30):
        buffer.update(torch.tensor(float(value)))
    assert len(reads) <= 1
    assert buffer.mean(10) == 24.5 and buffer.current() == 29
    assert buffer.data[0].tolist() == list(range(30))


def test_hub_takes_numbers_arrays_and_tensors():
    hub = MessageHub.get_instance("test_hub_takes")
    for value in (1, 2.0, np.float32(3), torch.tensor(4.0, requires_grad=True)):
        hub.update_scalar("train/loss", value)
    assert hub.get_scalar("train/loss").data[0].tolist() == [1, 2, 3, 4]
    with pytest.raises(AssertionError):
        hub.update_scalar("train/loss", torch.ones(2))


def test_runner_installs_the_hub_where_mmengine_looks_for_it(tmp_path):
    from mmengine.logging import MessageHub as MMEngineMessageHub

    runner = make_runner(tmp_path, total=1)
    assert type(runner.message_hub) is MessageHub and MMEngineMessageHub.get_current_instance() is runner.message_hub
    runner.train()
    assert type(runner.message_hub.get_scalar("train/loss")) is HistoryBuffer
