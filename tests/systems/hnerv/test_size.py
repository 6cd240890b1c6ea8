"""Test sizes of HNeRV: published values, and counts equal to built models."""

import pytest

from vislab.errors import ConfigError
from vislab.systems.hnerv import (
    PUBLISHED_WIDTHS,
    STRIDES,
    HNeRV,
    decoder_parameters,
    embedding_values,
    published_width,
)
from vislab.systems.hnerv.size import embed_dim_for_share, embedding_size, solve_width, stage_kernels, stage_widths


def count(module):
    return sum(p.numel() for p in module.parameters())


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
        model = HNeRV(decoder_width=width, encoder_width=4, **shape)
        assert count(model.decoder) == decoder_parameters(width=width, **shape)


def test_widths_and_kernels_of_the_stages():
    assert stage_widths(68, 5, 1.2, 12) == [68, 57, 48, 40, 33, 28]
    assert stage_widths(14, 3, 2, 12) == [14, 12, 12, 12]
    assert stage_kernels(5, (1, 5)) == [1, 3, 5, 5, 5]


def test_share_of_the_size_spent_on_embeddings():
    assert embed_dim_for_share(0.1, 1.5e6, 132, (2, 4)) == 142
    assert embed_dim_for_share(0.001, 1e5, 600, (2, 4)) == 1


@pytest.mark.parametrize("frame_size", STRIDES)
def test_strides_leave_an_embedding_of_2_by_4(frame_size):
    per_frame = embedding_values(num_frames=1, frame_size=frame_size, strides=STRIDES[frame_size], embed_dim=1)
    assert per_frame == 8


def test_the_search_equals_trying_all_widths():
    shape = {"strides": (5, 2), "embed_dim": 3, "reduction": 1.3, "min_width": 4, "kernel": (1, 3)}
    sizes = [decoder_parameters(width=width, **shape) for width in range(1, 60)]
    for budget in (*sizes[:20], sizes[3] - 1, sizes[40] + 1, 0.5 + sizes[25]):
        assert solve_width(decoder_size=budget, **shape) == max(w for w, n in enumerate(sizes, 1) if n <= budget) or (
            budget < sizes[0]
        )
    with pytest.raises(ConfigError, match=f"at least {sizes[0]} parameters, but {sizes[0] - 1} are available"):
        solve_width(decoder_size=sizes[0] - 1, **shape)


def test_frames_that_the_strides_do_not_divide():
    assert embedding_size((40, 80), (5, 2)) == (4, 8)
    with pytest.raises(ConfigError, match="45x80 .* multiples of 10, e.g. 40x80"):
        embedding_size((45, 80), (5, 2))
