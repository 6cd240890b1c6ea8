"""Test that freed memory is kept by the process."""

import sys

import pytest
import torch

from tests.helpers.toy_run import make_runner
from vislab.engine import runner as runner_module
from vislab.engine.allocator import keep_freed_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_blocks_taken_again_are_not_faulted_in_again():
    import resource

    if not keep_freed_memory():
        pytest.skip("the C library is not glibc, or its thresholds are set by the environment")

    def use() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [torch.empty(2**24).fill_(1.0) for _ in range(3)]  # 64 MiB each, 16384 pages or 32 huge ones
        del blocks
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    use()
    assert min(use() for _ in range(5)) < 20


def test_environment_variables_win(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000")
    assert keep_freed_memory() is False


def test_runner_asks_for_it_on_the_cpu(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(runner_module, "keep_freed_memory", lambda: asked.append(1))
    monkeypatch.setattr(runner_module, "get_device", lambda: "cpu")
    make_runner(tmp_path)
    assert asked
