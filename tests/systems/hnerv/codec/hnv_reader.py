"""A second reader of .hnv files, written from docs/hnv_format.md alone: numpy, constriction and torch, no vislab."""

import hashlib
import struct
import zlib

import constriction
import numpy as np
import torch
import torch.nn.functional as F


class Bytes:
    """Bytes with a position."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        assert 0 <= n <= len(self.data) - self.at
        self.at += n
        return self.data[self.at - n : self.at]

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return struct.unpack("<I", self.take(4))[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self):
        value = self.varint()
        return value // 2 if value % 2 == 0 else -(value // 2) - 1

    def numbers(self, shape):
        """Step or offset, and bit 1."""
        flags = self.u8()
        sizes = [n if flags >> (4 + a) & 1 else 1 for a, n in enumerate(shape)]
        kind = "<f4" if flags & 1 else "<f2"
        data = self.take(int(np.prod(sizes)) * np.dtype(kind).itemsize)
        return np.frombuffer(data, kind).astype(np.float32).reshape(sizes), flags & 2

    def coding(self, shape, models):
        step, more = self.numbers(shape)
        offset = self.numbers(shape)[0] if more else np.float32(0)
        return step, offset, [self.model(shape) for _ in range(models)]

    def model(self, shape):
        """(axis, first symbol, weights of each table)."""
        code, first, n = self.u8(), self.signed(), self.varint() + 1
        kind, axis = code >> 4, code & 15
        if kind == 0:
            return axis, first, [[1] * n]
        if kind == 1:
            return axis, first, [[number(c) for c in self.take(n)]]
        center = self.varint()
        far = range(1, n + 1)
        if kind == 2:
            zero, ratio, curve = struct.unpack("<3H", self.take(6))
            g, r = [zero << 24, 1 << 32], ratio << 16
            for _ in far:
                g.append(g[-1] * r >> 32)
                r = min(r * curve >> 15, 2**32 - 1)
            return axis, first, [[g[abs(i - center)] for i in range(n)]]
        tables = []
        for c in self.take(1 if axis == 15 else shape[axis]):
            s = max(2**16 - number(c), 1)
            g = [min(2**64 // (s * (2**16 + s)), 2**42), 2**31]
            for _ in far:
                g.append(g[-1] * s * s >> 32)
            tables.append([g[abs(i - center)] for i in range(n)])
        return axis, first, tables


def number(code):
    e, m = code >> 4, code & 15
    return m if e == 0 else (16 + m) << (e - 1)


def read_symbols(coder, shape, model):
    axis, first, tables = model
    out = np.full(shape, first, np.int32)
    for i, weights in enumerate(tables):
        n, total = len(weights), sum(weights)
        f = [1 + w * (2**20 - n) // total for w in weights]
        f[weights.index(max(weights))] += 2**20 - sum(f)
        part = out if axis == 15 else np.moveaxis(out, axis, 0)[i]
        if n > 1:
            table = constriction.stream.model.Categorical(np.array(f) / 2.0**20, perfect=False)
            part += coder.decode(table, part.size).reshape(part.shape)
    return out


def open_stream(data):
    return constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))


def read_part(data, part):
    length, crc, _ = part
    assert zlib.crc32(data.take(length)) == crc
    return data.data[data.at - length : data.at]


def check_symbols(part, *tensors):
    assert zlib.crc32(b"".join(t.astype("<i4").tobytes() for t in tensors)) == part[2]


def read_hnv(data):
    """Return height, width, times in seconds, and the (strides, kernels, weights, embeddings) of each segment."""
    r = Bytes(data)
    assert r.take(4) == b"HNV1" and r.u8() == 1
    body = Bytes(r.take(r.varint()))
    assert zlib.crc32(data[: r.at]) == r.u32() and r.at <= 300
    height, width, up, down, interval = (body.varint() for _ in range(5))
    header_end = r.at
    table_length, table_crc, end = struct.unpack("<2I4s", data[-12:])
    assert end == b"1VNH"
    table = data[len(data) - 12 - table_length : len(data) - 12]
    assert zlib.crc32(data[: header_end - 4] + table + data[-12:-8]) == table_crc
    entries = Bytes(table)
    segments, times, before = [], [], None
    for _ in range(entries.varint()):
        frames, length, head_length, head_crc = entries.varint(), entries.varint(), entries.varint(), entries.u32()
        segment = Bytes(r.take(length))
        assert zlib.crc32(segment.data[:head_length]) == head_crc
        flags, count, time = segment.u8(), segment.varint(), segment.signed()
        assert count == frames and flags < 8
        for i in range(frames):
            if i:
                time += interval + (segment.signed() if flags & 4 else 0)
            times.append(time * up / down)
        d, n = segment.varint(), segment.u8()
        strides = list(segment.take(n))
        widths = [segment.varint() for _ in range(n + 1)]
        kernels = list(segment.take(n))
        lists = (("embed_dim", [d]), ("strides", strides), ("widths", widths), ("kernels", kernels))
        text = "".join(f"{name} {' '.join(map(str, values))}\n" for name, values in lists)
        text = f"hnerv-decoder 1\n{text}activation gelu-erf\noutput tanh/2+1/2\n"
        assert hashlib.sha256(text.encode()).digest() == segment.take(32)
        per_section = segment.varint()
        scale = int(np.prod(strides))
        size = (d, -(-height // scale), -(-width // scale))
        step, offset, models = segment.coding((1, *size), 1 if min(frames, per_section) == 1 else 2)
        parts = [(segment.varint(), segment.u32(), segment.u32()) for _ in range(1 - -frames // per_section)]
        assert segment.at == head_length

        shapes = [(widths[0], d, 1, 1), (widths[0],)]
        for i, (s, k) in enumerate(zip(strides, kernels, strict=True)):
            shapes += [(widths[i + 1] * s * s, widths[i], k, k), (widths[i + 1] * s * s,)]
        shapes += [(3, widths[-1], 3, 3), (3,)]
        stream = Bytes(read_part(segment, parts[0]))
        codings = [stream.coding(shape, 1) for shape in shapes]
        coder = open_stream(stream.data[stream.at :])
        symbols = [read_symbols(coder, s, models_[0]) for s, (_, _, models_) in zip(shapes, codings, strict=True)]
        check_symbols(parts[0], *symbols)
        weights = [q.astype(np.float32) * s + o for q, (s, o, _) in zip(symbols, codings, strict=True)]
        before = weights = [a + b for a, b in zip(before, weights, strict=True)] if flags & 1 else weights

        embeddings = []
        for j, part in enumerate(parts[1:]):
            coder = open_stream(read_part(segment, part))
            q = read_symbols(coder, (1, *size), models[0])
            others = min(per_section, frames - j * per_section) - 1
            if others:
                q = np.concatenate([q, read_symbols(coder, (others, *size), models[1])])
            q = np.cumsum(q, axis=0, dtype=np.int32) if flags & 2 else q
            check_symbols(part, q)
            embeddings.append(q.astype(np.float32) * step + offset)
        assert segment.at == length
        segments.append((strides, kernels, weights, np.concatenate(embeddings)))
    assert r.at == len(data) - 12 - table_length
    return height, width, times, segments


def decode(data):
    """Yield the frames (height, width, 3), uint8."""
    height, width, _, segments = read_hnv(data)
    for strides, kernels, weights, embeddings in segments:
        w = [torch.from_numpy(array) for array in weights]
        for embedding in embeddings:
            x = F.gelu(F.conv2d(torch.from_numpy(embedding)[None], w[0], w[1]))
            for i, (s, k) in enumerate(zip(strides, kernels, strict=True)):
                x = F.gelu(F.pixel_shuffle(F.conv2d(x, w[2 * i + 2], w[2 * i + 3], padding=k // 2), s))
            x = torch.tanh(F.conv2d(x, w[-2], w[-1], padding=1)) / 2 + 0.5
            yield (x[0, :, :height, :width] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
