"""Test Swin for dense prediction: recomputed blocks, attention masks, no tensors kept after the forward pass."""

import copy
import gc
import random

import pytest
import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor

from vislab.layers.tables import Tables
from vislab.models.encoders import swin
from vislab.models.mask2former import Mask2Former

BACKBONE = {
    "name": "swin_tiny_patch4_window7_224", "out_norm": "layer", "drop_path_rate": 0.0,
    "model_args": {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (2, 2, 4, 4)},
}  # fmt: skip


def mask2former(**backbone) -> Mask2Former:
    torch.manual_seed(0)
    widths = {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 64}
    return Mask2Former(
        backbone=BACKBONE | backbone, num_classes=3, num_queries=4,
        pixel_decoder={**widths, "num_layers": 1}, decoder={**widths, "num_layers": 1},
    )  # fmt: skip


def test_blocks_recompute_what_is_cheap():
    """Gradients equal those of blocks that keep everything, also within timm's own checkpointing."""

    def gradients(grad_checkpointing=False, plain=False):
        with pytest.MonkeyPatch.context() as patch:
            if plain:
                patch.setattr(swin, "recompute", lambda function, *inputs, random=False: function(*inputs))
            # a copy, as EMA makes one: its blocks must be its own
            model = copy.deepcopy(mask2former(grad_checkpointing=grad_checkpointing).backbone).train()
            sum(y.square().sum() for y in model(x)).backward()
        return [p.grad for p in model.parameters()]

    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    expected = gradients(plain=True)
    for found in (gradients(), gradients(grad_checkpointing=True)):
        for a, b in zip(expected, found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_windows_of_a_shifted_map_see_their_own_region_alone():
    mask = swin._shift_mask(14, 21, (7, 7), (3, 3), torch.device("cpu"), torch.float32)  # 2 x 3 windows
    weights = (torch.randn(6, 49, 49) + mask).softmax(-1)
    assert (weights[mask == float("-inf")] == 0).all()  # not 1e-44, which would be slow
    torch.testing.assert_close(weights.sum(-1), torch.ones(6, 49))
    own = [int((row == 0).sum()) for row in mask[:, 0]]  # places that the first token of a window sees
    assert own == [49, 49, 4 * 7, 7 * 4, 7 * 4, 4 * 4]


@pytest.mark.parametrize("shift", [(3, 3), (0, 3), (3, 0), (1, 5)])
def test_the_mask_is_that_of_the_regions(shift):
    """As the paper has it: regions are numbered on the map, and only equal numbers see each other."""
    height, width = 14, 21
    regions = [
        (torch.arange(size) >= size - 7).long() + (torch.arange(size) >= size - step).long()
        for size, step in ((height, shift[0]), (width, shift[1]))
    ]
    region = (regions[0][:, None] * 3 + regions[1]).view(2, 7, 3, 7).transpose(1, 2).reshape(6, 49)
    mask = swin._shift_mask(height, width, (7, 7), shift, torch.device("cpu"), torch.float32)
    assert torch.equal(mask == 0, region[:, :, None] == region[:, None])


@torch.no_grad()
def test_a_model_runs_as_before_after_it_was_exported():
    model, x = mask2former().eval(), torch.rand(1, 3, 64, 96)
    torch.export.export(model, (x,))
    found = model(x)  # with traced tensors kept from the export, outputs would be such tensors too
    assert {type(value) for value in found.values()} == {Tensor}
    expected = mask2former().eval()(x)
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


@torch.inference_mode()
def test_memory_does_not_grow_with_the_number_of_image_sizes():
    model = mask2former().eval()
    for tables in tables_of(model):
        tables.limit = 1 << 13
    draw = random.Random(0)
    model(torch.rand(1, 3, 100, 100))
    before = held_bytes()
    for _ in range(100):
        model(torch.rand(1, 3, draw.randrange(32, 100), draw.randrange(32, 100)))
    assert held_bytes() - before < 1 << 16
    assert all(tables.size <= tables.limit for tables in tables_of(model))


def tables_of(model: torch.nn.Module) -> list[Tables]:
    found = [module.tables for module in model.modules() if hasattr(module, "tables")]
    return found + [block.forward.args[1] for block in model.modules() if isinstance(block, SwinTransformerBlock)]


def held_bytes() -> int:
    """Memory behind all tensors that are alive."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in (Tensor, torch.nn.Parameter) and thing.layout == torch.strided:
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
