"""Test queries: shapes, gradients, and boxes in them."""

import torch

from vislab.models.deformable_detr.queries import BoxQueries, LearnedQueries


def test_learned_queries_have_a_reference_from_their_position():
    queries = LearnedQueries(dim=8, num_queries=4)(3)
    assert queries.content.shape == queries.position.shape == (3, 4, 8) and queries.reference.shape == (3, 4, 2)
    assert queries.reference.min() >= 0 and queries.reference.max() <= 1 and queries.reference.requires_grad


def test_queries_from_boxes():
    module = BoxQueries(dim=8, num_queries=4)
    boxes = torch.rand(2, 4, 4, requires_grad=True)
    queries = module(boxes)
    assert not queries.reference.requires_grad
    assert not torch.equal(queries.content[0, 0], queries.content[0, 1])
    learned = BoxQueries(dim=8, num_queries=4, learned_content=True)
    found = learned(torch.rand(2, 3, 5))
    assert found.position is None and torch.equal(found.content[1], learned.content.weight[:3])
