"""Test that messages of modules without mmengine are written to the log of the run once, with their level."""

import logging

from vislab.engine.log_bridge import install_bridge


def test_messages_reach_the_current_logger(logged):
    install_bridge(), install_bridge()
    logging.getLogger("vislab.io.somewhere").warning("a word")
    logging.getLogger("vislab").info("another")
    assert logged().splitlines() == ["a word", "another"]
    logging.getLogger("vislab.io.somewhere").debug("nobody asks for it")
    assert logged().count("\n") == 1


def test_levels_are_kept(monkeypatch):
    seen = []
    monkeypatch.setattr("vislab.engine.log_bridge.print_log", lambda text, logger, level: seen.append((text, level)))
    logging.getLogger("vislab.x").error("%d files", 3)
    assert seen == [("3 files", logging.ERROR)]
