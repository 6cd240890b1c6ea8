"""Integers of variable length in bytes, and a reader that never reads past the end."""

from vislab.errors import DataError

_LONGEST = 9  # bytes, for 63 bits


def varint(value: int) -> bytes:
    """Return a non-negative integer below 2^63 in groups of 7 bits, low ones first; the last has its high bit clear."""
    if not 0 <= value < 1 << 63:
        raise DataError(f"{value} cannot be stored: expected 0 to 2^63 - 1")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """Return any integer as the varint of 2 value, or of -2 value - 1 if it is negative."""
    return varint(2 * value if value >= 0 else -2 * value - 1)


class Reader:
    """Read numbers from bytes.

    Args:
        data: The bytes.
        name: Name of the part for messages.
    """

    def __init__(self, data: bytes, name: str):
        self.data = data
        self.name = name
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            DataError: There are fewer.
        """
        if count > len(self.data) - self.position:
            raise DataError(f"the {self.name} ends early: {count} bytes are missing at {self.position}")
        self.position += count
        return self.data[self.position - count : self.position]

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def varint(self, limit: int = (1 << 63) - 1) -> int:
        """Return the next varint.

        Raises:
            DataError: It is above `limit`, longer than needed, or incomplete.
        """
        value = 0
        for i in range(_LONGEST):
            byte = self.byte()
            value |= (byte & 127) << 7 * i
            if byte < 128:
                if byte == 0 and i > 0:
                    raise DataError(f"the {self.name} contains a number with needless bytes at {self.position}")
                if value > limit:
                    raise DataError(f"the {self.name} contains {value} where at most {limit} is allowed")
                return value
        raise DataError(f"the {self.name} contains a number of more than {_LONGEST} bytes at {self.position}")

    def signed(self) -> int:
        """Return the next signed varint."""
        value = self.varint()
        return value >> 1 if value % 2 == 0 else -(value >> 1) - 1

    def end(self) -> None:
        """Raise DataError if bytes are left."""
        if self.position != len(self.data):
            raise DataError(f"the {self.name} has {len(self.data) - self.position} bytes too many")
