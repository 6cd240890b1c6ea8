"""Test embeddings of a batch: padding, none at all, those of crops."""

import torch

from tests.helpers.mutdet import DIM, embedded
from vislab.models.deformable_detr.targets import collect
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.systems.mutdet.objects import collect_embeddings, embed_crops


def test_padding():
    samples = embedded(3, objects=(2, 0, 4))
    found = collect_embeddings(samples, DIM)
    assert found.shape == (3, 4, DIM)
    assert torch.equal(found[2], samples[2].gt_instances.embeddings)
    assert torch.equal(found[0, :2], samples[0].gt_instances.embeddings) and (found[0, 2:] == 0).all()
    assert (found[1] == 0).all() and collect_embeddings(samples[1:2], DIM).shape == (1, 0, DIM)


def test_crops_of_upright_boxes_are_the_pixels_inside():
    """A box of 32x64 pixels is enlarged to 64x64 as torch's interpolation does, and its features are averaged."""
    torch.manual_seed(0)
    encoder = TimmEncoder(name="resnet10t", out_indices=(2, 4), frozen_stages=-1).eval()
    images = torch.rand(3, 3, 96, 128)
    samples = embedded(3, objects=(2, 0, 1))
    samples[2].gt_instances.rbboxes[0] = torch.tensor([32.0 + 32, 48, 64, 32, 0])
    targets = collect(samples, images, num_classes=10, rotated=True, model="test")
    found = embed_crops(encoder, images, targets, 64)
    assert found.shape == (3, 2, encoder.channels[-1]) and not found.requires_grad
    assert not found[1].any() and not found[2, 1].any() and found[0].any(dim=1).all()
    fine = torch.nn.functional.interpolate(
        images[2:, :, 32:64, 32:96], (128, 128), mode="bilinear", align_corners=False
    )
    crop = torch.nn.functional.avg_pool2d(fine, 2)
    inside = torch.nn.functional.cosine_similarity(found[2, :1], encoder(crop)[-1].mean(dim=(2, 3)))
    assert inside > 0.99  # samples at the border of the box use pixels beside it


def test_no_crops():
    encoder = TimmEncoder(name="resnet10t", out_indices=(2, 4), frozen_stages=-1).eval()
    samples = embedded(2, objects=(0, 0))
    images = torch.rand(2, 3, 64, 64)
    targets = collect(samples, images, num_classes=10, rotated=True, model="test")
    assert embed_crops(encoder, images, targets, 32).shape == (2, 0, encoder.channels[-1])
