"""Test loading weights into models: mismatches raise an error with counts and leave the model unchanged."""

import pytest
import torch
from torch import nn

from vislab.errors import CheckpointError
from vislab.io import weights as weights_module
from vislab.io.checkpoint import save_checkpoint
from vislab.io.weights import get_weights, load_state, read_weights, weight_entries


class Net(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, classes)


def test_another_model_is_told_with_counts():
    with pytest.raises(
        CheckpointError, match=r"0 of the model's 4 weights(.|\n)*unknown to the model \(2\): weight, bias"
    ):
        load_state(Net(), {"state_dict": nn.Linear(2, 2).state_dict()}, "x.pth")
    with pytest.raises(CheckpointError, match=r"2 of the model's 4(.|\n)*of another shape \(2\): head.weight \(7x5 in"):
        load_state(Net(), {"state_dict": Net(7).state_dict()}, "x.pth")
    with pytest.raises(CheckpointError, match=r"missing in the file \(2\): head.weight, head.bias"):
        load_state(Net(), {"state_dict": {"body." + k: v for k, v in nn.Linear(4, 5).state_dict().items()}}, "x.pth")
    with pytest.raises(CheckpointError, match="no weights; its top-level keys are meta, config"):
        load_state(Net(), {"meta": 1, "config": 2}, "x.pth")


def test_nothing_is_changed_when_a_checkpoint_is_refused():
    model = Net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_state(model, {"state_dict": Net(7).state_dict()})
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_partial_load_skips_other_shapes_but_never_everything():
    model, source = Net(), Net(7)
    report = load_state(model, source.state_dict(), partial=True)
    assert torch.equal(model.body.weight, source.body.weight)
    assert [m.split(" ")[0] for m in report.mismatched] == ["head.weight", "head.bias"]
    with pytest.raises(CheckpointError, match="another model"):
        load_state(Net(), nn.Conv2d(1, 1, 1).state_dict(), partial=True)


def test_names_of_wrapped_models_are_understood():
    source = Net()
    model = Net()
    load_state(model, {"model": {f"module.{k}": v for k, v in source.state_dict().items()}})
    assert torch.equal(model.head.bias, source.head.bias)


def test_weights_are_found_where_projects_keep_them():
    weights = {"w": torch.ones(1)}
    for checkpoint in (
        weights,
        {"state_dict": weights, "model": {"w": torch.zeros(1)}},
        {"epoch": 3, "module": {"model_state": weights}},
        {"params": {"module.w": torch.ones(1)}},
    ):
        found = get_weights(checkpoint)
        assert list(found) == ["w"] and found["w"] == 1
    assert weight_entries({"model": {"w": torch.ones(1), "config": "x"}})["config"] == "x"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.eye(3).to_sparse(), "a sparse tensor"),
        (torch.ones(3, device="meta"), "without content"),
    ],
)
def test_tensors_that_are_no_weights(value, kind):
    with pytest.raises(CheckpointError, match=f"x.pth: w is {kind}"):
        get_weights({"state_dict": {"w": value}}, "x.pth")


def state(value: torch.Tensor) -> dict:
    return {"weight": value, "bias": torch.ones(2)}


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_other_number_types_are_refused(dtype):
    with pytest.raises(CheckpointError, match=rf"weight \({str(dtype)[6:]} in the file, float32 in the model\)"):
        load_state(nn.Linear(3, 2), state(torch.ones(2, 3).to(dtype)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_precisions_are_taken(dtype, logged):
    model = nn.Linear(3, 2)
    load_state(model, state(torch.full((2, 3), 0.5).to(dtype)))
    assert model.weight.dtype == torch.float32 and (model.weight == 0.5).all() and not logged()


def test_counters_that_were_saved_as_floats():
    """Averaged weights hold a whole number as float; a fraction is of another kind."""
    model = nn.Module()
    model.register_buffer("index", torch.zeros(2, dtype=torch.int64))
    load_state(model, {"index": torch.tensor([3.0, 4.0])})
    assert model.index.tolist() == [3, 4]
    with pytest.raises(CheckpointError, match="another number type"):
        load_state(model, {"index": torch.tensor([3.5, 4.0])})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float8_e5m2])
def test_weights_that_are_not_finite_are_said(value, dtype, monkeypatch):
    said = []
    monkeypatch.setattr(weights_module.logger, "warning", said.append)
    load_state(nn.Linear(3, 2), state(torch.tensor([[1.0, 2, value], [1, 2, 3]]).to(dtype)), "x.pth")
    assert len(said) == 1 and "x.pth: 1 of 2 weights contain NaN or infinity: weight" in said[0]
    load_state(nn.Linear(3, 2), state(torch.full((2, 3), 3e4).half()))  # their sum is beyond half precision
    assert len(said) == 1


def test_what_is_missing_or_left_over_is_said_once(monkeypatch):
    said = []
    monkeypatch.setattr(weights_module.logger, "warning", said.append)
    source = Net().state_dict() | {"extra": torch.ones(1)}
    del source["head.bias"]
    report = load_state(Net(), source, "x.pth", partial=True)
    assert report == (["head.bias"], ["extra"], [])
    assert said == [
        "loaded x.pth except for weights\n  1 not in the file, kept at their initial values: head.bias\n"
        "  1 not in the model, left out: extra"
    ]


def test_files_of_weights(tmp_path, monkeypatch):
    save_checkpoint({"state_dict": {"module.w": torch.ones(2)}}, tmp_path / "a.pth")
    monkeypatch.setenv("WEIGHTS_HERE", str(tmp_path))
    assert read_weights("$WEIGHTS_HERE/a.pth")["w"].tolist() == [1, 1]
    with pytest.raises(CheckpointError, match="b.pth does not exist"):
        read_weights("$WEIGHTS_HERE/b.pth")
