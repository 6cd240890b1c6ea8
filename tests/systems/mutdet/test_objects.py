"""Test embeddings of a batch: padding, none at all."""

import torch

from tests.helpers.mutdet import DIM, embedded
from vislab.systems.mutdet.objects import collect_embeddings


def test_padding():
    samples = embedded(3, objects=(2, 0, 4))
    found = collect_embeddings(samples, DIM)
    assert found.shape == (3, 4, DIM)
    assert torch.equal(found[2], samples[2].gt_instances.embeddings)
    assert torch.equal(found[0, :2], samples[0].gt_instances.embeddings) and (found[0, 2:] == 0).all()
    assert (found[1] == 0).all() and collect_embeddings(samples[1:2], DIM).shape == (1, 0, DIM)
