"""Test denoising queries: layout, noise, visibility, and images with fewer objects."""

import math

import pytest
import torch

from tests.helpers.deformable_detr import CLASSES, images, labeled, small
from vislab.errors import ConfigError
from vislab.models.deformable_detr.denoising import Denoising


def make(rotated=True, samples=None, **settings):
    torch.manual_seed(0)
    model = small("rotated")
    targets = model.targets(labeled(2) if samples is None else samples, images(2))
    return Denoising(dim=8, num_classes=CLASSES, **settings)(targets), targets


def test_groups_hold_positives_and_negatives_of_each_object():
    noised, targets = make(num_queries=9, label_noise=0.0, box_noise=0.4)
    assert noised.groups == 3 and noised.count == 18
    boxes = noised.reference.unflatten(1, (3, 2, 3))  # (B, groups, positive | negative, T, 5)
    truth = targets.boxes[1]  # three objects
    half = truth[:, 2:] / 2

    def shifts(part):  # largest shift of a side, in units of half the width or height
        low = (boxes[1, :, part, :, :2] - boxes[1, :, part, :, 2:4] / 2) - (truth[:, :2] - half)
        return (low.abs() / half).amax(-1)

    assert shifts(0).max() <= 0.4 + 1e-4 and shifts(1).min() >= 0.4 - 1e-4 and shifts(1).max() <= 0.8 + 1e-4


def test_angles_are_noisy_also_at_zero():
    samples = labeled(2)
    for sample in samples:
        sample.gt_instances.rbboxes[:, 4] = 0
    noised, _ = make(samples=samples, angle_noise=math.radians(5))
    theta = noised.reference[1, :, 4]
    assert theta.abs().min() > 0 and math.radians(2) < theta.abs().max() <= math.radians(5)


def test_groups_do_not_see_each_other_and_empty_slots_are_hidden():
    noised, _ = make(num_queries=6)
    visible = noised.visible
    assert not visible[:, :6, 6:].any() and visible.diagonal(dim1=1, dim2=2).all()
    assert visible[1, :6, :6].all() and visible[0, 0].tolist()[:6] == [True, True, False, True, True, False]
    assert noised.weight[0].tolist() == [1, 1, 0] * 4 and noised.weight[1].min() == 1
    published, _ = make(num_queries=6, mask_empty=False)
    assert published.visible[0, :6, :6].all() and published.weight.min() == 1


def test_empty_slots_do_not_change_the_losses_of_others():
    """The first image, with fewer objects, has the same losses beside an image with as many."""
    model = small("rotated", denoising={"num_queries": 1, "label_noise": 0.0, "box_noise": 0.0, "angle_noise": 0.0})
    model.eval()

    def loss(objects):
        samples = labeled(2, objects=objects)
        targets = model.targets(samples, images(2))
        levels, memory = model.encode(images(2), samples)
        noised = model.noise(targets)
        _, found = model.decode_both(model.first_queries(memory, levels), noised, memory, levels)
        return found[-1].logits[0].unflatten(0, (2, -1))[:, :2]

    torch.testing.assert_close(loss((2, 2)), loss((2, 5)), rtol=0, atol=1e-5)


def test_labels_are_replaced_with_the_given_probability():
    noised, targets = make(num_queries=3000, label_noise=0.5)
    embeddings = Denoising(dim=8, num_classes=CLASSES)
    del embeddings
    content = noised.content[1].unflatten(0, (-1, 3))  # (2 * groups, T, dim)
    changed = (content != content.mode(0).values).any(-1).float().mean()
    assert 0.33 < changed < 0.47  # half, of which one in five draws the same label


def test_no_object_and_no_group():
    model = small("rotated")
    assert model.noise(model.targets(labeled(2, objects=(0,)), images(2))) is None
    noised, _ = make(num_queries=1)
    assert noised.groups == 1


@pytest.mark.parametrize("settings", [{"angle_noise": 5.0}, {"label_noise": 2.0}, {"box_noise": -1.0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError):
        Denoising(dim=8, num_classes=3, **settings)
