"""Step C: fit the gate on the derived dataset, and compute quality and cost of policies.

The utility of exit k for an image is its quality minus beta times k, so that a layer must add at least beta to the
quality. The functions use the derived dataset only, no images.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import nn
from torch.nn import functional as F

from vislab.systems.eco_m2f.derive import Derived
from vislab.systems.eco_m2f.quality import set_quality

DECAYS = (1000.0, 10.0, 1.0, 0.1, 0.01, 0.001)
Loss = Literal["regress", "expected", "soft", "hard"]


def utility(quality: np.ndarray, exits: Sequence[int], beta: float) -> np.ndarray:
    """Return the utility (N, E), quality - beta * k, of the quality (N, E) in [0, 1]."""
    return np.asarray(quality, np.float64) - beta * np.asarray(exits, np.float64)


def best_exits(quality: np.ndarray, exits: Sequence[int], beta: float) -> np.ndarray:
    """Return the columns of the best exits (N,); the first one of equals."""
    return utility(quality, exits, beta).argmax(1)


def fit_gate(
    gate: nn.Linear,
    derived: Derived,
    beta: float,
    *,
    loss: Loss = "hard",
    temperature: float = 0.02,
    weight_decay: float | None = None,
    steps: int = 100,
    published: bool = False,
    seed: int = 0,
) -> float:
    """Fit the gate in place.

    Args:
        gate: The gate of EcoM2F or EcoDETR.
        derived: Derived dataset of training images.
        beta: Minimum gain in quality per layer, in [0, 1].
        loss: "regress": squared error of the utilities; "expected": minus the expected utility; "soft": cross entropy
            with softmax(utility / temperature); "hard": cross entropy with the best exit.
        temperature: Temperature of "soft".
        weight_decay: Factor on the squared norm of the weights, for standardized features. Default: the largest of
            DECAYS that is not significantly worse than the best one in five-fold cross-validation.
        steps: Number of L-BFGS steps, on all images.
        published: Use the procedure of the published code: AdamW 1e-4, weight decay 0.05, batches of 8, clipping at
            0.01, "soft" as squared error between softmaxes; `steps` is then the number of batches (published: 10,000 to
            300,000).
        seed: Random seed.

    Returns:
        The final loss.
    """
    if published:
        return _fit_published(gate, derived, beta, loss, steps, seed)
    if weight_decay is None:
        weight_decay = _choose_decay(derived, beta, loss, temperature, steps, seed)
    weight, bias, value = _fit(derived, beta, loss, temperature, weight_decay, steps)
    with torch.no_grad():
        gate.weight.copy_(torch.from_numpy(weight))
        gate.bias.copy_(torch.from_numpy(bias))
    return value


def _fit(
    derived: Derived, beta: float, loss: str, temperature: float, weight_decay: float, steps: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return weight (E, dim) and bias (E,) for raw features, and the final loss."""
    values = utility(derived.quality, derived.exits, beta)
    count, exits = values.shape
    if loss == "hard":
        target = np.eye(exits)[values.argmax(1)]
    elif loss in ("soft", "expected"):
        target = softmax(values / temperature, axis=1)
    elif loss != "regress":
        raise ValueError(f"loss={loss!r} is not one of {', '.join(get_args(Loss))}")
    features = derived.features.astype(np.float64)
    mean, std = features.mean(0), np.maximum(features.std(0), 1e-6)
    x = np.concatenate([(features - mean) / std, np.ones((count, 1))], axis=1)
    decay = np.append(np.full(features.shape[1], weight_decay), 0.0)  # none for the bias

    if loss == "regress":
        weight = np.linalg.solve(x.T @ x / count + np.diag(decay), x.T @ values / count).T
        raw = weight[:, :-1] / std
        return raw, weight[:, -1] - raw @ mean, float(((x @ weight.T - values) ** 2).mean())

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat.reshape(exits, -1)
        log_p = log_softmax(x @ weight.T, axis=1)
        p = np.exp(log_p)
        if loss == "expected":
            gain = values / temperature
            mean_gain = (p * gain).sum(1, keepdims=True)
            value, slope = -mean_gain.mean(), p * (mean_gain - gain)
        else:
            value, slope = -(target * log_p).sum(1).mean(), p - target
        grad = slope.T @ x / count + 2 * decay * weight
        return float(value + (decay * weight**2).sum()), grad.ravel()

    found = minimize(objective, np.zeros(exits * x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    weight = found.x.reshape(exits, -1)
    raw = weight[:, :-1] / std  # the standardization moves into the weights
    return raw, weight[:, -1] - raw @ mean, float(found.fun)


def _choose_decay(derived: Derived, beta: float, loss: str, temperature: float, steps: int, seed: int) -> float:
    """Return the largest weight decay within one standard error of the best in five-fold cross-validation.

    A large weight decay leads to the same exit for all images, so the gate depends on the image only if the features
    are predictive.
    """
    fold = np.random.default_rng(seed).permutation(len(derived.quality)) % 5
    values = utility(derived.quality, derived.exits, beta)
    scores = np.zeros((len(DECAYS), len(values)))
    for row, decay in zip(scores, DECAYS, strict=True):
        for held in range(5):
            kept, out = fold != held, fold == held
            if not kept.any() or not out.any():
                continue
            part = Derived(derived.quality[kept], derived.features[kept], derived.exits, [], None, derived.measure)
            weight, bias, _ = _fit(part, beta, loss, temperature, decay, steps)
            chosen = derived.features[out].astype(np.float64) @ weight.T + bias
            row[out] = values[out, chosen.argmax(1)]
    lost = scores[scores.mean(1).argmax()] - scores
    close = lost.mean(1) <= lost.std(1) / len(values) ** 0.5
    return DECAYS[int(close.argmax())]


def _fit_published(gate: nn.Linear, derived: Derived, beta: float, loss: str, steps: int, seed: int) -> float:
    features = torch.from_numpy(derived.features).float()
    values = torch.from_numpy(utility(derived.quality, derived.exits, beta)).float()
    target = torch.from_numpy(best_exits(derived.quality, derived.exits, beta))
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


def gate_choice(gate: nn.Linear, derived: Derived, depth_penalty: float = 0.0) -> np.ndarray:
    """Return the columns (N,) selected by the gate."""
    with torch.no_grad():
        features = torch.from_numpy(derived.features).to(gate.weight)
        scores = gate(features).log_softmax(1).cpu().double()
    return (scores - depth_penalty * torch.tensor(derived.exits, dtype=torch.float64)).argmax(1).numpy()


def policies(
    gate: nn.Linear,
    derived: Derived,
    beta: float,
    *,
    depth_penalty: float = 0.0,
    costs: Mapping[int, float] | None = None,
) -> list[dict]:
    """Return expected quality and cost of the gate, the oracle, and random selection with the gate's frequencies.

    Args:
        gate: A fitted gate.
        derived: Derived dataset of images that were not used for fitting.
        beta: Minimum gain in quality per layer, for the oracle.
        depth_penalty: Depth penalty of the gate.
        costs: Cost by exit. Default: the number of layers.
    """
    chosen = gate_choice(gate, derived, depth_penalty)
    shares = np.bincount(chosen, minlength=len(derived.exits)) / len(chosen)
    gate_row = _row("gate", np.eye(len(derived.exits))[chosen], derived, costs)
    over = derived.quality[np.arange(len(chosen)), chosen] - derived.quality @ shares  # expected gain over random
    gate_row |= {"over_random": float(over.mean()), "error": float(over.std() / len(over) ** 0.5)}
    fixed = np.array([k if costs is None else costs[k] for k in derived.exits])
    mixed = float(np.interp(gate_row["cost"], fixed, derived.quality.mean(0)))
    gate_row["over_fixed"] = gate_row["quality"] - mixed
    rows = [
        gate_row,
        _row("random", np.tile(shares, (len(chosen), 1)), derived, costs),
        _row("oracle", np.eye(len(derived.exits))[best_exits(derived.quality, derived.exits, beta)], derived, costs),
    ]
    return [{"policy": row.pop("policy"), "beta": beta, "depth_penalty": depth_penalty} | row for row in rows]


def frontier(
    train: Derived,
    test: Derived,
    betas: Sequence[float] = (0.0, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1),
    *,
    loss: Loss = "hard",
    costs: Mapping[int, float] | None = None,
    weight_decay: float | None = None,
) -> list[dict]:
    """Return a table of quality against cost for fixed exits and for all betas, without running the model.

    `random` selects exits with the frequencies of the gate, independently of the image. Columns: policy, beta, depth
    (mean number of layers), cost, quality (mean over images), and set_quality (of the dataset, if the counts were
    kept).
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
    """Return a table row with expectations under the exit probabilities `shares` (N, E)."""
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
