"""Test the orthogonalization against the iteration written out in float64, and against U V^T of the SVD."""

import pytest
import torch

from vislab.engine.optim.orthogonal import QUINTIC, orthogonalize

SHAPES = [(25, 28, 34), (16, 23, 252), (3, 40, 7), (2, 1, 9), (1, 6, 6)]  # square, wide, tall, a row


def matrices(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def plain(x: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The published iteration on one matrix, in float64."""
    a, b, c = QUINTIC
    x = x.double() / x.double().norm()
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def test_equals_the_published_iteration():
    given = matrices()
    for batch, found in zip(given, orthogonalize(given), strict=True):
        assert found.shape == batch.shape and found.dtype == torch.float32
        for x, y in zip(batch, found, strict=True):
            torch.testing.assert_close(y.double(), plain(x), rtol=0, atol=2e-5)


def test_singular_values_and_directions():
    given = matrices(1)
    for batch, found in zip(given, orthogonalize(given), strict=True):
        u, _, vt = torch.linalg.svd(batch, full_matrices=False)
        inner = u.mT @ found @ vt.mT  # diagonal with the new singular values
        values = inner.diagonal(dim1=1, dim2=2)
        if batch.shape[1] > 6:
            assert values.min() > 0.6 and values.max() < 1.25
        assert (inner - torch.diag_embed(values)).abs().max() < 1e-3


def test_more_steps_with_converging_coefficients_give_the_polar_factor():
    x = matrices(2)[1]
    u, _, vt = torch.linalg.svd(x, full_matrices=False)
    (found,) = orthogonalize([x], steps=13, coefficients=[QUINTIC] * 3 + [(1.875, -1.25, 0.375)] * 10)
    torch.testing.assert_close(found, u @ vt, rtol=0, atol=1e-4)


def test_small_values_zero_matrices_and_scale():
    x = torch.zeros(2, 4, 20)
    x[0] = matrices(3)[1][0, :4, :20] * 1e-4
    (found,) = orthogonalize([x])
    assert (found[1] == 0).all()
    torch.testing.assert_close(found[:1], orthogonalize([x[:1] * 1e6])[0], rtol=1e-4, atol=1e-4)


def test_rank_deficient_matrices_stay_bounded():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(1, 20, 2, generator=generator) @ torch.randn(1, 2, 90, generator=generator)
    values = torch.linalg.svdvals(orthogonalize([x])[0][0])
    assert values[1] > 0.6 and values[0] < 1.25 and values[2] < 0.05


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_half_precision_is_near(number):
    x = matrices()[number]
    (half,) = orthogonalize([x], dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert (half.float() - orthogonalize([x])[0]).abs().max() < 0.1


def test_nothing_to_do():
    assert orthogonalize([]) == []
