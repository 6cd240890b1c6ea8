"""Test the first stage: anchors, tokens at the border, objectness and choice."""

import torch

from vislab.models.deformable_detr.neck import Neck
from vislab.models.deformable_detr.proposals import ProposalHead, choose


def levels_of(sizes=((64, 64),)):
    torch.manual_seed(0)
    neck = Neck(in_channels=(8, 8), dim=8, num_levels=2, norm_groups=2)
    maps = [torch.rand(len(sizes), 8, 8, 8), torch.rand(len(sizes), 8, 4, 4)]
    return neck(maps, list(sizes), (64, 64))


def test_boxes_start_at_the_anchors():
    levels, head = levels_of(), ProposalHead(dim=8, num_classes=3)
    found = head(head.candidates(levels.tokens, levels))
    torch.testing.assert_close(found.boxes[0, 0], torch.tensor([1 / 16, 1 / 16, 0.05, 0.05]))
    torch.testing.assert_close(found.boxes[0, 64], torch.tensor([1 / 8, 1 / 8, 0.1, 0.1]))
    assert found.logits.shape == (1, 80, 3)


def test_anchors_outside_are_the_whole_image_without_content():
    levels = levels_of(((64, 64), (32, 64)))
    head = ProposalHead(dim=8, num_classes=3, anchor_size=0.6)  # coarse anchors of 1.2
    found = head.candidates(levels.tokens, levels)
    boxes = head(found).boxes
    assert (boxes[:, 64:] == 1).all() and (boxes[1, :64][~levels.mask[1, :64]] == 1).all()
    assert found.tokens[0, 64:].unique(dim=0).shape[0] == 1 < found.tokens[0, :64].unique(dim=0).shape[0]


def test_choice_is_by_score_best_first():
    levels, head = levels_of(), ProposalHead(dim=8, num_classes=3, rotated=True)
    candidates = head.candidates(levels.tokens, levels)
    scores = head.objectness(candidates)
    torch.testing.assert_close(scores, head(candidates).logits[..., 0])
    chosen, rows = choose(candidates, scores, 5)
    assert rows.tolist() == scores.topk(5).indices.tolist()
    torch.testing.assert_close(head(chosen).references, head(candidates).references[:, rows[0]])
    assert choose(candidates, scores, 500)[1].shape == (1, 80)
