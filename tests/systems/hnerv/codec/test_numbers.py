"""Test integers of variable length."""

import pytest

from vislab.errors import DataError
from vislab.systems.hnerv.codec.numbers import Reader, signed, varint


@pytest.mark.parametrize(
    "value, data", [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (1 << 62, "80" * 8 + "40")]
)
def test_known_bytes(value, data):
    """300 is the example in the documentation of protocol buffers, which use the same form."""
    assert varint(value).hex() == data
    reader = Reader(bytes.fromhex(data), "test")
    assert reader.varint() == value
    reader.end()


@pytest.mark.parametrize("value", [0, 1, -1, 63, -64, 64, 1000, -1000, 1 << 40, -(1 << 40)])
def test_signed_numbers_come_back(value):
    assert Reader(signed(value), "test").signed() == value


@pytest.mark.parametrize("data", ["", "80", "8000", "ff" * 10])
def test_incomplete_and_needlessly_long_numbers_are_refused(data):
    with pytest.raises(DataError, match="header"):
        Reader(bytes.fromhex(data), "header").varint()


def test_limits_and_leftovers_are_refused():
    with pytest.raises(DataError, match="at most 5"):
        Reader(varint(6), "header").varint(limit=5)
    with pytest.raises(DataError, match="2 bytes too many"):
        Reader(b"ab", "header").end()
    with pytest.raises(DataError, match="3 bytes are missing"):
        Reader(b"ab", "header").take(3)
    with pytest.raises(DataError, match="cannot be stored"):
        varint(-1)
