"""Test the loss of Mask2Former: targets marked as skipped on the device have no effect."""

import pytest
import torch
from torch.nn import functional as F

from vislab.errors import DataError
from vislab.models.mask2former import Mask2FormerLoss, Target

CLASSES, QUERIES, SIDE = 4, 6, 16


def outputs(count=2):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(count, QUERIES, CLASSES + 1, generator=generator) for _ in range(2)]
    embeddings = [torch.randn(count, QUERIES, 8, generator=generator) for _ in range(2)]
    return logits, embeddings, torch.randn(count, 8, SIDE, SIDE, generator=generator)


def target(*states: int | None):
    """Entries of these states; None for an image whose entries are all known to be targets."""
    masks = torch.zeros(len(states), 2 * SIDE, 2 * SIDE, dtype=torch.uint8)
    for i, state in enumerate(states):
        if state != 0:
            masks[i, 3 * i : 3 * i + 9, i : i + 12] = 1
    labels = torch.arange(len(states)) % CLASSES
    return Target(labels, masks, None if None in states else torch.tensor(states))


def losses(targets):
    torch.manual_seed(1)
    return Mask2FormerLoss(num_points=64)(*outputs(), targets)


def test_open_states_give_the_losses_of_targets_sorted_out_before():
    open_ones = [target(1, 0, 1), target(0, 1)]
    before = [Target(t.labels[t.state == 1], t.masks[t.state == 1]) for t in open_ones]
    expected, found = losses(before), losses(open_ones)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    everything = losses([target(None, None, None), target(None, None)])
    assert abs(everything["loss_mask"] - expected["loss_mask"]) > 1e-3


def test_all_states_open_and_none_a_target():
    found = losses([target(0, 0), target(0)])
    assert found["loss_mask"] == 0 and found["loss_dice"] == 0 and found["loss_cls"] > 0


def test_a_class_out_of_range_is_named():
    with pytest.raises(DataError, match="num_classes"):
        losses([target(1, -1), target(1)])


def test_costs_of_all_outputs_are_those_of_each(monkeypatch):
    """By a loop over outputs and images, at the same points; in parts, and together as on an accelerator."""
    logits, embeddings, features = outputs()
    logits, embeddings = torch.stack(logits), torch.stack(embeddings)
    targets = [target(None, None, None), target(None)]
    for points in (64, 400):  # more and fewer than pixels: samples of logits and of features
        criterion = Mask2FormerLoss(num_points=points)
        torch.manual_seed(1)
        drawn = torch.rand(2, 2, points, 2)
        for elements in (1, 1 << 24):
            monkeypatch.setattr("vislab.models.mask2former.criterion._ELEMENTS", (elements, elements))
            torch.manual_seed(1)
            costs = criterion.costs(logits, embeddings, features, targets)
            assert costs.shape == (2, 2, QUERIES, 3)
            for output in range(2):
                for image, one in enumerate(targets):
                    grid = 2 * drawn[output, image][None, None] - 1
                    masks = embeddings[output, image] @ features[image].flatten(1)
                    x = F.grid_sample(masks.view(1, -1, SIDE, SIDE), grid, align_corners=False)[0, :, 0][:, None]
                    truth = F.grid_sample(one.masks[None].float(), grid, align_corners=False)[0, :, 0][None]
                    bce = F.binary_cross_entropy_with_logits(*torch.broadcast_tensors(x, truth), reduction="none")
                    p = x.sigmoid()
                    dice = 1 - (2 * (p * truth).sum(2) + 1) / (p.sum(2) + truth.sum(2) + 1)
                    expected = 5 * bce.mean(2) + 5 * dice - 2 * logits[output, image].softmax(1)[:, one.labels]
                    found = costs[output, image, :, : len(one.labels)]
                    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
