"""The TrAct update of one layer (NeurIPS 2024, section 3): the weight gradient as if the layer's outputs were trained.

    a  (N, n)  input of the layer, one row per sample, token or output pixel
    g  (N, m)  gradient of the loss with respect to the output of the layer
    M = g^T a  (m, n)  the ordinary weight gradient
    A = a^T a / N  (n, n)

    gradient := M (A + lam I)^-1  =  g^T (a a^T / N + lam I)^-1 a, the second form for N < n

The layer is not modified: its forward, parameters, state_dict keys, class and hooks are unchanged, as is the random
state. A forward hook stores the input; when the backward pass reaches the output, a^T a is accumulated; when M reaches
the weight, it is replaced. All features of the layer (stride, padding, dilation, groups, autocast, checkpointing) work.

Under autocast M is rounded to 16 bits. Natural images have most of their energy in a few directions, whose rounding
errors exceed the other directions, which are then amplified. Therefore M is recomputed in float32 from the 16-bit g,
whose rounding does little harm.

The bias keeps its ordinary gradient, as in the paper. A penalty on this weight in the loss would be transformed with M
(and is lost under autocast): use the weight decay of the optimizer.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vislab.systems.tract.gram import gram, input_rows, output_rows, squares, weight_gradient


class Seen:
    """Sums over backward passes: the rows of a and g if there are few, else a^T a; and M if it is recomputed."""

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
        """Return a^T a over everything that was added, (groups, n, n)."""
        return sum((squares([a]) for a, _ in self.rows), start=0 if self.gram is None else self.gram)


class TrAct:
    """The forward hook of one layer, with the sums over its backward passes.

    Args:
        lam: Damping, above 0.
        reduce: "local", "global" or "deferred", see `apply_tract`.

    Attributes:
        fallbacks: Number of times A could not be factorized and the ordinary gradient was kept; int or 0-d tensor.
        total: Sums since the gradient was last None (deferred).
        measure: Whether to store the norms of M and of its replacement in `norms`, 0-d tensors.
        calls: Number of forward passes with gradient.
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
        """Copy or pickle (EMA, deepcopy) without sums; the copy is bound to its weight in the first forward pass."""
        return TrAct, (self.lam, self.reduce)

    def release(self) -> None:
        """Release the weight and all sums."""
        for handle in self._handles:
            handle.remove()
        self._weight, self._handles, self.total, self._arriving = None, [], None, None
        self._passes.clear()

    @torch._disable_dynamo  # as in torch's optimizers: torch.compiler.disable would import the compiler
    def __call__(self, layer: nn.Module, args: tuple, kwargs: dict, out: Tensor) -> None:
        weight = layer.weight
        if not (out.requires_grad and weight.requires_grad):
            return
        self.calls += 1
        if self._weight is not weight:
            if self._weight is not None:  # keep a `total` loaded from a checkpoint
                self.release()
            self._weight = weight
            self._handles.append(weight.register_hook(self._arrived))
            if self.reduce == "deferred":
                self._handles.append(weight.register_post_accumulate_grad_hook(self._accumulated))
        if torch._C._current_graph_task_id() < 0:  # no backward is running: remaining sums never reached the weight
            self._passes.clear()
        x = (args[0] if args else kwargs["input"]).detach()
        out.register_hook(lambda g: self._passed(layer, x, g))

    @torch.no_grad()
    def _passed(self, layer: nn.Module, x: Tensor, g: Tensor) -> None:
        """Accumulate when the backward pass reaches the output of the layer; x is its input, g its gradient."""
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
        """Replace the gradient when that of a backward pass reaches the weight."""
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
        """Add the sums to `total` when the gradient was added to `weight.grad` (deferred)."""
        if self._arriving is not None:
            self.total = self.total or Seen()
            self.total.add(self._arriving.count, gram=self._arriving.gram)
            self._arriving = None

    def solve(self, grad: Tensor, seen: Seen) -> Tensor:
        """Return M (A + lam I)^-1 for the ordinary gradient M, in its dtype and shape; M in groups where it fails."""
        wide = torch.promote_types(grad.dtype, torch.float32)
        with _no_autocast(grad):
            groups = len(seen.rows[0][0] if seen.gram is None else seen.gram)
            m = grad.reshape(groups, grad.shape[0] // groups, -1).to(wide)  # (G, m / G, n)
            if seen.gram is None and seen.count < m.shape[2]:
                a, g = (torch.cat(parts, dim=1).to(wide) for parts in zip(*seen.rows, strict=True))
                inner = a @ a.mT / max(1, seen.count)  # the push-through form, N x N
                if g.shape[2] < a.shape[2]:  # fewer right-hand sides
                    new, ok = _solve(inner, self.lam, g)
                    new = new.mT @ a
                else:
                    new, ok = _solve(inner, self.lam, a)
                    new = g.mT @ new
            else:
                matrix, count = self._all_reduced(seen)
                new, ok = _solve(matrix.to(wide) / count, self.lam, m.mT)
                new = new.mT
            if not m.is_cpu or not ok.all():  # no check on accelerators, which would synchronize
                self.fallbacks = self.fallbacks + (~ok).sum()
                new = torch.where(ok[:, None, None], new, m)
            if self.measure:
                self.norms = (m.detach().norm(), new.detach().norm())
        return new.reshape(grad.shape).to(grad.dtype)

    def _all_reduced(self, seen: Seen) -> tuple[Tensor, Tensor | int]:
        """Return a^T a and N, over all processes unless reduce is "local"."""
        matrix = seen.full_gram()
        if self.reduce == "local" or not dist.is_available() or not dist.is_initialized():
            return matrix, seen.count
        packed = torch.cat([matrix.flatten(), matrix.new_tensor([seen.count])])
        dist.all_reduce(packed)
        return packed[:-1].view_as(matrix), packed[-1]


def _no_autocast(x: Tensor) -> AbstractContextManager:
    """Disable autocast if it is enabled; disabling it unconditionally would cost a small layer 2 % of its time."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _solve(matrix: Tensor, lam: float, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return (matrix + lam I)^-1 right by Cholesky, and whether it succeeded for each group, without synchronization.

    Damping below the rounding error of the matrix is increased to it, e.g. for images in 0..255.
    """
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    floor = diagonal.sum(dim=1, keepdim=True).mul_(2 * torch.finfo(matrix.dtype).eps)
    diagonal.add_(floor.clamp_(min=lam))
    factor, info = torch.linalg.cholesky_ex(matrix)
    ok = (info == 0) & (factor.diagonal(dim1=1, dim2=2).sum(dim=1) < float("inf"))  # False for NaN
    return torch.cholesky_solve(right, factor), ok
