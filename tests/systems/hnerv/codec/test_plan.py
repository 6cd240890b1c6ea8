"""Test choices before encoding."""

from math import prod

import pytest

from vislab.errors import ConfigError
from vislab.systems.hnerv import STRIDES, HNeRV
from vislab.systems.hnerv.codec.plan import BITS_PER_WEIGHT, Target, choose_network, choose_strides, split


@pytest.mark.parametrize("frame_size", STRIDES)
def test_strides_are_the_published_ones_where_there_are_any(frame_size):
    assert choose_strides(frame_size) == STRIDES[frame_size]


@pytest.mark.parametrize(
    "frame_size", [(720, 1280), (1080, 1920), (144, 176), (17, 23), (1, 1), (33, 900), (2160, 3840)]
)
def test_other_sizes_get_few_embedding_values_and_little_padding(frame_size):
    scale = prod(choose_strides(frame_size))
    rows, columns = (-(-side // scale) for side in frame_size)
    assert rows * columns <= 40
    assert min(frame_size) < 40 or rows * columns * scale**2 <= 1.35 * prod(frame_size)


def test_networks_for_a_target_have_weights_of_a_few_bits():
    arguments = choose_network(frame_size=(160, 320), frames=132, strides=None, target_bits=8 * 100_000)
    network = HNeRV(**arguments)
    assert 0.95 * 800_000 / BITS_PER_WEIGHT <= network.decoder_parameters <= 800_000 / BITS_PER_WEIGHT


def test_layers_of_large_frames_stay_within_the_format():
    width = choose_network(frame_size=(2160, 3840), frames=600)["decoder_width"]
    assert 50 < width < choose_network(frame_size=(1080, 1920), frames=600)["decoder_width"]
    with pytest.raises(ConfigError, match="too large for strides"):
        choose_network(frame_size=(1 << 12, 1 << 13), frames=1, strides=(16, 16))


def test_small_targets_get_narrow_networks_and_impossible_ones_are_refused():
    shape = {"frame_size": (40, 60), "frames": 10, "strides": (5, 2)}
    arguments = choose_network(**shape, target_bits=8 * 1500)
    assert arguments["min_width"] < 12
    with pytest.raises(ConfigError, match="the smallest network has"):
        choose_network(**shape, target_bits=800)
    assert choose_network(**shape, target_bits=None)["decoder_width"] >= 1


def test_a_higher_quality_gets_a_larger_network():
    shape = {"frame_size": (160, 320), "frames": 132}
    sizes = [HNeRV(**choose_network(**shape, psnr=psnr)).decoder_parameters for psnr in (30, 32.5)]
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.1)


def test_segments_are_about_equally_long_and_cover_the_video():
    assert split(10, 600) == [range(0, 10)]
    parts = split(1000, 300)
    assert len(parts) == 4 and {len(part) for part in parts} == {250}
    assert [n for part in split(7, 3) for n in part] == list(range(7)) and max(map(len, split(7, 3))) <= 3


@pytest.mark.parametrize("target", [{"bytes": 5000, "psnr": 30.0}, {"bytes": 10}, {"psnr": 5.0}])
def test_impossible_targets_are_refused(target):
    with pytest.raises(ConfigError):
        Target(**target)
