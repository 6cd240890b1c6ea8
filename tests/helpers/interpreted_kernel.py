"""Runs the Triton kernels of deformable attention in Triton's interpreter and prints JSON; started by a test.

TRITON_INTERPRET=1 python tests/helpers/interpreted_kernel.py shapes 3 | special | operator
"""

import json
import random
import sys

import torch
from torch import library

from vislab.ops import ms_deform_attn as op
from vislab.ops.ms_deform_attn_triton import sample_by_kernel

SHAPES = ((3, 4), (2, 5))


def inputs(shapes=SHAPES, *, batch=1, queries=3, heads=2, dim=17, points=2, dtype=torch.float32, spread=1.6) -> list:
    value = torch.randn(batch, sum(h * w for h, w in shapes), heads, dim).to(dtype)
    locations = (torch.rand(batch, queries, heads, len(shapes), points, 2) - 0.5) * spread + 0.5
    return [value, locations, torch.rand(batch, queries, heads, len(shapes), points)]


def with_gradients(form, tensors: list, shapes, grad: torch.Tensor, dtype: torch.dtype | None = None) -> list:
    value, locations, weights = (x.detach().to(dtype or x.dtype).requires_grad_() for x in tensors)
    out = form(value, shapes, locations, weights)
    return [out.detach(), *torch.autograd.grad((out * grad).sum(), (value, locations, weights))]


def errors(shapes, deterministic: bool = False, **sizes) -> list[float]:
    """Return relative differences from the reference in float64: of the result, and of the gradients of the values,
    locations and weights."""
    tensors = inputs(shapes, **sizes)
    grad = torch.randn(tensors[1].shape[0], tensors[1].shape[1], tensors[0].shape[2] * tensors[0].shape[3])
    torch.use_deterministic_algorithms(deterministic)
    ours = with_gradients(sample_by_kernel, tensors, shapes, grad)
    torch.use_deterministic_algorithms(False)
    expected = with_gradients(op.sample_levels, tensors, shapes, grad.double(), torch.float64)
    return [float((a - b).abs().max() / b.abs().max().clamp_min(1e-3)) for a, b in zip(ours, expected, strict=True)]


def random_shapes(count: int) -> dict[str, list]:
    """Return the largest differences over random sizes, by dtype."""
    worst = {}
    for i in range(count):
        random.seed(i)
        torch.manual_seed(i)
        shapes = tuple((random.randint(1, 6), random.randint(1, 6)) for _ in range(random.randint(1, 4)))
        dtype = random.choice((torch.float32, torch.bfloat16, torch.float16)) if i > 1 else torch.float32
        sizes = {"queries": random.randint(1, 5), "heads": random.randint(1, 3), "points": random.randint(1, 4)}
        dim = random.choice((16, 20, 32, 33, 64, 128)) if i > 1 else 20
        found = errors(shapes, i % 2 == 1, batch=random.randint(1, 2), dim=dim, dtype=dtype, **sizes)
        before = worst.get(str(dtype), [0.0] * 4)
        worst[str(dtype)] = [max(pair) for pair in zip(before, found, strict=True)]
    return worst


def special_inputs() -> dict[str, bool]:
    """Return whether the kernel does as the reference with locations that are far away, infinite or NaN, on borders,
    without queries, and with an empty level."""
    torch.manual_seed(0)
    value, locations, weights = inputs()
    grad = torch.randn(1, 3, 34)
    found = {}
    far = torch.tensor([float("inf"), -1e9]).expand_as(locations)
    out, by_value, by_locations, _ = with_gradients(sample_by_kernel, [value, far, weights], SHAPES, grad)
    found["far points read nothing"] = not (out.any() or by_value.any() or by_locations.any())
    broken = locations.clone()
    broken[0, 0, 0, 0, 0] = float("nan")
    out = sample_by_kernel(value, SHAPES, broken, weights)
    found["NaN stays NaN"] = bool(out[0, 0, :17].isnan().all() and out[0, 0, 17:].isfinite().all())
    found["NaN stays in its query"] = bool(out[0, 1:].isfinite().all())
    border = torch.tensor([0.0, 1.0]).expand_as(locations)
    ours = with_gradients(sample_by_kernel, [value, border, weights], SHAPES, grad)
    reference = with_gradients(op.sample_levels, [value, border, weights], SHAPES, grad)
    found["borders"] = all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, reference, strict=True))
    none = with_gradients(sample_by_kernel, [value, locations[:, :0], weights[:, :0]], SHAPES, grad[:, :0])
    found["no queries"] = none[0].shape == (1, 0, 34) and not none[1].any()
    more = torch.cat((locations, locations[:, :, :, :1]), 3), torch.cat((weights, weights[:, :, :, :1]), 3)
    empty = sample_by_kernel(value, (*SHAPES, (0, 7)), *more)
    found["empty level"] = torch.allclose(empty, sample_by_kernel(value, SHAPES, locations, weights))
    torch.use_deterministic_algorithms(True)
    plain, turned = (
        with_gradients(sample_by_kernel, [value, locations[:, order], weights[:, order]], SHAPES, grad[:, order])
        for order in ([0, 1, 2], [2, 0, 1])
    )
    found["deterministic sums do not depend on the order"] = torch.equal(plain[1], turned[1])
    still = with_gradients(sample_by_kernel, [value, locations, weights], SHAPES, torch.zeros_like(grad))
    found["gradients of zero are zero"] = not any(gradient.any() for gradient in still[1:])
    return found


def as_operator() -> dict[str, bool]:
    """Return whether opcheck of torch, torch.compile and torch.export accept the operator, and whether the check
    on the device passes."""
    torch.manual_seed(0)
    value, locations, weights = inputs(queries=2, dim=16, points=1)
    sizes = [side for shape in SHAPES for side in shape]
    checked = library.opcheck(
        torch.ops.vislab.ms_deform_attn.default,
        (value.requires_grad_(), sizes, locations.requires_grad_(), weights.requires_grad_()),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    compiled = torch.compile(lambda v, x, w: sample_by_kernel(v, SHAPES, x, w), backend="aot_eager", fullgraph=True)
    grad = torch.randn(1, 2, 32)
    results = zip(
        with_gradients(lambda v, _, x, w: compiled(v, x, w), [value, locations, weights], SHAPES, grad),
        with_gradients(sample_by_kernel, [value, locations, weights], SHAPES, grad),
        strict=True,
    )

    class Module(torch.nn.Module):
        def forward(self, v, x, w):
            return sample_by_kernel(v, SHAPES, x, w)

    graph = torch.export.export(Module(), (value.detach(), locations.detach(), weights.detach())).graph
    return {
        "opcheck": set(checked.values()) == {"SUCCESS"},
        "compiled": all(torch.equal(a, b) for a, b in results),
        "exported": any("vislab.ms_deform_attn" in str(node.target) for node in graph.nodes),
        "check on the device": op._compare(torch.device("cpu"), torch.float32),
    }


if __name__ == "__main__":
    job, *count = sys.argv[1:]
    jobs = {"shapes": random_shapes, "special": special_inputs, "operator": as_operator}
    json.dump(jobs[job](*map(int, count)), sys.stdout)
