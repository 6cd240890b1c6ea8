"""Test parity with torch_tract where it is correct, and one test for each place where it is not."""

import copy

import pytest
import torch
from torch import nn

from tests.helpers.tract_oracle import expected, plain_gradients
from vislab.systems.tract import apply_tract

torch_tract = pytest.importorskip("torch_tract")
pytestmark = pytest.mark.peer

RIGHT = {
    "linear": (lambda: nn.Linear(8, 5), (30, 8)),
    "linear, few rows": (lambda: nn.Linear(40, 5), (30, 40)),
    "linear on tokens": (lambda: nn.Linear(8, 5), (3, 10, 8)),
    "3x3": (lambda: nn.Conv2d(3, 8, 3, padding=1), (4, 3, 9, 11)),
    "3x3, few rows": (lambda: nn.Conv2d(3, 8, 3), (2, 3, 5, 5)),
    "7x7/2": (lambda: nn.Conv2d(3, 8, 7, 2, 3), (5, 3, 19, 16)),
    "16x16/16": (lambda: nn.Conv2d(3, 8, 16, 16), (200, 3, 32, 35)),
    "16x16/16, few rows": (lambda: nn.Conv2d(3, 8, 16, 16), (2, 3, 32, 32)),
}


def pair(layer: nn.Module, **kwargs) -> tuple[nn.Module, nn.Module]:
    ours, theirs = apply_tract(copy.deepcopy(layer)), torch_tract.TrAct(copy.deepcopy(layer), l=0.1)
    for key, value in kwargs.items():
        setattr(theirs, key, value)
    return ours, theirs


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 3e-4)])
def test_equal_where_it_is_right(name, dtype, tolerance):
    torch.manual_seed(0)
    build, shape = RIGHT[name]
    layer, x = build().to(dtype), torch.randn(shape, dtype=dtype)
    ours, theirs = pair(layer)
    g = torch.randn_like(layer(x))
    (a, b), stock = (plain_gradients(q, x, g) for q in (ours, theirs)), plain_gradients(layer, x, g)
    assert (a["weight"] - b["weight"]).norm() < tolerance * b["weight"].norm()
    for key in ("bias", "input"):
        torch.testing.assert_close(a[key], b[key])
        assert torch.equal(a[key], stock[key])


def check_ours(layer: nn.Module, ours: nn.Module, x: torch.Tensor) -> None:
    out = layer(x)
    assert torch.equal(ours(x), out)
    g = torch.randn_like(out)
    torch.testing.assert_close(plain_gradients(ours, x, g)["weight"], expected(layer, x, g))


def test_it_drops_dilation():
    layer, x = nn.Conv2d(3, 4, 3, dilation=2).double(), torch.randn(4, 3, 9, 9).double()
    ours, theirs = pair(layer)
    assert theirs(x).shape != layer(x).shape
    check_ours(layer, ours, x)


def test_it_drops_the_padding_mode():
    layer, x = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect").double(), torch.randn(4, 3, 9, 9).double()
    ours, theirs = pair(layer)
    assert not torch.allclose(theirs(x), layer(x))
    check_ours(layer, ours, x)


def test_it_cannot_do_groups():
    layer, x = nn.Conv2d(4, 4, 3, groups=2).double(), torch.randn(8, 4, 9, 9).double()
    ours, theirs = pair(layer)
    with pytest.raises(RuntimeError):
        theirs(x).sum().backward()
    check_ours(layer, ours, x)


def test_it_cannot_do_padding_same():
    layer, x = nn.Conv2d(3, 4, 3, padding="same").double(), torch.randn(4, 3, 9, 9).double()
    ours, theirs = pair(layer)
    with pytest.raises(TypeError):
        theirs(x).sum().backward()
    check_ours(layer, ours, x)


def test_it_cannot_do_convolutions_under_autocast():
    layer, x = nn.Conv2d(3, 4, 3), torch.randn(4, 3, 9, 9)
    ours, theirs = pair(layer)
    with torch.autocast("cpu", torch.bfloat16):
        out, other = ours(x), theirs(x)
    with pytest.raises(RuntimeError):
        other.backward(torch.ones_like(other))
    out.backward(torch.ones_like(out))
    wanted = expected(layer, x, torch.ones_like(out).float())
    assert (ours.weight.grad - wanted).norm() < 1e-2 * wanted.norm()


def test_its_cholesky_is_wrong():
    layer, x = nn.Linear(8, 5).double(), torch.randn(30, 8).double()
    ours, theirs = pair(layer, inv_type="cholesky_inverse")
    g = torch.randn(30, 5).double()
    wanted = expected(layer, x, g)
    assert (plain_gradients(theirs, x, g)["weight"] - wanted).norm() > 0.05 * wanted.norm()
    torch.testing.assert_close(plain_gradients(ours, x, g)["weight"], wanted)


def test_it_changes_the_random_state():
    layer = nn.Linear(4, 4)
    before = torch.get_rng_state()
    apply_tract(layer)
    assert torch.equal(torch.get_rng_state(), before)
    torch_tract.TrAct(layer, l=0.1)
    assert not torch.equal(torch.get_rng_state(), before)
