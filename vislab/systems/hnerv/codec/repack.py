"""Lower the rate of a .hnv file without the video: the same networks with larger steps."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from vislab.errors import ConfigError
from vislab.systems.hnerv.codec.content import Quantized, Segment
from vislab.systems.hnerv.codec.decoder import HnvDecoder
from vislab.systems.hnerv.codec.entropy import fit_model
from vislab.systems.hnerv.codec.layout import pack_header, pack_table
from vislab.systems.hnerv.codec.writer import code_segment, write_hnv

_LARGEST_FACTOR = 64.0
_SEARCH_STEPS = 12


@dataclass(frozen=True)
class Coarsening:
    """New steps of weights. Few distinct symbols change together, and the size jumps: `share` reaches sizes in between.

    Args:
        factor: Size of the new steps in old ones.
        finer: A slightly smaller factor, before a jump of the size.
        share: Part of each tensor that is rounded to steps of `finer`, and then takes those of `factor`.
    """

    factor: float
    finer: float = 1.0
    share: float = 0.0

    def of(self, tensor: Quantized) -> Quantized:
        """Return a tensor with larger steps, as far as float16 goes."""
        values, step = tensor.values(), tensor.step.astype(np.float32)
        largest = np.float32(1e4)
        found = Quantized.of(values, np.minimum(step * np.float32(self.factor), largest), tensor.offset)
        count = round(self.share * values.size)
        if count:
            other = Quantized.of(values, np.minimum(step * np.float32(self.finer), largest), tensor.offset)
            found.symbols.flat[:count] = other.symbols.flat[:count]
        return found


def coarsen(segment: Segment, coarsening: Coarsening) -> Segment:
    """Return a segment whose weights, without the biases, have larger steps."""
    weights = {
        name: coarsening.of(tensor) if tensor.symbols.ndim > 1 else tensor for name, tensor in segment.weights.items()
    }
    return replace(segment, weights=weights)


def read_segments(decoder: HnvDecoder) -> Iterator[Segment]:
    """Yield the segments of a file, each with weights of its own.

    Residual weights are added up and rounded to the steps of the segment that they are added to.
    """
    steps: dict[str, Quantized] = {}
    for number in range(len(decoder.file.entries)):
        head = decoder.file.head(number)
        parts = [decoder.file.embeddings(number, j) for j in range(len(head.sections))]
        embeddings = replace(parts[0], symbols=np.concatenate([part.symbols for part in parts]))
        if head.residual:
            values = {name: weight.numpy() for name, weight in decoder.weights(number).items()}
            weights = {name: Quantized.of(values[name], q.step, q.offset) for name, q in steps.items()}
        else:
            weights = steps = decoder.file.weights(number)
        yield Segment(head.spec, weights, embeddings, head.section, times=tuple(head.times))


def repack(path: str | os.PathLike, target: str | os.PathLike, *, bpp: float) -> float:
    """Write a file with at most `bpp` bits per pixel; returns the bits per pixel reached.

    All weights but the biases get steps larger by the smallest factor that suffices; see `Coarsening` for jumps.

    Args:
        path: Path of a .hnv file.
        target: Path of the new file.
        bpp: 8 * bytes of the file / (frames * height * width).

    Raises:
        ConfigError: The rate is not below that of the file, or cannot be reached in this way.
        DataError: The file is damaged.
        CheckpointError: The target cannot be written.
    """
    with HnvDecoder(path) as decoder:
        file = decoder.file
        file.verify()
        if not 0 < bpp < file.bits_per_pixel:
            raise ConfigError(
                f"bpp={bpp:g}; {path} has {file.bits_per_pixel:.5f} bits per pixel, and repack can only lower them"
            )
        wanted = bpp * file.frames * prod(file.info.size) / 8
        segments = _Sizes(decoder)
        low, high = 1.0, 2.0  # factors: too many bytes, few enough
        while segments.size(Coarsening(high)) > wanted:
            if high >= _LARGEST_FACTOR:
                least = 8 * segments.size(Coarsening(high)) / (file.frames * prod(file.info.size))
                raise ConfigError(
                    f"bpp={bpp:g} cannot be reached: with steps {high:g} times as large, {path} still has {least:.5f}. "
                    "Encode the video again at that rate."
                )
            low, high = high, high * 2
        for _ in range(_SEARCH_STEPS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if segments.size(Coarsening(middle)) > wanted else (low, middle)
        chosen, most = Coarsening(high), 1.0  # most: a share with too many bytes
        for _ in range(_SEARCH_STEPS):
            trial = Coarsening(high, low, (chosen.share + most) / 2)
            chosen, most = (chosen, trial.share) if segments.size(trial) > wanted else (trial, most)
        write_hnv(target, file.info, (coarsen(segment, chosen) for segment in read_segments(decoder)))
        return 8 * os.path.getsize(target) / (file.frames * prod(file.info.size))


class _Sizes:
    """Sizes in bytes of a file whose weights have larger steps; only the weights are coded again for each trial."""

    def __init__(self, decoder: HnvDecoder):
        self.info = decoder.file.info
        self.segments = list(read_segments(decoder))
        entries, time = [], decoder.file.head(0).times[0]
        for segment in self.segments:
            entries.append(code_segment(self.info, segment, start=time, first=not entries)[1])
        header = pack_header(self.info)
        whole = len(header) + sum(entry.length for entry in entries) + len(pack_table(entries, header))
        self.rest = whole - self._weights(Coarsening(1.0))

    def size(self, coarsening: Coarsening) -> float:
        """Return the size for new steps; the coder's last words and lengths differ by a few bytes at most."""
        return self.rest + self._weights(coarsening) + 8 * len(self.segments)

    def _weights(self, coarsening: Coarsening) -> float:
        total = 0.0
        for segment in self.segments:
            for tensor in segment.weights.values():
                if tensor.symbols.ndim > 1:
                    symbols = coarsening.of(tensor).symbols
                    model = fit_model(symbols, range(symbols.ndim))
                    total += len(model.pack()) + model.bits(symbols) / 8
        return total
