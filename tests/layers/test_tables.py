"""Test tables of constant tensors: made once a key, limited in bytes, no part of a module's state."""

import copy
import pickle

import torch
from torch import nn

from tests.helpers.pretended_gpu import CUDA, pretended_gpu
from vislab.layers.tables import Tables


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.tables, self.made = nn.Parameter(torch.ones(1)), Tables(), 0

    def forward(self, x):
        return self.weight * (x + self.tables.get(lambda: self._make(x), len(x), x.device, x.dtype))

    def _make(self, x):
        self.made += 1
        return torch.arange(len(x), device=x.device, dtype=x.dtype)


def test_made_once_a_key():
    module = Shifted()
    for size, made in ((3, 1), (3, 1), (4, 2), (3, 2)):
        assert module(torch.zeros(size)).tolist() == list(range(size)) and module.made == made
    assert module(torch.zeros(3).double()).dtype == torch.float64 and module.made == 3
    assert list(module.state_dict()) == ["weight"] and module.tables.size == 4 * 7 + 8 * 3


def test_the_oldest_are_dropped_and_large_ones_not_kept():
    tables = Tables(limit=40)
    for key in ("a", "b", "a", "c"):
        tables.get(lambda: (torch.zeros(2), torch.zeros(2)), key)
    calls = []
    for key in ("a", "c", "b"):  # b was used longest ago
        tables.get(lambda key=key: calls.append(key) or torch.zeros(4), key)
    assert calls == ["b"] and tables.size == 32
    assert len(tables.get(lambda: torch.zeros(11), "large")) == 11 and tables.size == 32


def test_copies_start_empty():
    module = Shifted()
    module(torch.zeros(3))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other.tables.size == 0 and other.tables.limit == module.tables.limit
        assert other(torch.zeros(3)).tolist() == [0, 1, 2]


def test_tables_of_inference_serve_training():
    module = Shifted()
    with torch.inference_mode():
        module(torch.zeros(3))
    module(torch.zeros(3)).sum().backward()
    assert module.weight.grad.item() == 3 and module.made == 1


def test_tables_without_content_stay_in_the_simulation():
    module = Shifted()
    with pretended_gpu():
        module.weight = nn.Parameter(torch.ones(1, device=CUDA))
        assert module(torch.zeros(3, device=CUDA)).device == CUDA
        module.tables.get(lambda: torch.zeros(3), 3, torch.device("cpu"), torch.float32)  # as module(torch.zeros(3))
    module.weight = nn.Parameter(torch.ones(1))
    assert module(torch.zeros(3)).tolist() == [0, 1, 2]


def test_exported_programs_contain_how_tables_are_made():
    module = Shifted()
    module(torch.zeros(3))
    program = torch.export.export(module, (torch.zeros(3),))
    assert "aten.arange" in str(program.graph) and program.module()(torch.ones(3)).tolist() == [1, 2, 3]
    assert {type(table) for table in module.tables._tables.values()} == {torch.Tensor}
    assert torch.compile(module, backend="eager")(torch.zeros(3)).tolist() == [0, 1, 2]
