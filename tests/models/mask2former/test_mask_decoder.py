"""Mask2Former's decoder: torch's own attention in its place, and masks that say where queries look."""

import torch
from torch import nn
from torch.nn import functional as F

from vislab.models.mask2former.mask_decoder import DecoderLayer, MaskDecoder, _where_masked

SHAPES = ((2, 3), (4, 6), (8, 12))


def inputs(dim: int = 16, mask_dim: int = 8, count: int = 2):
    torch.manual_seed(0)
    levels = [torch.randn(count, h * w, dim) for h, w in SHAPES]
    positions = [torch.randn(h * w, dim) for h, w in SHAPES]
    return torch.randn(count, mask_dim, 16, 24), levels, positions, SHAPES


def torch_attention(ours: nn.Module, query, key, value, mask=None):
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    hidden = None if mask is None else ~mask.expand(-1, 4, -1, -1).flatten(0, 1)
    return theirs(query, key, value, attn_mask=hidden, need_weights=False)[0]


def layer_by_torch(layer: DecoderLayer, queries, place, memory, keys, mask):
    queries = layer.norm1(queries + torch_attention(layer.cross_attn, queries + place, keys, memory, mask))
    placed = queries + place
    queries = layer.norm2(queries + torch_attention(layer.self_attn, placed, placed, queries))
    return layer.norm3(queries + layer.linear2(layer.linear1(queries).relu()))


@torch.no_grad()
def test_layers_go_around_the_levels_and_predict_before_and_after_each():
    features, levels, positions, shapes = inputs()
    decoder = MaskDecoder(num_classes=3, num_queries=5, dim=16, mask_dim=8, num_layers=4, num_heads=4, ffn_dim=20)
    classes, embeddings = decoder(features, levels, positions, shapes)
    assert [tuple(c.shape) for c in classes] == [(2, 5, 4)] * 5 and [tuple(e.shape) for e in embeddings] == [
        (2, 5, 8)
    ] * 5
    queries, place = decoder.query_feat.weight.expand(2, 5, 16), decoder.query_embed.weight
    for i in range(5):
        normed = decoder.norm(queries)
        torch.testing.assert_close(classes[i], decoder.class_embed(normed), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(embeddings[i], decoder.mask_embed(normed), rtol=1e-4, atol=1e-4)
        if i == 4:
            break
        level = (0, 1, 2, 0)[i]  # coarse to fine, and again
        masks = torch.einsum("bqd,bdhw->bqhw", embeddings[i], features)
        seen = F.interpolate(masks, size=shapes[level], mode="bilinear").flatten(2).sigmoid() >= 0.5
        seen = torch.where(seen.any(2, keepdim=True), seen, True)[:, None]
        memory = levels[level] + decoder.level_embed.weight[level]
        queries = layer_by_torch(decoder.layers[i], queries, place, memory, memory + positions[level], seen)


def test_an_empty_mask_looks_everywhere():
    features = torch.tensor([[[1.0, -1.0, 0.0]]])  # one channel, three places
    masks = _where_masked(torch.tensor([[[2.0], [-2.0], [0.0]]]), features)
    assert masks.shape == (1, 1, 3, 3)
    assert masks[0, 0].tolist() == [[True, False, True], [False, True, True], [True, True, True]]
    nowhere = _where_masked(torch.tensor([[[1.0]]]), -torch.ones(1, 1, 4))
    assert nowhere.all()


def test_masks_are_no_path_for_gradients():
    """Only through the prediction itself do the map and the mask embedding learn from a later layer's class."""
    features, levels, positions, shapes = inputs()
    features.requires_grad_()
    decoder = MaskDecoder(num_classes=3, num_queries=5, dim=16, mask_dim=8, num_layers=3, num_heads=4, ffn_dim=20)
    classes, _ = decoder(features, levels, positions, shapes)
    classes[-1].sum().backward()
    assert features.grad is None and all(p.grad is None for p in decoder.mask_embed.parameters())
    assert decoder.query_feat.weight.grad.abs().sum() > 0
