"""Test the decoder: refinement with one or two steps of gradient, positions from boxes, hidden queries."""

import pytest
import torch

from tests.helpers.deformable_detr import images, small
from vislab.errors import ConfigError
from vislab.layers.tables import Tables
from vislab.models.deformable_detr.decoder import DeformableDecoder, Queries, encode_boxes


def gradient_of_first_head(**decoder) -> bool:
    """Whether the boxes of the second layer have a gradient for the box head of the first layer."""
    model = small("two_stage", decoder={"num_layers": 2, "num_heads": 4, "ffn_dim": 48, "dropout": 0.0} | decoder)
    levels, memory = model.encode(images(1), None)
    found = model.decode(model.first_queries(memory, levels), memory, levels)
    found[1].boxes.sum().backward()
    gradient = model.decoder.heads[0].boxes.layers[0].weight.grad
    return gradient is not None and bool(gradient.abs().sum() > 0)


def test_look_forward_once_and_twice():
    assert not gradient_of_first_head()
    assert gradient_of_first_head(look_forward_twice=True)
    assert gradient_of_first_head(look_forward_twice=True, output_norm=True)


def test_boxes_are_refined_from_layer_to_layer():
    model = small("box_refine").eval()
    for head in model.decoder.heads:
        torch.nn.init.zeros_(head.boxes.layers[-1].weight)
        head.boxes.layers[-1].bias.data = torch.tensor([0.5, 0.0, 0.0, 0.0])
    layers = model(images(1))["layer_boxes"]
    torch.testing.assert_close(layers[1, ..., 0].logit() - layers[0, ..., 0].logit(), torch.full((1, 6), 0.5))
    torch.testing.assert_close(layers[1, ..., 1:], layers[0, ..., 1:])


def test_plain_layers_predict_from_the_first_reference():
    model = small("plain").eval()
    torch.nn.init.zeros_(model.decoder.heads[0].boxes.layers[-1].weight)
    layers = model(images(1))["layer_boxes"]
    torch.testing.assert_close(layers[1], layers[0])


def test_hidden_queries_change_nothing():
    model = small("rotated").eval()
    levels, memory = model.encode(images(1), None)
    queries = model.first_queries(memory, levels)
    alone = model.decode(queries, memory, levels)[-1]
    mask = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    mask[..., 2:, :2] = False
    more = Queries(
        torch.cat((torch.randn(1, 2, 32), queries.content), 1),
        torch.cat((torch.rand(1, 2, 5), queries.reference), 1),
        None,
        mask,
    )
    found = model.decode(more, memory, levels)[-1]
    torch.testing.assert_close(found.logits[:, 2:], alone.logits)
    torch.testing.assert_close(found.boxes[:, 2:], alone.boxes)


def test_box_encoding_by_its_formula():
    found = encode_boxes(torch.tensor([0.25, 0.5]), 4, Tables())
    expected = [1, 0, 0.0157, 0.9999, 0, -1, 0.0314, 0.9995]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("settings", [{"look_forward_twice": True}, {"rotated": True}, {"box_position": True}])
def test_settings_that_do_not_fit(settings):
    with pytest.raises(ConfigError):
        DeformableDecoder(dim=16, num_classes=2, box_refine=False, **settings)
