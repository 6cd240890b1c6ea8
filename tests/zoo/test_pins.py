"""Test that the checksum of a first download is kept, compared, and not computed again for the same file."""

import pytest

from vislab.errors import DataError
from vislab.zoo.pins import check_pin, read_pins


def test_another_file_is_refused(tmp_path):
    pins, first = tmp_path / "pins.json", tmp_path / "a/weights.pth"
    first.parent.mkdir()
    first.write_bytes(b"one")
    found = check_pin("http://x/weights.pth", first, pins)
    assert check_pin("http://x/weights.pth", first, pins) == found
    assert check_pin("http://x/other.pth", first, pins) == found
    assert read_pins(pins).keys() == {"http://x/weights.pth", "http://x/other.pth"}
    second = tmp_path / "weights.pth"
    second.write_bytes(b"one")
    assert check_pin("http://x/weights.pth", second, pins) == found
    third = tmp_path / "third.pth"
    third.write_bytes(b"two")
    with pytest.raises(DataError, match=r"is another file than at the first download: .*remove this entry there"):
        check_pin("http://x/weights.pth", third, pins)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"sha256": "b"}}'])
def test_a_damaged_file(tmp_path, text):
    (tmp_path / "pins.json").write_text(text)
    with pytest.raises(DataError, match="damaged. Remove it"):
        read_pins(tmp_path / "pins.json")
