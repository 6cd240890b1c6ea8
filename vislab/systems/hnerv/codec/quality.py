"""Quality of decoded frames, and segments lowered to a quality."""

from collections.abc import Iterable

import numpy as np
import torch

from vislab.models.meta_device import meta_device
from vislab.systems.hnerv.codec.content import Segment, dequantize
from vislab.systems.hnerv.codec.decoder import to_pixels
from vislab.systems.hnerv.codec.repack import Coarsening, coarsen

_SLACK = 0.05  # dB
_MOST_FRAMES = 64


def mean_psnr(decoded: Iterable[np.ndarray], originals: Iterable[np.ndarray]) -> float:
    """Return the mean over frames of the PSNR in dB of pixels (H, W, 3) uint8."""
    values = []
    for image, frame in zip(decoded, originals, strict=True):
        error = image.astype(np.float32) - frame
        values.append(10 * np.log10(255**2 / max(float(np.square(error).mean(dtype=np.float64)), 1e-4)))
    return float(np.mean(values))


def segment_psnr(segment: Segment, frames: np.ndarray, size: tuple[int, int]) -> float:
    """Return the mean PSNR in dB of up to 64 evenly chosen frames of a segment, against (T, 3, h, w) uint8, padded."""
    numbers = np.linspace(0, segment.frames - 1, min(segment.frames, _MOST_FRAMES)).round().astype(int)
    with meta_device():
        network = segment.spec.network()
    network.load_state_dict(dequantize(segment.weights), assign=True)
    network.requires_grad_(False).to(memory_format=torch.channels_last)
    embeddings = segment.embeddings.values()

    def decode() -> Iterable[np.ndarray]:
        for number in numbers:
            with torch.inference_mode():
                yield to_pixels(network(torch.from_numpy(embeddings[number : number + 1])))[0, : size[0], : size[1]]

    return mean_psnr(decode(), (frames[n][:, : size[0], : size[1]].transpose(1, 2, 0) for n in numbers))


def fit_quality(segment: Segment, frames: np.ndarray, size: tuple[int, int], psnr: float) -> Segment:
    """Return a segment with larger steps whose PSNR is not far above `psnr`, or the same if it is not above."""
    if segment_psnr(segment, frames, size) <= psnr + _SLACK:
        return segment
    low, high = 1.0, 64.0  # factors of the steps
    best = segment
    for _ in range(12):
        middle = (low * high) ** 0.5
        trial = coarsen(segment, Coarsening(middle))
        if segment_psnr(trial, frames, size) >= psnr:
            low, best = middle, trial
        else:
            high = middle
    return best
