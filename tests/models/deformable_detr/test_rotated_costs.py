"""Test costs and losses of rotated boxes that see the angle: perfect predictions, agreement, a training step."""

import pytest
import torch

from tests.helpers.deformable_detr import images, labeled, small
from vislab.errors import ConfigError
from vislab.losses.rotated import bounded, corner_distance, kld
from vislab.models.deformable_detr import CornerCost, CornerLoss, GaussianCost, GaussianLoss
from vislab.models.deformable_detr.angles import decode_angles, encode_angles
from vislab.models.deformable_detr.costs import AngleLoss, ClassCost, Outputs, Pairs
from vislab.models.deformable_detr.targets import collect

COSTS = (GaussianCost(), GaussianCost(distance="gwd"), CornerCost(), CornerCost(reduction="max"))


def perfect():
    """Targets of two images that are not square, and two layers of outputs with the same boxes and bins."""
    samples = labeled(2, objects=(3, 4))
    targets = collect(samples, images(2), num_classes=5, rotated=True, model="a model")
    bins = encode_angles(targets.theta)
    logits = torch.nn.functional.one_hot(bins, 180).float().expand(2, -1, -1, -1)
    theta = decode_angles(logits[0])
    targets = targets.__class__(*(getattr(targets, k) if k != "theta" else theta for k in targets.__dataclass_fields__))
    return Outputs(torch.zeros(2, 2, 4, 5), targets.boxes.expand(2, -1, -1, -1).clone(), logits), targets


@pytest.mark.parametrize("cost", COSTS)
def test_perfect_predictions_cost_nothing_and_others_do(cost):
    outputs, targets = perfect()
    value = cost(outputs, targets)
    assert value.shape == (2, 2, 4, 4) and value.isfinite().all()
    assert value[:, 1].diagonal(dim1=1, dim2=2).max() < 1e-2 < value[:, 1, 0, 1:].min()
    assert torch.equal(value[:, 1].argmin(2), torch.arange(4).expand(2, 4))


def test_costs_equal_the_distances_in_pixels():
    outputs, targets = perfect()
    scale = torch.tensor([96.0, 64, 96, 64])
    boxes = torch.cat((targets.boxes * scale, targets.theta[..., None]), -1)[1]
    found = GaussianCost(weight=3.0)(outputs, targets)[0, 1]
    torch.testing.assert_close(found, 3 * bounded(kld(boxes[:, None], boxes)), atol=1e-4, rtol=1e-4)
    found = CornerCost(reduction="max", weight=1.0)(outputs, targets)[0, 1, 2, 3]
    expected = corner_distance(boxes[2], boxes[3], reduction="max", scale=torch.tensor([96.0, 64]))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("losses", [(GaussianLoss, {}), (GaussianLoss, {"distance": "gwd"}), (CornerLoss, {})])
def test_losses_equal_costs_and_train(losses):
    kind, arguments = losses
    cost = (GaussianCost if kind is GaussianLoss else CornerCost)(**arguments)
    outputs, targets = perfect()
    outputs.boxes[:] = outputs.boxes * 0.8 + 0.1
    rows = torch.arange(4)
    pairs = Pairs(
        outputs.boxes[0, 1],
        targets.boxes[1].flip(0),
        targets.sizes[1].expand(4, 2),
        outputs.angle_logits[0, 1],
        targets.theta[1].flip(0),
    )
    found = kind(**arguments)(pairs)
    torch.testing.assert_close(found, cost(outputs, targets)[0, 1, rows, rows.flip(0)])
    changes = {"costs": [ClassCost(), cost], "losses": [kind(**arguments), AngleLoss()]}
    model = small("rotated", loss=changes)
    values = model(images(2), labeled(2), mode="loss")
    assert {kind.name, f"d0.{kind.name}", f"enc.{kind.name}", f"dn.{kind.name}"} <= set(values)
    sum(values.values()).backward()
    assert model.decoder.heads[1].boxes.layers[2].weight.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_upright_models_and_unknown_choices_are_refused():
    outputs, targets = perfect()
    upright = Outputs(outputs.logits, outputs.boxes, None)
    for cost in (GaussianCost(), CornerCost()):
        with pytest.raises(ConfigError, match="rotated=True"):
            cost(upright, targets)
    for loss in (GaussianLoss(), CornerLoss()):
        with pytest.raises(ConfigError, match="rotated=True"):
            loss(Pairs(outputs.boxes[0, 1], outputs.boxes[0, 1], torch.ones(4, 2)))
    for kind in (GaussianCost, GaussianLoss):
        with pytest.raises(ConfigError, match="distance='iou' is not one of kld, gwd"):
            kind(distance="iou")
    for kind in (CornerCost, CornerLoss):
        with pytest.raises(ConfigError, match="reduction='sum'"):
            kind(reduction="sum")


@pytest.mark.parametrize(
    "loss", [GaussianLoss(), GaussianLoss(distance="gwd"), CornerLoss(), CornerLoss(reduction="max")]
)
@pytest.mark.parametrize(("start", "end"), [(45.5, 60.5), (80.5, -85.5)])  # the second pair crosses 90 degrees
def test_losses_alone_turn_the_angle(loss, start, end):
    """From a peak of the angle logits about 15 degrees away, gradient steps on the loss alone reach the object."""
    boxes, sizes = torch.tensor([[0.5, 0.5, 0.6, 0.3]]), torch.tensor([[96.0, 96]])
    bins = torch.arange(180) + 0.5 - 90
    turn = (bins - start + 90).remainder(180) - 90
    logits = (-((turn / 20) ** 2))[None].requires_grad_()
    theta = torch.deg2rad(torch.tensor([end]))
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(Pairs(boxes, boxes, sizes, logits, theta, torch.zeros(1, 180), torch.ones(1))).sum().backward()
        optimizer.step()
    found = torch.rad2deg(decode_angles(logits.detach()))[0] - end
    assert abs((found + 90).remainder(180) - 90) <= 3
