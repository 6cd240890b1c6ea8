"""Test the progress line: only on terminals, correct content, no hidden messages, low cost."""

import io
import logging
import sys
import time
from types import SimpleNamespace

import pytest

from vislab.engine.hooks.progress import ProgressHook, _clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def runner():
    logger = logging.Logger("t")
    out = Terminal()
    logger.addHandler(logging.StreamHandler(out))
    return SimpleNamespace(
        logger=logger, out=out, iter=0, max_iters=1000, epoch=0, max_epochs=4, train_loop=SimpleNamespace(max_epochs=4),
        val_dataloader=range(5), test_dataloader=range(5),
    )  # fmt: skip


@pytest.fixture
def make_terminal(monkeypatch):
    """Call it inside the test: pytest sets its own stderr between a fixture and the test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def make():
        fake = Terminal()
        monkeypatch.setattr(sys, "stderr", fake)
        return fake

    return make


def log_as(runner, module, function, text, level=logging.INFO):
    record = runner.logger.makeRecord("t", level, f"/x/{module}.py", 1, text, (), None, func=function)
    runner.logger.handle(record)


def test_line_on_a_terminal(runner, make_terminal):
    terminal = make_terminal()
    hook = ProgressHook(refresh=0)
    hook.before_run(runner)
    hook.before_train(runner)
    runner.iter, runner.epoch = 499, 1
    hook.after_train_iter(runner, 0, outputs={"loss": 0.12345})
    text = terminal.getvalue()
    assert "train 2/4" in text and "500/1000" in text and "loss 0.1235" in text and "it/s" in text and "left" in text
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 2)
    assert "val" in terminal.getvalue() and "3/5" in terminal.getvalue()
    assert [t.description for t in hook._bar.tasks if t.visible] == ["val"]  # one line at a time
    hook.after_val_epoch(runner)
    assert [t.description for t in hook._bar.tasks] == ["train 2/4"] and hook._bar.tasks[0].visible
    hook.after_train(runner)
    hook.after_run(runner)
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_messages_stay_and_repeated_lines_go(runner, make_terminal):
    terminal = make_terminal()
    hook = ProgressHook()
    hook.before_run(runner)
    log_as(runner, "logger_hook", "after_train_iter", "Epoch(train) noise")
    log_as(runner, "logger_hook", "after_val_epoch", "Epoch(val) accuracy 1")
    log_as(runner, "nan_guard", "after_train_iter", "a warning", logging.WARNING)
    hook.after_run(runner)
    log_as(runner, "logger_hook", "after_train_iter", "after the run")
    assert "noise" not in terminal.getvalue() + runner.out.getvalue()
    assert "accuracy 1" in terminal.getvalue() and "a warning" in terminal.getvalue()
    assert runner.out.getvalue() == "after the run\n"  # the handler is as it was


def test_nothing_without_a_terminal(runner, capsys):
    hook = ProgressHook(refresh=0)
    hook.before_run(runner)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, outputs={"loss": 1.0})
    log_as(runner, "logger_hook", "after_train_iter", "plain line")
    hook.after_train(runner)
    hook.after_run(runner)
    assert capsys.readouterr().err == "" and runner.out.getvalue() == "plain line\n"


def test_a_step_costs_less_than_20_us(runner, make_terminal):
    make_terminal()
    hook = ProgressHook()
    hook.before_run(runner)
    hook.before_train(runner)
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for i in range(1000):
            runner.iter = i % 900
            hook.after_train_iter(runner, i, outputs={"loss": 1.0})
        rounds.append((time.process_time() - start) / 1000)
    hook.after_run(runner)
    assert min(rounds) < 20e-6


def test_time_in_validation_does_not_count_as_training(runner, make_terminal, monkeypatch):
    make_terminal()
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    hook = ProgressHook(refresh=0)
    hook.before_run(runner)
    hook.before_train(runner)
    for runner.iter in range(5):
        now[0] += 0.5
        hook.after_train_iter(runner, 0)
    hook.before_val_epoch(runner)
    now[0] += 100
    hook.after_val_epoch(runner)
    now[0], runner.iter = now[0] + 0.5, 5
    hook.after_train_iter(runner, 0)
    assert hook._bar.tasks[0].fields["rate"] == "2 it/s"
    hook.after_run(runner)


def test_clock():
    assert (_clock(5), _clock(65.9), _clock(3600 * 2 + 61)) == ("0:05", "1:05", "2:01:01")
