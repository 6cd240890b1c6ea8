"""Test sections of plain values that take the arguments of a function."""

import pytest

from vislab.engine.config.check import find_problems


@pytest.mark.parametrize(
    "settings, place, says",
    [
        (True, None, ""),
        ({"dynamic": False}, None, ""),
        ({"fullgrph": True}, "compile.fullgrph", "'fullgraph'"),
        ({"target": "forward"}, "compile.target", "takes no argument"),
        ({"model": None}, "compile.model", "takes no argument"),
        ({"dynamic": "yes"}, "compile.dynamic", "bool"),
    ],
)
def test_compile_takes_the_arguments_of_torch(settings, place, says):
    found = [problem for problem in find_problems({"compile": settings}) if problem.place != "model"]
    assert [problem.place for problem in found] == ([] if place is None else [place])
    assert all(says in problem.text for problem in found)
