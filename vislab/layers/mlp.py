"""Multi-layer perceptron with ReLU activations."""

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """`num_layers` linear layers from (..., dim) to (..., out_dim), with ReLU after all but the last."""

    def __init__(self, *, dim: int, hidden_dim: int, out_dim: int, num_layers: int = 3) -> None:
        super().__init__()
        widths = [dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
