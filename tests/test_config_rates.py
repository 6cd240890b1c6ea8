"""Test that the small timesNet configs and baselines have the learning rates selected by the decoder benchmark."""

import re

import pytest

from tests.helpers import REPOSITORY
from vislab.engine.config.load import load_config


def chosen(row: str, task: str) -> tuple[float, float]:
    """Learning rate and factor of the outputs in the newest table of timesnet_decoder.py."""
    newest = (REPOSITORY / "benchmarks/RESULTS.md").read_text().split("## timesnet_decoder (full)")[-1]
    header = next(line for line in newest.splitlines() if line.startswith("| decoder x mix"))
    cells = next(
        line for line in newest.splitlines()[newest.splitlines().index(header) :] if line.startswith(f"| {row} ")
    )
    names = [name.strip() for name in header.split("|")]
    rate, factor = re.fullmatch(r"(\S+) x (\S+)", cells.split("|")[names.index(f"{task} rates")].strip()).groups()
    return float(rate), float(factor)


@pytest.mark.parametrize("task, data", [("kitchen", "rgbd_kitchen"), ("camvid", "camvid")])
@pytest.mark.parametrize(
    "row, config, outputs",
    [
        ("pre-trained x multiply", "timesnet_lite0_lite0", ("network.to_finest", "network.reshape_out")),
        ("FPN", "fpn_lite0", ("network.lateral", "network.smooth", "network.output")),
    ],
)
def test_rates_are_those_that_were_chosen(task, data, row, config, outputs):
    wrapper = load_config(REPOSITORY / f"configs/timesnet/{config}_{data}.py").optim_wrapper
    multipliers = wrapper.paramwise_cfg.lr_mult
    rates = {(wrapper.optimizer.lr, multipliers.get(part, 1.0)) for part in outputs}
    assert rates == {chosen(row, task)}
    pretrained = {part: factor for part, factor in multipliers.items() if part not in outputs}
    assert set(pretrained) == {"network.encoder"} | ({"network.decoder"} if row != "FPN" else set())
    assert set(pretrained.values()) == {0.5}
