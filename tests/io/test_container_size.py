"""Test the length declared by video containers, on generated files."""

import struct

import pytest

from vislab.io.container_size import missing_bytes


def test_the_length_of_large_containers(tmp_path):
    """Sizes that the small files above do not have: RIFF chunks one behind the other, 64-bit boxes, unknown sizes."""
    chunk = b"RIFF" + struct.pack("<I", 12) + b"AVI " + bytes(8)
    box = struct.pack(">I4sQ", 1, b"mdat", 40) + bytes(24)
    files = {"two.avi": chunk + chunk, "large.mp4": struct.pack(">I4s", 8, b"moof") + box}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert missing_bytes(tmp_path / name) == 0
        (tmp_path / name).write_bytes(data[:-5])
        assert missing_bytes(tmp_path / name) == 5
    (tmp_path / "never finished.avi").write_bytes(b"RIFF" + bytes(60))
    (tmp_path / "junk behind.mp4").write_bytes(box.replace(b"mdat", b"moof") + b"\x7f\xff\xff\xffjunk" + bytes(20))
    assert missing_bytes(tmp_path / "never finished.avi") == 0
    assert missing_bytes(tmp_path / "junk behind.mp4") == 0


def ebml(name: str, content: bytes, size: bytes | None = None) -> bytes:
    """An element of Matroska: its name, its length with a leading 1 for one byte, its content."""
    return bytes.fromhex(name) + (size if size is not None else bytes([0x80 | len(content)])) + content


def flv_tag(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + len(content).to_bytes(3, "big") + bytes(7) + content + (len(content) + 11).to_bytes(4, "big")


ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(14)
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # then size (8), file id (16), file size (8) ...
EBML_HEAD = ebml("1a45dfa3", b"head")
WHOLE = {
    "matroska": EBML_HEAD + ebml("18538067", bytes(20)),
    "matroska with a long size": EBML_HEAD + ebml("18538067", bytes(20), b"\x01" + (20).to_bytes(7, "big")),
    "live matroska": EBML_HEAD + ebml("18538067", ebml("1f43b675", ebml("a3", bytes(9)), b"\xff"), b"\xff"),
    "avi with an odd chunk": b"RIFF" + struct.pack("<I", 11) + b"AVI " + bytes(8),
    "mp4": struct.pack(">I4s", 12, b"ftyp") + b"isom" + struct.pack(">I4s", 20, b"mdat") + bytes(12),
    "flv": b"FLV\x01\x05\0\0\0\x09" + bytes(4) + flv_tag(9, bytes(30)) + flv_tag(8, bytes(5)),
    "asf": ASF + ASF_PROPERTIES + bytes(24) + struct.pack("<Q", 200) + bytes(200 - 30 - 16 - 32),
    "gif": b"GIF89a" + bytes(40) + b"\0;",
    "y4m": b"YUV4MPEG2 W5 H3 F25:1 C420jpeg\n" + (b"FRAME\n" + bytes(5 * 3 + 2 * 3 * 2)) * 2,
    "y4m 10 bits": b"YUV4MPEG2 W4 H2 C422p10\n" + b"FRAME\n" + bytes(2 * (8 + 2 * 4)),
    "y4m gray": b"YUV4MPEG2 W4 H2 Cmono\n" + b"FRAME\n" + bytes(8),
    "transport stream": (b"G" + bytes(187)) * 4,
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_cut_off_is_counted(tmp_path, name):
    """A container of the announced length lacks nothing; without its last bytes it lacks these (a GIF one at least)."""
    path, data = tmp_path / "v", WHOLE[name]
    path.write_bytes(data)
    assert missing_bytes(path) == 0
    for cut in (1, 3, 7):
        path.write_bytes(data[:-cut])
        assert missing_bytes(path) == (1 if name == "gif" else cut)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no video at all " * 50,
        ASF + ASF_PROPERTIES + bytes(24) + struct.pack("<Q", 999) + bytes(40) + b"\1" + bytes(60),  # a broadcast
        b"FLV\x01\x05\0\0\0\x09" + bytes(4) + flv_tag(9, bytes(30)) + b"\0rest that is no tag",
        b"YUV4MPEG2 W4 H2 C420alpha\nFRAME\n" + bytes(5),
        b"YUV4MPEG2 Wx H2\nFRAME\n" + bytes(5),
        struct.pack(">I4s", 0, b"mdat") + bytes(99),  # up to the end of the file
        b"GIF89a" + bytes(40) + b"\0;" + bytes(8),
    ],
)
def test_nothing_is_missing_where_no_length_is_known(tmp_path, data):
    (tmp_path / "v").write_bytes(data)
    assert missing_bytes(tmp_path / "v") == 0
