"""Step C: fit the gate on the derived data set, and read off what any policy would score and cost.

The utility of exit k for an image is its quality there minus beta times k: a layer is worth running when it adds more
than beta. Everything here works on the derived arrays; no image is looked at again.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vislab.systems.eco_m2f.derive import Derived
from vislab.systems.eco_m2f.quality import set_quality


def utility(quality: np.ndarray, exits: Sequence[int], beta: float) -> np.ndarray:
    """(N, E) quality in 0..1 to (N, E) quality - beta * k."""
    return np.asarray(quality, np.float64) - beta * np.asarray(exits, np.float64)


def best_exits(quality: np.ndarray, exits: Sequence[int], beta: float) -> np.ndarray:
    """(N,) columns of the best exit; the shallowest of equals."""
    return utility(quality, exits, beta).argmax(1)


def fit_gate(
    gate: nn.Linear,
    derived: Derived,
    beta: float,
    *,
    loss: Literal["hard", "soft", "expected"] = "hard",
    temperature: float = 0.02,
    weight_decay: float = 1e-3,
    steps: int = 100,
    published: bool = False,
    seed: int = 0,
) -> float:
    """Fit the gate in place; takes seconds.

    Args:
        gate: EcoM2F.gate.
        derived: Of the training images.
        beta: Quality a layer must add, 0..1.
        loss: "hard": cross entropy with the best exit; "soft": cross entropy with softmax(utility / temperature);
            "expected": minus the expected utility.
        temperature: Of "soft".
        weight_decay: Squared norm of the weights, in units of standardised features.
        steps: Of L-BFGS, on all images at once.
        published: As the released code: AdamW 1e-4, weight decay 0.05, batches of 8, clipping at 0.01, "soft" as
            squared error between softmaxes; `steps` is then the number of batches (published: 10,000 to 300,000).
        seed: Of the batches' order.

    Returns:
        The final loss.
    """
    features = torch.from_numpy(derived.features).double()
    values = torch.from_numpy(utility(derived.quality, derived.exits, beta))
    target = torch.from_numpy(best_exits(derived.quality, derived.exits, beta))
    if published:
        return _fit_published(gate, features.float(), values.float(), target, loss, steps, seed)
    mean, std = features.mean(0), features.std(0, unbiased=False).clamp(min=1e-6)
    x = (features - mean) / std
    soft = (values / temperature).softmax(1)
    weight = torch.zeros(len(derived.exits), x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(derived.exits), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:
        logits = x @ weight.T + bias
        if loss == "hard":
            value = F.cross_entropy(logits, target)
        elif loss == "soft":
            value = F.cross_entropy(logits, soft)
        elif loss == "expected":
            value = -(logits.softmax(1) * values).sum(1).mean() / temperature
        else:
            raise ValueError(f"loss={loss!r} is not one of hard, soft, expected")
        return value + weight_decay * weight.square().sum()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = objective()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    with torch.no_grad():  # the standardisation moves into the weights
        final = weight / std
        gate.weight.copy_(final.to(gate.weight))
        gate.bias.copy_((bias - final @ mean).to(gate.bias))
        return float(objective())


def _fit_published(gate, features, values, target, loss, steps, seed) -> float:
    weight, bias = gate.weight.detach().clone().requires_grad_(), gate.bias.detach().clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=1e-4, weight_decay=0.05)
    generator = torch.Generator().manual_seed(seed)
    value = torch.zeros(())
    with torch.enable_grad():
        for _ in range(steps):
            rows = torch.randint(len(features), (min(8, len(features)),), generator=generator)
            logits = features[rows] @ weight.T + bias
            if loss == "soft":
                value = F.mse_loss(logits.softmax(1), values[rows].softmax(1))
            else:
                value = F.cross_entropy(logits, target[rows])
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_([weight, bias], 0.01)
            optimizer.step()
    with torch.no_grad():
        gate.weight.copy_(weight)
        gate.bias.copy_(bias)
    return float(value.detach())


def gate_choice(gate: nn.Linear, derived: Derived, dial: float = 0.0) -> np.ndarray:
    """(N,) columns the gate would choose."""
    with torch.no_grad():
        features = torch.from_numpy(derived.features).to(gate.weight)
        scores = gate(features).log_softmax(1).cpu().double()
    return (scores - dial * torch.tensor(derived.exits, dtype=torch.float64)).argmax(1).numpy()


def policies(
    gate: nn.Linear, derived: Derived, beta: float, *, dial: float = 0.0, costs: Mapping[int, float] | None = None
) -> list[dict]:
    """Expected quality and cost of the gate, the oracle, and random choice with the gate's shares.

    Args:
        gate: A fitted gate.
        derived: Of images that it was not fitted on.
        beta: For the oracle's labels.
        dial: Of the gate.
        costs: Exit -> cost in any unit; default: the number of layers.
    """
    chosen = gate_choice(gate, derived, dial)
    shares = np.bincount(chosen, minlength=len(derived.exits)) / len(chosen)
    rows = [
        _row("gate", np.eye(len(derived.exits))[chosen], derived, costs),
        _row("random", np.tile(shares, (len(chosen), 1)), derived, costs),
        _row("oracle", np.eye(len(derived.exits))[best_exits(derived.quality, derived.exits, beta)], derived, costs),
    ]
    return [{"policy": row.pop("policy"), "beta": beta, "dial": dial} | row for row in rows]


def frontier(
    train: Derived,
    test: Derived,
    betas: Sequence[float] = (0.0, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1),
    *,
    loss: Literal["hard", "soft", "expected"] = "hard",
    costs: Mapping[int, float] | None = None,
    weight_decay: float = 1e-3,
) -> list[dict]:
    """A table of quality against cost for fixed exits and for every beta, without running the model again.

    `random` mixes the same exits in the same shares without looking at the image: a gate that does not beat it has
    learned nothing. Rows: policy, beta, depth (mean layers), cost, quality (mean over images), and set_quality (of all
    images together, where the counts were kept; for random: of the mixed counts).
    """
    rows = []
    for column, k in enumerate(test.exits):
        share = np.zeros((len(test.quality), len(test.exits)))
        share[:, column] = 1
        rows.append(_row(f"exit {k}", share, test, costs))
    for beta in betas:
        gate = nn.Linear(train.features.shape[1], len(train.exits))
        fit_gate(gate, train, beta, loss=loss, weight_decay=weight_decay)
        rows += policies(gate, test, beta, costs=costs)
    return rows


def _row(name: str, shares: np.ndarray, derived: Derived, costs: Mapping[int, float] | None) -> dict:
    """Expectation under (N, E) probabilities of exits."""
    exits = np.array(derived.exits, float)
    cost = exits if costs is None else np.array([costs[k] for k in derived.exits])
    row = {
        "policy": name,
        "depth": float((shares @ exits).mean()),
        "cost": float((shares @ cost).mean()),
        "quality": float((shares * derived.quality).sum(1).mean()),
    }
    if derived.counts is not None:
        expected = np.einsum("ne,necd->ncd", shares, derived.counts.astype(np.float64))
        row["set_quality"] = set_quality(expected, derived.measure)
    return row
