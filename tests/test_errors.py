"""Test errors: suggested names, and messages that can be pickled."""

import pickle

import pytest

from vislab.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    TrainingError,
    VislabError,
    check_choice,
    did_you_mean,
    nearest,
)


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("learning_rte", ["learning_rate", "momentum"], ["learning_rate"]),
        ("hnerv", ["HNeRV", "timesnet"], ["HNeRV"]),  # whatever the case
        ("epochs", ["max_epochs", "val_interval"], ["max_epochs"]),  # a part of the name
        ("data_root_dir", ["root", "data_root"], ["data_root"]),
        ("xyz", ["momentum", "lr"], []),
        ("lr", ["slr345", "momentum"], []),  # too short to be a part
        ("", ["a"], []),
    ],
)
def test_the_nearest_name(name, candidates, expected):
    assert nearest(name, candidates) == expected


def test_several_are_in_order():
    assert nearest("resnet5", ["vit", "resnet18", "resnet50", "resnet"], 2) == ["resnet", "resnet50"] or nearest(
        "resnet5", ["vit", "resnet18", "resnet50", "resnet"], 2
    ) == ["resnet50", "resnet"]
    assert did_you_mean("lrr", ["lr", "momentum"]) == "; did you mean 'lr'?" and did_you_mean("xyz", ["lr"], ".") == "."


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError, TrainingError])
def test_errors_go_through_a_pickle(kind):
    """As from a data loader's worker, which makes them anew from their message."""
    copy = pickle.loads(pickle.dumps(kind("a message")))
    assert type(copy) is kind and str(copy) == "a message" and isinstance(copy, VislabError)
    assert str(kind(str(kind("a message")))) == "a message"


def test_check_choice_lists_the_choices_and_names_the_nearest():
    check_choice("Pool: kind", "avg", ("avg", "max", None))
    check_choice("Pool: kind", None, ("avg", "max", None))
    with pytest.raises(ConfigError, match=r"^Pool: kind='maxx' is not one of avg, max; did you mean 'max'\?$"):
        check_choice("Pool: kind", "maxx", ("avg", "max", None))
