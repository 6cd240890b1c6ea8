"""Test the TrAct gradient of a layer against its definition, and the default behavior of the layer."""

import copy
import io
import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.helpers.tract_oracle import expected, output_rows, plain_gradients, rows
from vislab.errors import ConfigError
from vislab.layers.convolution import PatchConv2d
from vislab.systems.tract import apply_tract, get_tract, precondition, remove_tract
from vislab.systems.tract.gram import gram, input_rows, weight_gradient

LAYERS = {
    "linear": (lambda: nn.Linear(8, 5), (30, 8)),
    "linear, few rows": (lambda: nn.Linear(40, 5), (30, 40)),
    "linear on tokens": (lambda: nn.Linear(8, 5), (3, 10, 8)),
    "linear on tokens, few": (lambda: nn.Linear(40, 5), (3, 10, 40)),
    "patches": (lambda: PatchConv2d(3, 5, 4), (3, 30, 48)),
    "patches, few": (lambda: PatchConv2d(3, 5, 4), (3, 10, 48)),
    "3x3": (lambda: nn.Conv2d(3, 8, 3, padding=1), (4, 3, 9, 11)),
    "3x3, few rows": (lambda: nn.Conv2d(3, 8, 3), (2, 3, 5, 5)),
    "7x7/2": (lambda: nn.Conv2d(3, 8, 7, 2, 3), (5, 3, 19, 16)),
    "16x16/16": (lambda: nn.Conv2d(3, 8, 16, 16), (200, 3, 32, 35)),
    "16x16/16, few rows": (lambda: nn.Conv2d(3, 8, 16, 16), (2, 3, 32, 32)),
    "5x3/(3,1)": (lambda: nn.Conv2d(2, 4, (5, 3), (3, 1), (1, 2)), (4, 2, 17, 12)),
    "window smaller than stride": (lambda: nn.Conv2d(4, 4, 2, 3), (4, 4, 11, 11)),
    "dilation": (lambda: nn.Conv2d(3, 4, 3, dilation=2), (4, 3, 12, 9)),
    "same": (lambda: nn.Conv2d(3, 4, (5, 3), padding="same"), (4, 3, 12, 9)),
    "reflect": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (4, 3, 8, 9)),
    "circular, same": (lambda: nn.Conv2d(3, 4, 3, padding="same", padding_mode="circular"), (4, 3, 8, 9)),
    "groups": (lambda: nn.Conv2d(6, 9, 3, groups=3, stride=2), (6, 6, 12, 9)),
    "groups, few rows": (lambda: nn.Conv2d(6, 9, 3, groups=3), (1, 6, 5, 4)),
    "without bias": (lambda: nn.Conv2d(3, 4, 3, bias=False), (4, 3, 8, 9)),
}


def make(name: str, dtype=torch.float64):
    """A layer, its input, and a gradient of its output."""
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer = build().to(dtype)
    x = torch.randn(shape).to(dtype) + 0.3
    return layer, x, torch.randn_like(layer(x))


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_is_the_definition_and_all_else_is_stock(name):
    layer, x, g = make(name)
    plain, output, keys = plain_gradients(layer, x, g), layer(x), list(layer.state_dict())
    assert apply_tract(layer, lam=0.1) is layer
    new = plain_gradients(layer, x, g)
    torch.testing.assert_close(new.pop("weight"), expected(layer, x, g), rtol=1e-9, atol=1e-11)
    for key, value in new.items():
        assert torch.equal(value, plain[key]), key
    assert torch.equal(layer(x), output) and list(layer.state_dict()) == keys


@pytest.mark.parametrize("name", LAYERS)
def test_float32_is_as_exact_as_its_condition_allows(name):
    layer, x, g = make(name)
    wanted = expected(layer, x, g)
    apply_tract(layer.float())
    got = plain_gradients(layer, x.float(), g.float())["weight"].double()
    assert (got - wanted).norm() < 1e-4 * wanted.norm()


@pytest.mark.parametrize("name", LAYERS)
def test_gram_and_weight_gradient_do_not_depend_on_chunks(name, monkeypatch):
    layer, x, g = make(name)
    whole, a = gram(x, layer), input_rows(x, layer)
    torch.testing.assert_close(whole, a.mT @ a, rtol=1e-10, atol=1e-9)
    if getattr(layer, "groups", 1) == 1:
        assert torch.equal(a[0], rows(x, layer))
    m = weight_gradient(x, g, layer)
    torch.testing.assert_close(m, plain_gradients(layer, x, g)["weight"], rtol=1e-10, atol=1e-10)
    monkeypatch.setattr("vislab.systems.tract.gram._chunks", lambda x, elements: x.split(-(-len(x) // 3)))
    torch.testing.assert_close(gram(x, layer), whole, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(weight_gradient(x, g, layer), m, rtol=1e-10, atol=1e-10)


def test_large_damping_gives_the_ordinary_direction():
    for name in ("3x3", "linear, few rows"):
        layer, x, g = make(name)
        plain = plain_gradients(layer, x, g)["weight"]
        apply_tract(layer, lam=1e6)
        torch.testing.assert_close(1e6 * plain_gradients(layer, x, g)["weight"], plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [6, 12])
def test_without_damping_a_step_moves_the_outputs_by_their_own_gradient(count):
    torch.manual_seed(0)
    a = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))[0][:count]  # orthonormal rows
    layer, g = nn.Linear(12, 5, bias=False).double(), torch.randn(count, 5, dtype=torch.float64)
    before = layer(a).detach()
    apply_tract(layer, lam=1e-10)
    (layer(a) * g).sum().backward()
    with torch.no_grad():
        layer.weight -= 0.01 * layer.weight.grad
    torch.testing.assert_close(layer(a) - before, -0.01 * count * g, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["linear", "3x3", "7x7/2"])
def test_swapping_the_input_gives_the_same_number(name):
    """z_fake = layer(a (A + lam I)^-1) with the values of z: autograd itself then yields the TrAct gradient."""
    layer, x, g = make(name)
    a, m = rows(x, layer), layer.weight.shape[0]
    swapped = torch.linalg.solve(a.T @ a / len(a) + 0.1 * torch.eye(a.shape[1]).double(), a.T).T
    weight = layer.weight.detach().clone().requires_grad_()
    fake = swapped @ weight.reshape(m, -1).T
    z = fake + (a @ weight.reshape(m, -1).T - fake).detach()
    (z * output_rows(g, layer)).sum().backward()
    apply_tract(layer)
    got = plain_gradients(layer, x, g)["weight"]
    torch.testing.assert_close(got, weight.grad, rtol=1e-9, atol=1e-10)


def test_turning_it_on_leaves_state_hooks_class_and_random_numbers_alone():
    layer = nn.Conv2d(3, 4, 3)
    layer.register_forward_hook(lambda module, args, out: out * 2)  # replaces the output: TrAct must come before
    x, before = torch.randn(2, 3, 8, 8), torch.get_rng_state()
    weight, output, keys = layer.weight, layer(x), list(layer.state_dict())
    apply_tract(layer)
    assert torch.equal(torch.get_rng_state(), before)
    assert layer.weight is weight and type(layer) is nn.Conv2d and list(layer.state_dict()) == keys
    assert torch.equal(layer(x), output) and torch.equal(layer.eval()(x), output)
    layer(x).sum().backward()
    inner = copy.deepcopy(layer)
    inner._forward_hooks.clear()
    torch.testing.assert_close(
        layer.weight.grad, expected(inner, x, torch.full((2, 4, 6, 6), 2.0)), rtol=1e-3, atol=1e-3
    )


def test_applying_again_replaces_and_removing_restores():
    layer, x, g = make("3x3")
    plain = plain_gradients(layer, x, g)["weight"]
    apply_tract(layer, lam=0.5)
    apply_tract(layer, lam=0.1)
    torch.testing.assert_close(plain_gradients(layer, x, g)["weight"], expected(layer, x, g))
    remove_tract(layer)
    assert torch.equal(plain_gradients(layer, x, g)["weight"], plain) and get_tract(layer) is None
    assert not layer._forward_hooks and not layer._forward_hooks_with_kwargs


def test_two_calls_in_one_forward_count_as_one_larger_batch():
    layer, x, g = make("3x3")
    wanted = expected(layer, x, g)
    apply_tract(layer)
    out = torch.cat([layer(x[:1]), layer(x[1:])])
    (out * g).sum().backward()
    torch.testing.assert_close(layer.weight.grad, wanted)


def test_a_few_rows_twice_may_become_enough():
    layer, x, g = make("3x3, few rows")  # 2 images of 9 rows, n = 27
    x, g = x.repeat(3, 1, 1, 1) + torch.randn(6, 1, 1, 1), g.repeat(3, 1, 1, 1)
    wanted = expected(layer, x, g)
    apply_tract(layer)
    sum((layer(part) * part_g).sum() for part, part_g in zip(x.split(2), g.split(2), strict=True)).backward()
    torch.testing.assert_close(layer.weight.grad, wanted)


def test_backward_twice_gives_the_gradient_twice():
    layer, x, g = make("7x7/2")
    apply_tract(layer)
    loss = (layer(x) * g).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(layer.weight.grad, 2 * expected(layer, x, g))


@pytest.mark.parametrize("reduce", ["local", "deferred"])
def test_a_pass_that_never_reaches_the_weight_leaves_no_trace(reduce):
    layer, x, g = make("3x3")
    apply_tract(layer, reduce=reduce)
    other = torch.randn_like(x).requires_grad_()
    torch.autograd.grad(layer(other).square().sum(), other)  # a saliency map, say
    (layer(x) * g).sum().backward()
    if reduce == "deferred":
        precondition(layer)
    torch.testing.assert_close(layer.weight.grad, expected(layer, x, g))


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant):
    layer, x, g = make("3x3")
    apply_tract(layer)
    out = checkpoint(layer, x.clone().requires_grad_(), use_reentrant=reentrant)
    (out * g).sum().backward()
    torch.testing.assert_close(layer.weight.grad, expected(layer, x, g))


def test_double_backward_runs():
    layer, x, g = make("linear")
    apply_tract(layer)
    (grad,) = torch.autograd.grad((layer(x).square() * g).sum(), layer.weight, create_graph=True)
    grad.square().sum().backward()
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("reduce", ["local", "deferred"])
def test_copies_have_their_own_state(how, reduce):
    layer, x, g = make("3x3")
    apply_tract(layer, reduce=reduce)
    (layer(x) * g).sum().backward()
    if how == "deepcopy":
        twin = copy.deepcopy(layer)
    else:
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)  # this test's own bytes
    layer.zero_grad(), twin.zero_grad()
    (twin(x) * g).sum().backward()
    assert layer.weight.grad is None
    if reduce == "deferred":
        precondition(twin)
    torch.testing.assert_close(twin.weight.grad, expected(layer, x, g))


def test_deferred_micro_batches_equal_one_batch():
    layer, x, g = make("7x7/2")
    wanted = expected(layer, x, g)
    apply_tract(layer, reduce="deferred")
    for _ in range(2):  # the second round starts anew
        layer.zero_grad()
        for part, part_g in zip(x.split(2), g.split(2), strict=True):
            (layer(part) * part_g).sum().backward()
        precondition(layer)
        torch.testing.assert_close(layer.weight.grad, wanted)
    layer.zero_grad()
    (layer(x * 3) * g).sum().backward()  # a step that is skipped: its gradient is dropped without preconditioning
    layer.zero_grad()
    (layer(x) * g).sum().backward()
    precondition(layer)
    torch.testing.assert_close(layer.weight.grad, wanted)


def test_local_micro_batches_do_not():
    layer, x, g = make("7x7/2")
    apply_tract(layer)
    for part, part_g in zip(x.split(1), g.split(1), strict=True):
        (layer(part) * part_g).sum().backward()
    wanted = expected(layer, x, g)
    assert (layer.weight.grad - wanted).norm() > 0.1 * wanted.norm()


@pytest.mark.parametrize("name", ["linear", "linear, few rows", "3x3", "16x16/16", "same", "groups"])
@pytest.mark.parametrize("reduce", ["local", "deferred"])
def test_autocast_keeps_float32_accuracy_and_stock_dtypes(name, reduce):
    layer, x, g = make(name, torch.float32)
    # strongly correlated input and gradient, as in images: rounding M to bfloat16 would drown the small directions
    x = x * 0.1 + 1
    g = g.abs() / g.numel()
    wanted = expected(layer, x, g.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        stock = layer(x)
        apply_tract(layer, reduce=reduce)
        out = layer(x)
        assert out.dtype == stock.dtype == torch.bfloat16 and torch.equal(out, stock)
    out.backward(g.bfloat16())
    if reduce == "deferred":
        precondition(layer)
    assert layer.weight.grad.dtype == torch.float32
    assert (layer.weight.grad - wanted).norm() < 5e-3 * wanted.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_layers_of_16_bits(dtype):
    for name in ("3x3", "linear, few rows"):
        layer, x, g = make(name, torch.float32)
        layer, x, g = layer.to(dtype), x.to(dtype), g.to(dtype)
        wanted = expected(copy.deepcopy(layer).float(), x.float(), g.float())
        apply_tract(layer)
        layer(x).backward(g)
        assert layer.weight.grad.dtype == dtype
        assert (layer.weight.grad.float() - wanted).norm() < 1e-2 * wanted.norm()


@pytest.mark.parametrize("name", ["linear", "linear, few rows", "3x3", "16x16/16, few rows"])
@pytest.mark.parametrize("value", [0.0, 1.0, 255.0])
def test_constant_input_gives_a_finite_gradient(name, value):
    layer, x, g = make(name, torch.float32)
    tract = get_tract(apply_tract(layer))
    layer(torch.full_like(x, value)).backward(g)
    assert layer.weight.grad.isfinite().all() and int(tract.fallbacks) == 0


@pytest.mark.parametrize("name", ["linear", "3x3", "16x16/16, few rows"])
def test_a_batch_of_one_and_none(name):
    layer, x, g = make(name)
    apply_tract(layer)
    torch.testing.assert_close(plain_gradients(layer, x[:1], g[:1])["weight"], expected(layer, x[:1], g[:1]))
    if name != "linear":  # without the dimension of the batch
        (layer(x[0]) * g[0]).sum().backward()
        torch.testing.assert_close(layer.weight.grad, expected(layer, x[:1], g[:1]))
    layer.zero_grad()
    layer(x[:0]).sum().backward()
    assert torch.equal(layer.weight.grad, torch.zeros_like(layer.weight))


@pytest.mark.parametrize("name", ["linear", "linear, few rows", "3x3"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_passes_through(name, bad):
    """So that the loss scaler sees it and skips the step."""
    for dtype in (torch.float32, torch.bfloat16):
        layer, x, g = make(name, torch.float32)
        layer, x, g = layer.to(dtype), x.to(dtype), g.to(dtype)
        apply_tract(layer)
        g.view(-1)[0] = bad
        layer(x).backward(g)
        assert not layer.weight.grad.isfinite().all()


def test_an_input_that_is_not_finite_falls_back_and_is_counted():
    layer, x, g = make("3x3", torch.float32)
    tract = get_tract(apply_tract(layer))
    x[0, 0, 0, 0] = math.inf
    layer(x).backward(torch.nan_to_num(g))
    assert not layer.weight.grad.isfinite().all() and int(tract.fallbacks) == 1


def test_float16_with_a_scaler_skips_the_overflow_and_goes_on():
    torch.manual_seed(0)
    layer = nn.Linear(8, 4)
    apply_tract(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=1000)
    x, start, moved = torch.randn(32, 8), layer.weight.detach().clone(), []
    for _ in range(40):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            out = layer(x)
        scaler.scale(out.float().square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        moved.append(not torch.equal(layer.weight, start))
    assert not moved[0] and moved[-1] and layer.weight.isfinite().all()


def test_frozen_later_and_replaced_weights():
    layer, x, g = make("3x3")
    apply_tract(layer)
    layer.weight.requires_grad_(False)
    layer(x).backward(g)
    assert layer.weight.grad is None and layer.bias.grad is not None
    layer.weight = nn.Parameter(layer.weight.detach().clone())
    layer(x).backward(g)
    torch.testing.assert_close(layer.weight.grad, expected(layer, x, g))


def test_compiled_models_train_alike():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    apply_tract(model)
    x = torch.randn(8, 3, 8, 8)
    model(x).square().mean().backward()
    wanted = model[0].weight.grad.clone()
    model.zero_grad()
    torch.compile(model, backend="aot_eager")(x).square().mean().backward()
    torch.testing.assert_close(model[0].weight.grad, wanted)


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="lam is 0"):
        apply_tract(nn.Linear(2, 2), lam=0)
    with pytest.raises(ConfigError, match="local, global, deferred"):
        apply_tract(nn.Linear(2, 2), reduce="all")
    with pytest.raises(ConfigError, match="not enabled"):
        precondition(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="reduce='local'"):
        precondition(apply_tract(nn.Linear(2, 2)))
