"""Test that lines of mmengine are removed from the terminal but not from log files."""

import io
import logging

from vislab.engine.quiet import keep_terminal_quiet

NOISE = ["Exp name: a", "Hooks will be executed in the following order:\nX", "The prefix is not set in metric class A."]


def test_files_get_all_and_the_terminal_what_helps(tmp_path):
    logger, terminal = logging.Logger("quiet"), io.StringIO()
    logger.addHandler(logging.StreamHandler(terminal))
    logger.addHandler(logging.FileHandler(tmp_path / "log"))
    keep_terminal_quiet(logger)
    for text in [*NOISE, "loss: 1", "about Exp name: a"]:
        logger.info(text)
    assert terminal.getvalue().splitlines() == ["loss: 1", "about Exp name: a"]
    written = (tmp_path / "log").read_text()
    assert all(text in written for text in NOISE)
