"""Fuzz the values of configs: the config check accepts each or reports it in one message.
No other exception is raised, and the config is not modified. VISLAB_FUZZ sets the number of changes (default 300),
VISLAB_FUZZ_SEED the first seed; each change has its own seed, which a failure reports:

    VISLAB_FUZZ=7000 python -m pytest -s -m slow tests/fuzz/test_config_values.py
"""

import copy
import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from tests.fuzz.planted.outcome import CONFIGS, Bench
from vislab.apis.build import checked
from vislab.apis.training import training_config
from vislab.engine.config.load import load_config
from vislab.errors import VislabError

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("VISLAB_FUZZ", "300"))
SEED = int(os.environ.get("VISLAB_FUZZ_SEED", "0"))
SECONDS = 20  # for one change, on a busy machine
LEAVES = sorted(path for path in CONFIGS.glob("*/*.py") if path.parent.name != "_base_")

NUMBERS = [
    0,
    1,
    -1,
    2,
    7,
    255,
    2**31,
    2**63,
    -(2**63),
    10**30,
    0.0,
    -0.0,
    0.5,
    1.5,
    -1.0,
    1e-320,
    1e308,
    nan,
    inf,
    -inf,
]
TEXTS = ["", " ", "0", "1e-3", "None", "auto", "a.b", "a/b", "..", "~", "$HOME", "$NOT_SET/x", "\0", "é", "x" * 5000,
         "http://127.0.0.1:9/x.pth", "Adam", "Resize", "torch.nn.Linear", "vislab.nowhere.X", "os.getcwd"]  # fmt: skip
LISTS = [[], (), [[]], [None], [0], (1, 2), [1, 2, 3], (0.5, "2"), [nan, inf], ["a", "b"], [{}], [{"type": "Resize"}]]
DICTS = [{}, {"a": 1}, {1: 2}, {"": None}, {"type": None}, {"type": "SGD"}, {"type": "Adam", "lr": -1.0},
         {"type": "EMAHook"}, {"type": "nowhere"}, {"type": ["Adam"]}, {"type": {"type": "Adam"}}]  # fmt: skip
THINGS = [None, True, False, ..., b"x", 1j, {1, 2}, range(3), int, len, torch.nn.Linear, torch.optim.SGD, object(),
          np.float64(1.0), np.arange(3), torch.ones(2), Path("x"), lambda: 1]  # fmt: skip
NAMES = ["", "type", "lr", "name", "dataset", "transforms", "a.b", "1", "self", "x" * 200]


class TooLong(BaseException):
    """Not an Exception: nobody on the way may take it for a mistake in the config."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def containers(node: Any, place: str = "") -> Iterator[tuple[Any, Any, str]]:
    """(holder, key, place) of every value in a config, containers too."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key, f"{place}{key}"
        yield from containers(value, f"{place}{key}.")


def edge_value(draw: random.Random) -> Any:
    value = draw.choice(draw.choice([NUMBERS, NUMBERS, TEXTS, LISTS, DICTS, THINGS]))
    for _ in range(draw.choice([0, 0, 0, 0, 1, 30])):
        value = [value]
    return value


def change(plain: dict, others: list[dict], draw: random.Random) -> str:
    """Change one place of `plain`; returns what was done."""
    holder, key, place = draw.choice(list(containers(plain)))
    kind = draw.random()
    if kind < 0.7:
        holder[key] = value = edge_value(draw)
        return f"{place} = {value!r}"
    if kind < 0.85:
        source, other, origin = draw.choice(list(containers(draw.choice(others))))
        holder[key] = value = copy.deepcopy(source[other])
        return f"{place} = {value!r}, which is {origin} of another config"
    value = holder[key]
    if isinstance(holder, list):
        holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(value))
        return f"{place} twice"
    del holder[key]
    if kind < 0.92:
        return f"{place} left out"
    holder[name := draw.choice([*NAMES, key + "s", key[:-1]])] = value
    return f"{place} named {name!r}"


def lists(node: Any) -> Any:
    """Tuples as lists, so that single numbers in them can be changed."""
    if isinstance(node, dict):
        return {key: lists(value) for key, value in node.items()}
    return [lists(value) for value in node] if isinstance(node, (list, tuple)) else node


def test_random_values(bench, monkeypatch):
    monkeypatch.chdir(bench.folder)
    monkeypatch.setenv("VISLAB_DATA", str(bench.folder / "small"))
    configs = [
        lists(load_config(bench.folder / "configs" / p.relative_to(CONFIGS))._cfg_dict.to_dict()) for p in LEAVES
    ]
    failures, outcomes = [], Counter()

    def too_long(*_: object) -> None:
        raise TooLong(f"took more than {SECONDS} seconds")

    previous = signal.signal(signal.SIGALRM, too_long)
    start = time.perf_counter()
    for seed in range(SEED, SEED + COUNT):
        draw = random.Random(seed)
        number = draw.randrange(len(configs))
        plain = copy.deepcopy(configs[number])
        done = change(plain, configs, draw)
        outcome, text = try_one(plain)
        outcomes[outcome] += 1
        if outcome not in ("refused", "accepted"):
            failures.append(f"seed {seed}, {LEAVES[number].stem}: {done[:300]}\n    {text}")
    signal.signal(signal.SIGALRM, previous)
    seconds = time.perf_counter() - start
    print(f"\n{COUNT} changes in {seconds:.0f} s, {COUNT / seconds:.0f} a second: {dict(outcomes)}")
    assert not failures, f"{len(failures)} of {COUNT}:\n" + "\n".join(failures[:100])


def try_one(plain: dict) -> tuple[str, str]:
    """(refused | accepted | changed | traceback, text)."""
    cfg = Config()
    dict.update(cfg._cfg_dict, {k: cfg._cfg_dict._hook(v) for k, v in plain.items()})
    before = ""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        cfg = training_config(cfg)
        before = repr(cfg._cfg_dict)
        checked(cfg)
        outcome = "accepted", ""
    except VislabError as error:
        outcome = "refused", str(error)
    except (Exception, TooLong) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "vislab" in f.filename]
        last = (frames or traceback.extract_tb(error.__traceback__))[-1]
        outcome = "traceback", f"{type(error).__name__}: {str(error)[:300]} at {Path(last.filename).name}:{last.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if outcome[0] == "accepted" and repr(cfg._cfg_dict) != before:
        return "changed", "the check has changed the config"
    return outcome


def test_random_states_stay(bench, monkeypatch):
    """A check that draws would change the numbers of every run that is checked before it starts."""
    monkeypatch.chdir(bench.folder)
    monkeypatch.setenv("VISLAB_DATA", str(bench.folder / "small"))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for path in LEAVES:
        checked(load_config(bench.folder / "configs" / path.relative_to(CONFIGS)))
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
