"""The TrAct update of one layer (NeurIPS 2024, Section 3): its weight gradient, as if its outputs had been trained.

    a  (N, n)  what the layer sees, one row per sample, token or output pixel
    g  (N, m)  gradient of the loss with respect to the layer's output
    M = g^T a  (m, n)  the ordinary weight gradient
    A = a^T a / N  (n, n)

    gradient := M (A + lam I)^-1  =  g^T (a a^T / N + lam I)^-1 a, the second form for N < n

The layer is not touched: its forward, parameters, state_dict keys, class and hooks stay, and so does the random state.
A forward hook notes the input; when the backward pass reaches the output, a^T a is summed up; when M arrives at the
weight, it is replaced. So whatever the stock layer can do (stride, padding, dilation, groups, autocast, checkpointing)
works unchanged.

Under autocast M arrives rounded to 16 bits. Natural images have most of their energy in a few directions, and the
rounding error of those drowns the others, which are then amplified. So M is summed again in float32 from the 16-bit g,
whose rounding does little harm.

The bias keeps its ordinary gradient, as in the paper. A penalty on this weight that is part of the loss would be
changed along with M (and is lost under autocast): leave weight decay to the optimizer.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vislab.systems.tract.gram import gram, input_rows, output_rows, squares, weight_gradient


class Seen:
    """What backward passes have seen: rows of a and g as they are where they are few, else a^T a; M if summed anew."""

    def __init__(self) -> None:
        self.count = 0  # N
        self.gram: Tensor | None = None  # (groups, n, n)
        self.rows: list[tuple[Tensor, Tensor]] = []  # a (groups, N, n) and g (groups, N, m / groups)
        self.gradients: list[Tensor | None] = []  # in the weight's shape, one per call of the layer

    def add(self, count: int, gram: Tensor | None = None, rows: tuple[Tensor, Tensor] | None = None) -> None:
        self.count += count
        if rows is not None:
            self.rows.append(rows)
        if gram is not None:
            self.gram = gram if self.gram is None else self.gram + gram

    def precise_gradient(self) -> Tensor | None:
        """M in float32, if every call of the layer gave its part."""
        if not self.gradients or any(part is None for part in self.gradients):
            return None
        return sum(self.gradients)

    def full_gram(self) -> Tensor:
        return sum((squares([a]) for a, _ in self.rows), start=0 if self.gram is None else self.gram)


class TrAct:
    """The forward hook of one layer, and what its backward passes have seen so far.

    Args:
        lam: damping, above 0.
        reduce: "local", "global" or "deferred", see `apply_tract`.

    Attributes:
        fallbacks: how often A could not be factorized and the ordinary gradient was kept: int or 0-d tensor.
        total: what was seen since the gradient was last None (deferred).
        measure: whether the next gradient's norms are kept in `norms`: (of M, of what replaced it), 0-d tensors.
        calls: forward passes that were noted.
    """

    def __init__(self, lam: float, reduce: str) -> None:
        self.lam = lam
        self.reduce = reduce
        self.fallbacks: int | Tensor = 0
        self.total: Seen | None = None
        self.measure = False
        self.norms: tuple[Tensor, Tensor] | None = None
        self.calls = 0
        self._weight: Tensor | None = None
        self._handles: list = []
        self._passes: dict[int, Seen] = {}  # by the number of the running backward pass
        self._arriving: Seen | None = None

    def __reduce__(self):
        """Copies and pickles (EMA, deepcopy) start with nothing seen; their first forward ties them to their weight."""
        return TrAct, (self.lam, self.reduce)

    def release(self) -> None:
        """Forget the weight and what was seen of it."""
        for handle in self._handles:
            handle.remove()
        self._weight, self._handles, self.total, self._arriving = None, [], None, None
        self._passes.clear()

    @torch._disable_dynamo  # what torch's optimizers use: torch.compiler.disable would load the compiler at import
    def __call__(self, layer: nn.Module, args: tuple, kwargs: dict, out: Tensor) -> None:
        weight = layer.weight
        if not (out.requires_grad and weight.requires_grad):
            return
        self.calls += 1
        if self._weight is not weight:
            if self._weight is not None:  # at the first call there may be a `total` from a checkpoint
                self.release()
            self._weight = weight
            self._handles.append(weight.register_hook(self._arrived))
            if self.reduce == "deferred":
                self._handles.append(weight.register_post_accumulate_grad_hook(self._accumulated))
        if torch._C._current_graph_task_id() < 0:  # no backward is running: what is left never reached the weight
            self._passes.clear()
        x = (args[0] if args else kwargs["input"]).detach()
        out.register_hook(lambda g: self._passed(layer, x, g))

    @torch.no_grad()
    def _passed(self, layer: nn.Module, x: Tensor, g: Tensor) -> None:
        """The backward pass has reached the layer's output: x is the input it was made from, g its gradient."""
        seen = self._passes.setdefault(torch._C._current_graph_task_id(), Seen())
        m, n = len(layer.weight), layer.weight.shape[1:].numel()
        rows = g.numel() // m
        with _no_autocast(g):
            narrow = torch.finfo(g.dtype).bits < 32
            seen.gradients.append(weight_gradient(x, g, layer) if narrow else None)
            if self.reduce == "local" and rows < n:
                seen.add(rows, rows=(input_rows(x, layer), output_rows(g, layer)))
            else:
                seen.add(rows, gram=gram(x, layer))

    def _arrived(self, grad: Tensor) -> Tensor | None:
        """The ordinary gradient of one backward pass has arrived at the weight."""
        seen = self._passes.pop(torch._C._current_graph_task_id(), None)
        if seen is None:
            return None
        precise = seen.precise_gradient()
        if self.reduce != "deferred":
            return self.solve(grad if precise is None else precise, seen).to(grad.dtype)
        self._arriving = seen
        if self._weight.grad is None:
            self.total = None
        return None if precise is None else precise.to(grad.dtype)

    def _accumulated(self, _: Tensor) -> None:
        """The ordinary gradient was added to `weight.grad`, so what was seen with it counts (deferred)."""
        if self._arriving is not None:
            self.total = self.total or Seen()
            self.total.add(self._arriving.count, gram=self._arriving.gram)
            self._arriving = None

    def solve(self, grad: Tensor, seen: Seen) -> Tensor:
        """M (A + lam I)^-1 for the ordinary gradient M of what was seen, in M's dtype and shape; M where that fails."""
        wide = torch.promote_types(grad.dtype, torch.float32)
        with _no_autocast(grad):
            groups = len(seen.rows[0][0] if seen.gram is None else seen.gram)
            m = grad.reshape(groups, grad.shape[0] // groups, -1).to(wide)  # (G, m / G, n)
            if seen.gram is None and seen.count < m.shape[2]:
                a, g = (torch.cat(parts, dim=1).to(wide) for parts in zip(*seen.rows, strict=True))
                inner = a @ a.mT / max(1, seen.count)  # the push-through form, N x N
                if g.shape[2] < a.shape[2]:  # the fewer right-hand sides
                    new, ok = _solve(inner, self.lam, g)
                    new = new.mT @ a
                else:
                    new, ok = _solve(inner, self.lam, a)
                    new = g.mT @ new
            else:
                matrix, count = self._all_reduced(seen)
                new, ok = _solve(matrix.to(wide) / count, self.lam, m.mT)
                new = new.mT
            if not m.is_cpu or not ok.all():  # a look at the result would make an accelerator wait
                self.fallbacks = self.fallbacks + (~ok).sum()
                new = torch.where(ok[:, None, None], new, m)
            if self.measure:
                self.norms = (m.detach().norm(), new.detach().norm())
        return new.reshape(grad.shape).to(grad.dtype)

    def _all_reduced(self, seen: Seen) -> tuple[Tensor, Tensor | int]:
        """a^T a and N, over all processes unless reduce is "local"."""
        matrix = seen.full_gram()
        if self.reduce == "local" or not dist.is_available() or not dist.is_initialized():
            return matrix, seen.count
        packed = torch.cat([matrix.flatten(), matrix.new_tensor([seen.count])])
        dist.all_reduce(packed)
        return packed[:-1].view_as(matrix), packed[-1]


def _no_autocast(x: Tensor) -> AbstractContextManager:
    """A context without autocast; switching it off where it is off already would cost a small layer 2 % of its time."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _solve(matrix: Tensor, lam: float, right: Tensor) -> tuple[Tensor, Tensor]:
    """(matrix + lam I)^-1 right by Cholesky, and for each group whether that succeeded. No wait for the device.

    Damping below the rounding error of the matrix is raised to it: images in 0..255 and the like, which need none.
    """
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    floor = diagonal.sum(dim=1, keepdim=True).mul_(2 * torch.finfo(matrix.dtype).eps)
    diagonal.add_(floor.clamp_(min=lam))
    factor, info = torch.linalg.cholesky_ex(matrix)
    ok = (info == 0) & (factor.diagonal(dim1=1, dim2=2).sum(dim=1) < float("inf"))  # NaN is not below either
    return torch.cholesky_solve(right, factor), ok
