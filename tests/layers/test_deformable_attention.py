"""Test deformable attention: sampling locations, the module against loops, autocast."""

import math

import pytest
import torch
from torch.nn import functional as F

from vislab.layers import deformable_attention
from vislab.layers.deformable_attention import DeformableEncoderLayer, MSDeformAttention, sampling_locations
from vislab.layers.position import pixel_centers
from vislab.structures.rotated_boxes import rboxes_to_corners

SHAPES = ((3, 4), (6, 8), (12, 16))
COUNT = sum(h * w for h, w in SHAPES)


def _attention(num_points: int = 4) -> MSDeformAttention:
    attention = MSDeformAttention(dim=16, num_heads=4, num_levels=3, num_points=num_points).double()
    torch.nn.init.normal_(attention.sampling_offsets.weight, std=0.3)
    torch.nn.init.normal_(attention.attention_weights.weight)
    return attention


def _read(image: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """(D, h, w) read bilinearly at x, y in 0..1, corner by corner; zero outside."""
    _, h, w = image.shape
    px, py = x * w - 0.5, y * h - 0.5
    total = torch.zeros_like(image[:, 0, 0])
    for row in (math.floor(py), math.floor(py) + 1):
        for column in (math.floor(px), math.floor(px) + 1):
            if 0 <= row < h and 0 <= column < w:
                total = total + image[:, row, column] * (1 - abs(px - column)) * (1 - abs(py - row))
    return total


def _loop(attention: MSDeformAttention, query, reference, value, position, mask):
    """The module, one point after the other; `reference` is (B, N, levels, K)."""
    heads, points = attention.num_heads, attention.num_points
    offsets = attention.sampling_offsets(query + position)
    weights = attention.attention_weights(query + position)
    maps = attention.value_proj(value) * mask[..., None]
    out = torch.zeros_like(query)
    for b in range(len(query)):
        levels = [
            x.T.reshape(-1, h, w) for x, (h, w) in zip(maps[b].split([h * w for h, w in SHAPES]), SHAPES, strict=True)
        ]
        for n in range(query.shape[1]):
            offset = offsets[b, n].view(heads, 3, points, 2)
            weight = weights[b, n].view(heads, -1).softmax(-1).view(heads, 3, points)
            for m in range(heads):
                channels = slice(m * 4, m * 4 + 4)
                for level, (h, w) in enumerate(SHAPES):
                    for p in range(points):
                        dx, dy = offset[m, level, p].tolist()
                        place = reference[b, n, level].tolist()
                        if len(place) == 2:
                            dx, dy = dx / w, dy / h
                        else:  # in pixels of the largest level, 12 x 16
                            dx, dy = dx / points * place[2] / 2 * 16, dy / points * place[3] / 2 * 12
                            theta = place[4] if len(place) == 5 else 0.0
                            cos, sin = math.cos(theta), math.sin(theta)
                            dx, dy = (dx * cos - dy * sin) / 16, (dx * sin + dy * cos) / 12
                        sample = _read(levels[level][channels], place[0] + dx, place[1] + dy)
                        out[b, n, channels] += weight[m, level, p] * sample
    return attention.output_proj(out)


def _quarter_turn(box: torch.Tensor) -> torch.Tensor:
    """(..., 5) boxes in an image of 12 x 16 turned clockwise with it; its width and height change places."""
    cx, cy, w, h, theta = box.unbind(-1)
    return torch.stack((1 - cy, cx, w * 16 / 12, h * 12 / 16, theta + math.pi / 2), dim=-1)


@pytest.mark.parametrize("kind", [2, 4, 5])
@pytest.mark.parametrize("form", ["(N, K)", "(B, N, K)", "(B, N, levels, K)"])
def test_module_equals_a_loop_over_points(kind, form):
    torch.manual_seed(kind)
    attention = _attention(num_points=2)
    query, value = torch.randn(2, 5, 16).double(), torch.randn(2, COUNT, 16).double()
    position = torch.randn(5, 16).double()
    shape = {"(N, K)": (5,), "(B, N, K)": (2, 5), "(B, N, levels, K)": (2, 5, 3)}[form]
    reference = torch.rand(*shape, kind).double()
    full = reference if reference.ndim == 4 else reference[..., None, :].expand(2, 5, 3, kind)
    mask = torch.rand(2, COUNT) > 0.2
    out = attention(query, reference, value, SHAPES, position=position, mask=mask)
    torch.testing.assert_close(out, _loop(attention, query, full, value, position, mask), rtol=0, atol=1e-12)


def test_points_are_offset_by_pixels_of_each_level():
    offsets = torch.zeros(1, 1, 1, 3, 1, 2)
    offsets[..., 0], offsets[..., 1] = 1.0, -2.0
    found = sampling_locations(torch.tensor([[0.5, 0.5]]), offsets, SHAPES)[0, 0, 0, :, 0]
    expected = torch.tensor([[0.5 + 1 / w, 0.5 - 2 / h] for h, w in SHAPES])
    torch.testing.assert_close(found, expected)


def test_the_last_point_of_the_initial_compass_lies_on_the_edge_of_the_box():
    attention = MSDeformAttention(dim=16, num_heads=4)
    offsets = attention.sampling_offsets.bias.detach().view(1, 1, 4, 3, 4, 2)
    found = sampling_locations(torch.tensor([[0.5, 0.4, 0.2, 0.6]]), offsets, SHAPES)[0, 0, :, 0, -1]
    expected = torch.tensor([[0.6, 0.4], [0.5, 0.7], [0.4, 0.4], [0.5, 0.1]])  # right, below, left, above
    torch.testing.assert_close(found, expected)


def test_rotated_boxes_at_angle_zero_are_boxes():
    torch.manual_seed(0)
    offsets, boxes = torch.randn(2, 5, 4, 3, 4, 2), torch.rand(2, 5, 4)
    rotated = torch.cat((boxes, torch.zeros(2, 5, 1)), dim=2)
    assert torch.equal(sampling_locations(rotated, offsets, SHAPES), sampling_locations(boxes, offsets, SHAPES))


def test_offsets_to_the_corners_of_a_rotated_box_reach_its_corners():
    """The angle is the one of structures.rotated_boxes, in pixels of an image that is not square."""
    height, width = 48, 64  # the levels have strides 16, 8 and 4
    box = torch.tensor([30.0, 20.0, 24.0, 10.0, 0.6])
    scale = torch.tensor([width, height, width, height, 1.0])
    corners = torch.tensor([(-4.0, -4.0), (4.0, -4.0), (4.0, 4.0), (-4.0, 4.0)])
    offsets = corners.expand(1, 1, 1, 3, 4, 2)
    found = sampling_locations((box / scale).expand(1, 1, 5), offsets, SHAPES)[0, 0, 0]  # (levels, 4, 2)
    torch.testing.assert_close(found * scale[:2], rboxes_to_corners(box).expand(3, 4, 2))


def test_turning_image_and_box_by_a_quarter_turn_turns_the_sampling_points():
    torch.manual_seed(0)
    offsets = torch.randn(1, 5, 4, 3, 4, 2).double()
    box = torch.rand(1, 5, 5).double()
    turned = _quarter_turn(box)
    before = sampling_locations(box, offsets, SHAPES)
    after = sampling_locations(turned, offsets, [(w, h) for h, w in SHAPES])
    torch.testing.assert_close(after, torch.stack((1 - before[..., 1], before[..., 0]), dim=-1))


def test_turning_maps_and_boxes_leaves_the_output():
    torch.manual_seed(1)
    attention = _attention()
    query, value = torch.randn(1, 5, 16).double(), torch.randn(1, COUNT, 16).double()
    box = torch.rand(1, 5, 5).double()
    turned = _quarter_turn(box)
    maps = value.split([h * w for h, w in SHAPES], dim=1)
    clockwise = [x.unflatten(1, s).rot90(-1, (1, 2)).flatten(1, 2) for x, s in zip(maps, SHAPES, strict=True)]
    after = attention(query, turned, torch.cat(clockwise, 1), [(w, h) for h, w in SHAPES])
    torch.testing.assert_close(after, attention(query, box, value, SHAPES))


def test_padding_is_read_as_zero():
    torch.manual_seed(0)
    attention, query = _attention(), torch.randn(1, 5, 16).double()
    reference, mask = torch.rand(5, 2).double(), torch.rand(1, COUNT) > 0.5
    value = torch.randn(1, COUNT, 16).double()
    other = torch.where(mask[..., None], value, 100.0)
    outputs = [attention(query, reference, x, SHAPES, mask=mask) for x in (value, other)]
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], attention(query, reference, value, SHAPES))


def test_a_reference_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"shape \(5, 3\); expected \(N, K\)"):
        _attention()(torch.randn(1, 5, 16).double(), torch.rand(5, 3), torch.randn(1, COUNT, 16).double(), SHAPES)


def test_encoder_layer_equals_its_formula_and_drops_in_training_only():
    torch.manual_seed(0)
    layer = DeformableEncoderLayer(dim=16, num_heads=4, num_levels=3, num_points=4, ffn_dim=32, dropout=0.5)
    tokens, position, centers = torch.randn(2, COUNT, 16), torch.randn(COUNT, 16), pixel_centers(SHAPES)
    layer.eval()
    seen = layer.self_attn(tokens + position, centers, tokens, SHAPES)
    middle = layer.norm1(tokens + seen)
    expected = layer.norm2(middle + layer.linear2(F.relu(layer.linear1(middle))))
    torch.testing.assert_close(layer(tokens, position, centers, SHAPES), expected)
    layer.train()
    assert not torch.equal(layer(tokens, position, centers, SHAPES), layer(tokens, position, centers, SHAPES))


@pytest.mark.parametrize("recomputed", [False, True])
def test_sampling_locations_are_float32_under_autocast(monkeypatch, recomputed):
    """bfloat16 offsets move points by up to a sixteenth of a pixel and more; tokens here are float32 in both runs."""
    torch.manual_seed(0)
    attention = MSDeformAttention(dim=32, num_heads=4)
    torch.nn.init.normal_(attention.sampling_offsets.weight, std=1.0)
    tokens, position = torch.randn(2, COUNT, 32), torch.randn(COUNT, 32)
    centers = pixel_centers(SHAPES)
    seen = []

    def core(value, shapes, locations, weights):
        seen.append(locations.detach())
        return original(value, shapes, locations, weights)

    original = deformable_attention.ms_deform_attn
    monkeypatch.setattr(deformable_attention, "ms_deform_attn", core)
    with torch.set_grad_enabled(recomputed):
        attention(tokens, centers, tokens, SHAPES, position=position)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            attention(tokens, centers, tokens, SHAPES, position=position)
    assert seen[1].dtype == torch.float32 and torch.equal(seen[0], seen[1])
