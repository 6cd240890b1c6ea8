"""Test the criterion: matching of all outputs, sums over pairs, denoising losses, messages."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss

from tests.helpers.deformable_detr import CLASSES, images, labeled, small
from vislab.errors import ConfigError, DataError, TrainingError
from vislab.models import matcher
from vislab.models.deformable_detr import L1Cost
from vislab.models.deformable_detr.criterion import DetectionLoss
from vislab.models.deformable_detr.heads import Detections
from vislab.models.deformable_detr.targets import collect


def targets_of(samples, rotated=False):
    return collect(samples, images(len(samples)), num_classes=CLASSES, rotated=rotated, model="a model")


def random_outputs(targets, queries=6, layers=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(targets.counts), queries)
    return [
        Detections(
            torch.zeros(*shape, 4),
            torch.randn(*shape, CLASSES, generator=generator, requires_grad=False),
            torch.rand(*shape, 4, generator=generator) * 0.4 + 0.2,
        )
        for _ in range(layers)
    ]


def test_losses_by_their_formulas():
    targets = targets_of(labeled(2))
    outputs = random_outputs(targets)
    criterion = DetectionLoss()
    (matched,) = criterion.match([outputs], targets)
    losses = criterion(outputs, targets)
    assert set(losses) == {p + n for p in ("", "d0.") for n in ("loss_cls", "loss_bbox", "loss_iou")}
    for prefix, output, pairs in zip(("d0.", ""), outputs, (matched[0], matched[1]), strict=True):
        images_, queries, objects = pairs.images, pairs.queries, pairs.objects
        wanted = torch.zeros_like(output.logits)
        wanted[images_, queries, targets.labels[images_, objects]] = 1
        focal = 2 * sigmoid_focal_loss(output.logits, wanted, 0.25, 2.0, "sum") / 5
        torch.testing.assert_close(losses[prefix + "loss_cls"], focal)
        l1 = 5 * (output.boxes[images_, queries] - targets.boxes[images_, objects]).abs().sum() / 5
        torch.testing.assert_close(losses[prefix + "loss_bbox"], l1)


def test_perfect_boxes_are_matched_to_their_objects():
    targets = targets_of(labeled(2, objects=(3,)))
    order = torch.tensor([2, 0, 1])
    output = Detections(torch.zeros(2, 3, 4), torch.zeros(2, 3, CLASSES), targets.boxes[:, order])
    criterion = DetectionLoss(costs=[L1Cost()])
    (pairs,) = criterion.match([[output]], targets)
    assert pairs.objects.tolist() == [order.tolist() * 2]
    losses = criterion([output], targets)
    assert losses["loss_bbox"] == 0 and losses["loss_iou"].abs() < 1e-6


def test_one_copy_to_the_host(monkeypatch):
    calls = []
    original = matcher.fetch
    monkeypatch.setattr("vislab.models.set_criterion.fetch", lambda x: (calls.append(len(x)), original(x))[1])
    model = small("rotated")
    model(images(2), labeled(2), mode="loss")
    assert calls == [2 + 1]  # costs of all layers, of the proposals, and the states


def test_proposals_learn_objectness_in_class_0():
    targets = targets_of(labeled(1))
    (output,) = random_outputs(targets, layers=1)
    criterion = DetectionLoss()
    output.logits.requires_grad_()
    losses = criterion([output], targets, proposals=output)
    losses["enc.loss_cls"].backward()
    assert (output.logits.grad[..., 0].sum(1) < 0).all() or output.logits.grad[..., 0].amin() < 0
    assert output.logits.grad[..., 1:].min() >= 0


def test_skipped_entries_are_not_matched():
    samples = labeled(2)
    samples[1].gt_instances.ignore = torch.tensor([True, False, True])
    targets = targets_of(samples)
    (pairs,) = DetectionLoss().match([random_outputs(targets, layers=1)], targets)
    pairs = pairs[0]
    assert sorted(zip(pairs.images.tolist(), pairs.objects.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1)]


def test_classes_out_of_range_and_nan():
    targets = targets_of(labeled(1))
    outputs = random_outputs(targets, layers=1)
    targets.state[0, 0] = -1
    with pytest.raises(DataError, match="num_classes"):
        DetectionLoss()(outputs, targets)
    targets.state[0, 0] = 1
    outputs[0].logits[0, 0] = torch.nan
    with pytest.raises(TrainingError, match="not finite"):
        DetectionLoss()(outputs, targets)


def test_denoising_losses_are_those_of_its_positives():
    """Slots that repeat their object exactly have no box loss; empty slots count for nothing."""
    model = small("rotated", denoising={"num_queries": 6, "label_noise": 0.0, "box_noise": 0.0, "angle_noise": 0.0})
    targets = model.targets(labeled(2), images(2))
    noised = model.noise(targets)
    logits = torch.full((2, noised.count, CLASSES), -9.0)
    slots = torch.arange(noised.count)
    positive = (slots // 3) % 2 == 0
    for image in range(2):
        for slot in slots[positive].tolist():
            logits[image, slot, targets.labels[image, slot % 3]] = 9.0
    zeros = torch.zeros(2, noised.count, 180)
    output = Detections(zeros, logits, noised.reference[..., :4], zeros)
    logits[0, 2] = 9.0  # an empty slot
    losses = model.criterion.denoising_losses([output], targets, noised, 5)
    assert losses["dn.loss_bbox"] < 1e-6 and losses["dn.loss_iou"].abs() < 1e-5
    assert losses["dn.loss_cls"] < 1e-4 and losses["dn.loss_angle"] > 0
    # the same number by a loop over the objects, each of which is in one group
    expected = 0
    for image, count in enumerate(targets.counts):
        for i in range(count):
            entropy = binary_cross_entropy_with_logits(zeros[0, 0], targets.angles[image, i])
            expected = expected + entropy * targets.elongation[image, i]
    torch.testing.assert_close(losses["dn.loss_angle"], 2 * expected / 5)


@pytest.mark.parametrize(
    "settings",
    [{"losses": [{"type": "AngleLoss"}]}, {"costs": [{"type": "AngleCost"}]}, {"losses": [], "rotated": True}],
)
def test_terms_of_angles_belong_to_rotated_boxes(settings):
    with pytest.raises(ConfigError, match="Angle"):
        DetectionLoss(**settings)
