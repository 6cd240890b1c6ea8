"""Test lowering the rate of a file without its video."""

import numpy as np
import pytest

from tests.helpers.hnv import long_hnv, small_hnv
from vislab.errors import ConfigError
from vislab.systems.hnerv.codec import HnvDecoder, HnvFile
from vislab.systems.hnerv.codec.repack import read_segments, repack
from vislab.systems.hnerv.codec.writer import write_hnv


def frames_of(path):
    with HnvDecoder(path) as decoder:
        return np.stack(list(decoder.decode(range(len(decoder))))).astype(int)


@pytest.mark.parametrize("share", [0.97, 0.9, 0.75])
def test_the_rate_is_reached_from_below_and_the_video_stays_similar(tmp_path, share):
    path = small_hnv(tmp_path / "a.hnv", frames=20)
    with HnvFile(path) as file:
        wanted = share * file.bits_per_pixel
    reached = repack(path, tmp_path / "b.hnv", bpp=wanted)
    with HnvFile(tmp_path / "b.hnv") as file:
        assert file.bits_per_pixel == reached and 0.97 * wanted <= reached <= wanted
        file.verify()
    assert 0 < np.abs(frames_of(path) - frames_of(tmp_path / "b.hnv")).mean() < 12


def test_segments_with_residual_weights_stand_alone_afterwards(tmp_path):
    path = long_hnv(tmp_path / "a.hnv")
    with HnvDecoder(path) as decoder:
        write_hnv(tmp_path / "b.hnv", decoder.file.info, read_segments(decoder))
        assert not any(decoder.file.head(i).residual for i in (0, 2)) and decoder.file.head(1).residual
    with HnvFile(tmp_path / "b.hnv") as file:
        assert not any(file.head(i).residual for i in range(3)) and list(file.times()) == list(range(15))
    assert np.abs(frames_of(path) - frames_of(tmp_path / "b.hnv")).max() <= 1


@pytest.mark.parametrize("bpp", [0, 1e-3, 100])
def test_impossible_rates_are_refused(tmp_path, bpp):
    path = small_hnv(tmp_path / "a.hnv")
    with pytest.raises(ConfigError, match="bpp="):
        repack(path, tmp_path / "b.hnv", bpp=bpp)
    assert not (tmp_path / "b.hnv").exists()


def test_a_file_can_replace_itself(tmp_path):
    path = small_hnv(tmp_path / "a.hnv", frames=20)
    before = path.stat().st_size
    repack(path, path, bpp=0.9 * 8 * before / (20 * 17 * 22))
    assert path.stat().st_size <= 0.9 * before
