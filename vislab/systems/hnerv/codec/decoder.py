"""Decode frames of .hnv files, in any order, alone or in batches, as RGB uint8."""

import os
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from vislab.errors import DataError
from vislab.models.meta_device import meta_device
from vislab.systems.hnerv.codec.content import Quantized, dequantize
from vislab.systems.hnerv.codec.reader import HnvFile
from vislab.systems.hnerv.codec.winograd import use_winograd
from vislab.systems.hnerv.model import HNeRVDecoder

_BATCH_BYTES = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Memory of the largest activation of a batch by device. Small batches stay in the caches of CPUs, which is faster."""
_CACHED_SECTIONS = 4


class HnvDecoder:
    """Decoder of the frames of a .hnv file; a context manager.

    It keeps the network of one segment and the embeddings of a few sections, so that its memory does not depend on the
    length of the video.

    Args:
        path: Path of the file.
        device: Device of the network.

    Raises:
        DataError: See `HnvFile`.
    """

    def __init__(self, path: str | os.PathLike, *, device: str | torch.device = "cpu"):
        self.file = HnvFile(path)
        self.device = torch.device(device)
        self._network: tuple[int, HNeRVDecoder] | None = None
        self._weights: tuple[int, dict[str, torch.Tensor]] | None = None
        self._sections: dict[tuple[int, int], Quantized] = {}

    def __enter__(self) -> "HnvDecoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __len__(self) -> int:
        return self.file.frames

    def frame(self, index: int) -> np.ndarray:
        """Return a frame (H, W, 3) RGB uint8."""
        return next(self.decode([index]))

    def decode(self, indices: Iterable[int], *, batch_size: int | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) RGB uint8 in the order of `indices`.

        Args:
            indices: Frame numbers from 0.
            batch_size: Frames that go through the network together. Default: 16, or as many as fit a limit of
                memory.

        Raises:
            IndexError: There is no such frame.
            DataError: A part of the file is damaged.
        """
        for group in _same_segment(self.file.locate(index) for index in indices):
            network = self.network(group[0][0])
            size = batch_size or self._batch_size(group[0][0])
            for start in range(0, len(group), size):
                yield from self._decode_batch(network, group[start : start + size])

    def network(self, segment: int) -> HNeRVDecoder:
        """Return the network of a segment on the device, on CPUs with Winograd's form of its 5x5 convolutions.

        Raises:
            DataError: Its weights, or those of a segment that they are added to, are damaged.
        """
        if self._network is None or self._network[0] != segment:
            spec = self.file.head(segment).spec
            with meta_device():
                network = spec.network()
            weights = {name: weight.to(self.device) for name, weight in self.weights(segment).items()}
            network.load_state_dict(weights, assign=True)
            network = network.requires_grad_(False).to(memory_format=torch.channels_last).eval()
            if self.device.type == "cpu":
                use_winograd(network.stages)
            self._network = segment, network
        return self._network[1]

    def weights(self, segment: int) -> dict[str, torch.Tensor]:
        """Return the weights of a segment by name, float32, with those of earlier segments added if they are residual.

        The result is the same, bit for bit, on every machine.

        Raises:
            DataError: Weights are damaged, or residuals belong to another network.
        """
        if self._weights is not None and self._weights[0] == segment:
            return self._weights[1]
        known = -1 if self._weights is None else self._weights[0]
        first = segment
        while first != known and self.file.head(first).residual:
            first -= 1
        weights = self._weights[1] if first == known else {}
        for number in range(first + (first == known), segment + 1):
            added = dequantize(self.file.weights(number))
            if self.file.head(number).residual:
                shapes = {name: weight.shape for name, weight in weights.items()}
                if shapes != {name: weight.shape for name, weight in added.items()}:
                    raise DataError(f"{self.file.path}: segment {number} has residual weights for another network")
                added = {name: weights[name] + weight for name, weight in added.items()}
            weights = added
        self._weights = segment, weights
        return weights

    def embeddings(self, places: Iterable[tuple[int, int]]) -> torch.Tensor:
        """Return the embeddings (B, d, h, w), float32, of frames given as (segment, number in the segment)."""
        rows = []
        for segment, number in places:
            section, row = divmod(number, self.file.head(segment).section)
            key = segment, section
            if key not in self._sections:
                while len(self._sections) >= _CACHED_SECTIONS:
                    del self._sections[next(iter(self._sections))]
                self._sections[key] = self.file.embeddings(segment, section)
            stored = self._sections[key]
            rows.append(Quantized(stored.symbols[row : row + 1], stored.step, stored.offset).values())
        return torch.from_numpy(np.concatenate(rows))

    @torch.inference_mode()
    def _decode_batch(self, network: HNeRVDecoder, places: Iterable[tuple[int, int]]) -> np.ndarray:
        embeddings = self.embeddings(places).to(self.device, memory_format=torch.channels_last)
        images = network(embeddings)  # (B, 3, h * S, w * S)
        height, width = self.file.info.size
        images = images[..., :height, :width]
        # NaN, from steps of an absurd size, has no defined pixel; values in [0, 1] have a finite sum
        if not bool(images.sum().isfinite()):
            raise DataError(f"{self.file.path}: its network gives NaN; the weights are not those of a video")
        return to_pixels(images)

    def _batch_size(self, segment: int) -> int:
        head = self.file.head(segment)
        most = _BATCH_BYTES.get(self.device.type, _BATCH_BYTES["cuda"])
        return max(1, min(16, most // (4 * head.spec.largest_output(head.embedding))))


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Return images (B, 3, H, W) in [0, 1] as pixels (B, H, W, 3) uint8; halves are rounded to even."""
    return (images * 255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _same_segment(places: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield runs of up to 256 places of one segment."""
    run: list[tuple[int, int]] = []
    for place in places:
        if run and (place[0] != run[0][0] or len(run) == 256):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
