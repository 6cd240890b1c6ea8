"""Test that the mistakes of `planted_mistakes.py` are reported, and valid settings are not."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.planted.edits import Case, File, Flags, Options, flags
from tests.fuzz.planted.outcome import CONFIGS, Bench, Outcome
from tests.fuzz.planted_mistakes import LEGAL, MISTAKES

REPOSITORY = Path(__file__).parents[2]
AT_LEAST = 0.9  # of the mistakes are refused by the check, with a message that names them
CASES = [(kind, case) for kind, cases in MISTAKES.items() for case in cases]
RIGHT = [case for cases in LEGAL.values() for case in cases]
LEAVES = [f"{path.parent.name}/{path.stem}" for path in sorted(CONFIGS.glob("*/*.py")) if path.parent.name != "_base_"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def told(found: list[tuple[str, Case, Outcome]]) -> str:
    return "\n".join(f"{o.how}: {kind}, {c.config}: {c.what} ({c.names}): {o.text[:200]}" for kind, c, o in found)


def test_the_list_is_wide():
    assert len(CASES) >= 220 and len({case.config for _, case in CASES}) >= 8
    assert min(len(cases) for cases in MISTAKES.values()) >= 8
    assert len(RIGHT) >= 40


every = pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])


@every
def test_mistakes_are_refused_by_the_check(bench, step):
    """Without a first step; those that pass are left to the test below."""
    cases = CASES[::step]
    outcomes = bench.try_all([case for _, case in cases], first_step=False)
    found = [(kind, case, o) for (kind, case), o in zip(cases, outcomes, strict=True)]
    ended = [f for f in found if f[2].how not in ("refused", "passed")]
    assert not ended, told(ended)
    bad = [f for f in found if f[2].how != "refused" or not f[2].names(f[1])]
    assert len(bad) <= (1 - AT_LEAST) * len(cases), f"{len(bad)} of {len(cases)}:\n{told(bad)}"


@every
def test_what_is_legal_passes_the_check(bench, step):
    cases = [*RIGHT, *(Case(config, flags(), "as it is") for config in LEAVES)][::step]
    outcomes = bench.try_all(cases, first_step=False)
    bad = [("legal", case, o) for case, o in zip(cases, outcomes, strict=True) if o.how != "passed"]
    assert not bad, told(bad)


@pytest.mark.slow
def test_mistakes_end_in_one_message(bench):
    """Those that pass the check are refused later; none is silent, ends in a traceback, or waits for ever."""
    outcomes = bench.try_all([case for _, case in CASES])
    print("\n", Counter(o.how for o in outcomes))
    found = [(kind, case, o) for (kind, case), o in zip(CASES, outcomes, strict=True)]
    bad = [f for f in found if f[2].how not in ("refused", "before data", "late")]
    assert not bad, told(bad)


@pytest.mark.slow
def test_what_is_legal_makes_a_first_step(bench):
    bad = [("legal", c, o) for c, o in zip(RIGHT, bench.try_all(RIGHT), strict=True) if o.how != "silent"]
    assert not bad, told(bad)


def words(bench: Bench, case: Case) -> list[str]:
    """A case as it is typed."""
    if isinstance(case.edit, File):
        return [str(bench.write(case.config, case.edit))]
    if isinstance(case.edit, Options):
        return [str(bench.path(case.config)), "--cfg-options", *case.edit.words]
    return [
        str(bench.path(case.config)),
        *(f"--{key.replace('_', '-')}={value}" for key, value in case.edit.values.items() if value is not True),
        *(f"--{key}" for key, value in case.edit.values.items() if value is True),
    ]


TYPED = [case for kind in ("flag", "option", "file") for case in MISTAKES[kind][:7]]


@pytest.mark.slow
@pytest.mark.parametrize("case", TYPED, ids=lambda case: case.what)
def test_as_it_is_typed(case, bench):
    command = [sys.executable, str(REPOSITORY / "tools/train.py"), *words(bench, case), "--check"]
    environment = {**os.environ, "VISLAB_DATA": str(bench.folder / "small"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=bench.folder, env=environment, capture_output=True, text=True, timeout=200)
    assert isinstance(case.edit, File | Options | Flags) and done.returncode == 2, done.stdout + done.stderr
    message = done.stderr[done.stderr.index("error: ") :] if "error: " in done.stderr else ""
    assert Outcome("refused", message, 0).names(case), done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 1
