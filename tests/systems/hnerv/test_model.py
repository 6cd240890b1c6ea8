"""Test HNeRV: shapes of each stage, training on a moving shape, and the common model tests."""

import pytest
import torch

from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError
from vislab.losses import Fusion6Loss
from vislab.registry import MODELS
from vislab.systems.hnerv import HNeRV, solve_width
from vislab.systems.hnerv.model import visible_pixels


def moving_square(frames=6, height=40, width=80):
    """(T, 3, H, W) in [0, 1]: a bright square moves over a gradient."""
    video = torch.linspace(0, 0.5, width).expand(frames, 3, height, width).clone()
    for t in range(frames):
        video[t, :, 10:22, 8 * t : 8 * t + 16] = torch.tensor([0.9, 0.7, 0.2]).view(3, 1, 1)
    return video


class TestHNeRV(ModelBehavior):
    def build(self):
        return HNeRV(strides=(5, 2, 2), embed_dim=8, encoder_width=12, decoder_width=16, min_width=4)

    def inputs(self, count):
        return moving_square()[:count]


def test_shapes_at_each_stage():
    model = HNeRV(strides=(5, 4, 4), decoder_width=33)
    shapes = []
    for stage in model.decoder.stages:
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    output = model(torch.rand(2, 3, 160, 320))
    assert output["embedding"].shape == (2, 16, 2, 4)
    assert shapes == [(2, 28, 10, 20), (2, 23, 40, 80), (2, 19, 160, 320)]
    assert output["image"].shape == (2, 3, 160, 320)
    assert model.stride == 80


def test_decode_of_encode_is_the_forward_pass_and_stays_in_range():
    model = TestHNeRV().make().eval()
    frames = moving_square()
    with torch.no_grad():
        output = model(frames)
        assert torch.equal(model.decode(model.encode(frames)), output["image"])
    assert output["image"].min() >= 0 and output["image"].max() <= 1


def test_channels_last_changes_memory_not_results():
    model = TestHNeRV().make().eval()
    weight = model.decoder.stages[1][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        output = model(moving_square())["image"]
        plain = TestHNeRV().make().eval().to(memory_format=torch.contiguous_format)
        x = plain.decoder(plain.encoder(moving_square()))
    assert torch.allclose(output, x, atol=1e-6)
    loaded = TestHNeRV().build()
    loaded.load_state_dict(plain.state_dict())
    assert loaded.decoder.stages[1][0].weight.is_contiguous(memory_format=torch.channels_last)


def test_decoding_without_gradients_gives_the_same_frames_and_keeps_the_embeddings():
    decoder = TestHNeRV().make().decoder
    embedding = torch.randn(2, 8, 8, 16)
    recorded = decoder(embedding)
    with torch.no_grad():
        kept = embedding.clone()
        assert torch.equal(decoder(embedding), recorded.detach())
    assert torch.equal(embedding, kept)


def test_hidden_boxes_are_seen_neither_by_the_encoder_nor_by_the_loss():
    torch.manual_seed(0)
    model = HNeRV(strides=(5, 2, 2), embed_dim=8, encoder_width=12, decoder_width=16, min_width=8, hidden_boxes=6)
    frames = torch.rand(2, 3, 40, 60)
    mask = visible_pixels(frames, 6)
    assert mask.shape == (40, 60) and (1 - mask).sum() == 5 * 36
    for y, x in ((20, 30), (10, 15), (10, 45), (30, 15), (30, 45)):
        assert not mask[y - 3 : y + 3, x - 3 : x + 3].any()
    other = torch.where(mask.bool(), frames, torch.rand(2, 3, 40, 60))
    with torch.no_grad():
        assert torch.equal(model.encode(frames), model.encode(other))
        assert torch.equal(model(frames, mode="loss")["loss"], model(other, mode="loss")["loss"])
    with pytest.raises(ConfigError, match="at most 10"):
        visible_pixels(frames, 11)
    with pytest.raises(ConfigError, match="hidden_boxes=0"):
        HNeRV(strides=(5, 2, 2), decoder_width=16, hidden_boxes=0)


def train(steps, seed=0, **settings):
    torch.manual_seed(seed)
    model = HNeRV(strides=(5, 2, 2), embed_dim=8, encoder_width=12, decoder_width=16, min_width=8, **settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = model(moving_square(), mode="loss")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("loss", [None, {"type": "Fusion6Loss"}], ids=["L2", "Fusion6"])
def test_it_fits_a_moving_shape(loss):
    losses = train(60, loss=loss)
    assert losses[-1] < 0.3 * losses[0]


def test_a_loss_is_a_module_or_its_config():
    assert train(2, loss={"type": "Fusion6Loss"}) == train(2, loss=Fusion6Loss()) != train(2)


def test_training_is_deterministic():
    assert train(5) == train(5) != train(5, seed=1)


def test_built_by_name_with_a_target():
    model = MODELS.build({"type": "HNeRV", "strides": (5, 4, 4), "target_size": 0.3e6})
    assert model.decoder_width == solve_width(decoder_size=0.3e6, strides=(5, 4, 4)) == 34


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one"),
        ({"decoder_width": 10, "target_size": 1e6}, "exactly one"),
        ({"target_size": 1e6, "num_frames": 10}, "set both"),
        ({"target_size": 1000}, "at least .* parameters, but 1000 are available"),
        ({"target_size": 1e6, "num_frames": 10, "frame_size": (150, 320)}, "150x320 .* multiples of 80, e.g. 80x320"),
    ],
)
def test_impossible_sizes_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        HNeRV(strides=(5, 4, 4), **settings)


def test_frames_that_the_strides_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="45x80 cannot be divided by the strides"):
        TestHNeRV().make()(torch.rand(1, 3, 45, 80))
