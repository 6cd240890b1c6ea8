"""Orthogonalization of batches of matrices by Newton-Schulz iterations, as used by the Muon optimizer.

A polynomial is applied to the singular values of a matrix X = U S V^T until they are near 1, so that the result is
close to U V^T. Products are computed on the smaller side.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Coefficients = Sequence[float] | Sequence[Sequence[float]]

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients (a, b, c) of the polynomial a s + b s^3 + c s^5 of Jordan et al. (2024), as in torch.optim.Muon."""


def orthogonalize(
    matrices: Sequence[Tensor],
    *,
    steps: int = 5,
    coefficients: Coefficients = QUINTIC,
    eps: float = 1e-7,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """Return U V^T of each matrix approximately; singular values end between about 0.7 and 1.2 with `QUINTIC`.

    Matrices of different batches share the small products: the iteration runs on the Gram matrices X X^T of the smaller
    side, padded to one size, and each X is multiplied once by the product of all polynomials. Matrices that are nearly
    square are iterated directly, which takes fewer operations.

    Args:
        matrices: Batches of matrices, (B, M, N) each; a zero matrix gives zeros.
        steps: Number of iterations.
        coefficients: (a, b, c) for all steps, or one triple per step.
        eps: Smallest Frobenius norm that a matrix is divided by.
        dtype: Type of the products. Other types than float32 iterate directly, since Gram matrices lose small values.

    Returns:
        One (B, M, N) tensor of `dtype` per input.
    """
    triples = _triples(coefficients, steps)
    wide = [(m.mT if m.shape[-2] > m.shape[-1] else m).to(dtype) for m in matrices]  # (B, m, n), m <= n
    wide = [m / m.norm(dim=(-2, -1), keepdim=True).clamp_min(eps) for m in wide]
    by_gram = [dtype == torch.float32 and 2 * m.shape[-1] >= 3 * m.shape[-2] for m in wide]
    factors = iter(_gram_factors([m for m, gram in zip(wide, by_gram, strict=True) if gram], triples))
    done = [next(factors) @ m if gram else _iterate(m, triples) for m, gram in zip(wide, by_gram, strict=True)]
    return [d.mT if m.shape[-2] > m.shape[-1] else d for m, d in zip(matrices, done, strict=True)]


def _triples(coefficients: Coefficients, steps: int) -> list[tuple[float, float, float]]:
    if isinstance(coefficients[0], (int, float)):
        return [tuple(coefficients)] * steps
    return [tuple(triple) for triple in coefficients]


def _iterate(x: Tensor, triples: Sequence[tuple[float, float, float]]) -> Tensor:
    """Return the polynomials applied to x (B, m, n) one after the other."""
    for a, b, c in triples:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _gram_factors(matrices: Sequence[Tensor], triples: Sequence[tuple[float, float, float]]) -> list[Tensor]:
    """Return for each x (B, m, n) the matrix (B, m, m) whose product with x is `_iterate(x)`."""
    if not matrices:
        return []
    side = max(x.shape[-2] for x in matrices)
    grams = [torch.nn.functional.pad(x @ x.mT, (0, side - x.shape[-2]) * 2) for x in matrices]
    gram = torch.cat(grams)  # (sum of B, side, side)
    product = None
    for number, (a, b, c) in enumerate(triples, start=1):
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal(dim1=-2, dim2=-1).add_(a)  # a I + b G + c G^2
        product = step if product is None else step @ product
        if number < len(triples):
            gram = step @ gram @ step  # all are polynomials of one symmetric matrix and commute
    parts = product.split([len(x) for x in matrices])
    return [part[:, : x.shape[-2], : x.shape[-2]] for part, x in zip(parts, matrices, strict=True)]
