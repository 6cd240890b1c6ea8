"""Test the options and messages of the command line."""

import pytest

from tests.helpers.hnv import small_hnv
from vislab.errors import ConfigError
from vislab.systems.hnerv.codec.encode_video import LiveLine, encode
from vislab.systems.hnerv.codec.encoding import Status
from vislab.systems.hnerv.codec.source import open_source


def test_bits_per_pixel_become_bytes_and_the_line_states_them(tmp_path):
    source = small_hnv(tmp_path / "source.hnv", frames=6)
    statuses = []
    lines = encode(source, tmp_path / "a.hnv", bpp=8.0, epochs=3, strides=(3, 2), live=statuses.append)
    size = (tmp_path / "a.hnv").stat().st_size
    assert size <= 8.0 * 6 * 17 * 22 / 8 and len(statuses) == 3
    assert f"{size} bytes, {8 * size / (6 * 17 * 22):.5f} bits per pixel" in lines[0] and len(lines) == 1


@pytest.mark.parametrize(
    "target, options", [("a.mp4", {}), ("a.hnv", {"bpp": 0.0}), ("a.hnv", {"psnr": 99.0}), ("a.hnv", {"bpp": 1e-6})]
)
def test_impossible_requests_are_refused(tmp_path, target, options):
    with pytest.raises(ConfigError):
        encode(small_hnv(tmp_path / "source.hnv"), tmp_path / target, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["source.hnv"]


def test_without_a_terminal_there_are_few_lines(capsys):
    line = LiveLine()
    for epoch in (1, 2, 3, 9):
        line(Status(segment=1, segments=2, epoch=epoch, epochs=9, psnr=30.123, size=1234.5, seconds_left=90))
    error = capsys.readouterr().err
    assert error.count("\n") == 2 and "segment 1/2, epoch 9/9: 30.12 dB, about 1234 bytes, 1.5 minutes left" in error


def test_the_first_line_says_what_is_encoded(tmp_path, capsys):
    LiveLine().begin(open_source(small_hnv(tmp_path / "a.hnv", frames=6)))  # frames of (17, 22)
    assert capsys.readouterr().err.startswith("encoding 6 frames of 22x17 pixels")
