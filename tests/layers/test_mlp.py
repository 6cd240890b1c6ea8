"""The multi-layer perceptron: ReLU between layers, none behind the last."""

import pytest
import torch

from vislab.layers.mlp import MLP


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_equals_a_sequence_of_layers(num_layers):
    mlp = MLP(dim=3, hidden_dim=7, out_dim=2, num_layers=num_layers)
    x = torch.randn(4, 5, 3)
    expected = x
    for i, layer in enumerate(mlp.layers):
        expected = expected @ layer.weight.T + layer.bias
        expected = expected.clamp(min=0) if i < num_layers - 1 else expected
    torch.testing.assert_close(mlp(x), expected)
    assert [tuple(layer.weight.shape) for layer in mlp.layers] == {
        1: [(2, 3)], 2: [(7, 3), (2, 7)], 4: [(7, 3), (7, 7), (7, 7), (2, 7)],
    }[num_layers]  # fmt: skip
    assert (mlp(torch.randn(100, 3)) < 0).any()
