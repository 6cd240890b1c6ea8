"""HNeRV: published sizes, shapes of every stage, exact width search, and the behaviors of all models."""

import pytest
import torch

from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError
from vislab.losses import Fusion6Loss
from vislab.registry import MODELS
from vislab.systems.hnerv import (
    PUBLISHED_WIDTHS,
    STRIDES,
    HNeRV,
    HNeRVDecoder,
    decoder_parameters,
    embedding_values,
    published_width,
    solve_width,
)
from vislab.systems.hnerv.size import embed_dim_for_share, stage_kernels, stage_widths


def count(module):
    return sum(p.numel() for p in module.parameters())


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


@pytest.mark.parametrize(("key", "width"), PUBLISHED_WIDTHS.items(), ids=str)
def test_the_published_rule_gives_the_published_widths(key, width):
    frame_size, target = key
    assert (
        published_width(target_size=target, num_frames=132, frame_size=frame_size, strides=STRIDES[frame_size]) == width
    )


@pytest.mark.parametrize(
    ("frame_size", "target", "width", "parameters"),
    [((640, 1280), 1.5e6, 67, 1422091), ((320, 640), 0.35e6, 34, 324185), ((640, 1280), 0.35e6, 32, 312830)],
)
def test_the_exact_search_spends_the_size_and_no_more(frame_size, target, width, parameters):
    strides = STRIDES[frame_size]
    model = HNeRV(strides=strides, target_size=target, num_frames=132, frame_size=frame_size)
    embeddings = embedding_values(num_frames=132, frame_size=frame_size, strides=strides)
    assert embeddings == 132 * 16 * 2 * 4
    assert model.decoder_width == width
    assert count(model.decoder) == model.decoder_parameters == parameters <= target - embeddings
    assert decoder_parameters(width=width + 1, strides=strides) > target - embeddings


def test_parameters_of_the_shipped_bunny_model():
    """1 488 276 weights and 16 896 embedding values stand in the authors' 1.5M checkpoint."""
    assert decoder_parameters(width=68, strides=(5, 4, 4, 2, 2)) == 1488276
    assert embedding_values(num_frames=132, frame_size=(640, 1280), strides=(5, 4, 4, 2, 2)) == 16896


@pytest.mark.parametrize("kernel", [(1, 5), (3, 3), (1, 7)])
@pytest.mark.parametrize("strides", [(5, 4), (3, 2, 2)])
def test_counting_equals_building(strides, kernel):
    shape = {"strides": strides, "embed_dim": 6, "reduction": 1.5, "min_width": 5, "kernel": kernel}
    for width in (5, 11, 20):
        assert count(HNeRVDecoder(width=width, **shape)) == decoder_parameters(width=width, **shape)


def test_widths_and_kernels_of_the_stages():
    assert stage_widths(68, 5, 1.2, 12) == [68, 57, 48, 40, 33, 28]
    assert stage_widths(14, 3, 2, 12) == [14, 12, 12, 12]
    assert stage_kernels(5, (1, 5)) == [1, 3, 5, 5, 5]


def test_share_of_the_size_spent_on_embeddings():
    assert embed_dim_for_share(0.1, 1.5e6, 132, (2, 4)) == 142
    assert embed_dim_for_share(0.001, 1e5, 600, (2, 4)) == 1


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


@pytest.mark.parametrize("frame_size", STRIDES)
def test_strides_leave_an_embedding_of_2_by_4(frame_size):
    per_frame = embedding_values(num_frames=1, frame_size=frame_size, strides=STRIDES[frame_size], embed_dim=1)
    assert per_frame == 8


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


@pytest.mark.parametrize("loss", [None, {"type": "Fusion6Loss"}, Fusion6Loss()], ids=["L2", "config", "module"])
def test_it_fits_a_moving_shape(loss):
    losses = train(60, loss=loss)
    assert losses[-1] < 0.3 * losses[0]


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
