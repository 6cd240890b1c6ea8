"""Test paired runs of a small convolutional network that differ only in the gradient of the first layer."""

import statistics

import torch
from torch import nn
from torch.nn import functional as F

from vislab.systems.tract import apply_tract


def batch(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """64 images of ten gratings (5 angles, 2 widths) under a strong random brightness, standardized over the set."""
    label = torch.randint(10, (64,), generator=generator)
    angle, width = (label % 5) * torch.pi / 5, 1.0 + (label // 5)
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    phase = torch.rand(64, 1, 1, generator=generator) * 6.28
    wave = torch.sin((angle.cos()[:, None, None] * x + angle.sin()[:, None, None] * y) * width[:, None, None] + phase)
    light = torch.randn(64, 1, 1, generator=generator)
    noise = 0.1 * torch.randn(64, 3, 12, 12, generator=generator)
    return ((0.2 * wave + light)[:, None] + noise) / 1.03, label


def run(tract: bool, seed: int) -> list[float]:
    """The loss of 100 steps."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)
    )
    if tract:
        apply_tract(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator, losses = torch.Generator().manual_seed(seed), []
    for _ in range(100):
        images, label = batch(generator)
        loss = F.cross_entropy(model(images), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_is_faster_where_the_interesting_directions_are_faint():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small only wait for each other
    try:
        pairs = [(run(False, seed), run(True, seed)) for seed in range(2)]
    finally:
        torch.set_num_threads(threads)
    for plain, tract in pairs:
        assert plain[0] == tract[0]  # same start
        for step in (60, 80):
            assert statistics.mean(tract[step : step + 20]) < statistics.mean(plain[step : step + 20])
        assert statistics.mean(tract[80:]) < 0.75 * statistics.mean(plain[80:])
