"""Small .hnv files: segments of random networks with weights as after training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vislab.systems.hnerv.codec import DecoderSpec, Quantized, Segment, VideoInfo, from_network
from vislab.systems.hnerv.codec.writer import write_hnv

SMALL_SPEC = DecoderSpec(embed_dim=4, strides=(3, 2), widths=(8, 7, 6), kernels=(1, 3))
SMALL_INFO = VideoInfo((17, 22))  # padded to 18 x 24: embeddings of 3 x 4


def small_network(seed: int = 0, spec: DecoderSpec = SMALL_SPEC) -> torch.nn.Module:
    """Return a network whose frames have contrast."""
    torch.manual_seed(seed)
    network = spec.network()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2.5)
    return network


def small_segment(
    seed: int = 0,
    frames: int = 7,
    section: int = 3,
    spec: DecoderSpec = SMALL_SPEC,
    info: VideoInfo = SMALL_INFO,
    **bits: int,
) -> Segment:
    """Return a segment of the video with slowly changing embeddings."""
    network = small_network(seed, spec)
    size = spec.embedding_size(info.size)
    embeddings = torch.randn(1, spec.embed_dim, *size) + 0.2 * torch.randn(frames, spec.embed_dim, *size).cumsum(0)
    return from_network(network, embeddings, section=section, **bits)


def residual_of(segment: Segment, seed: int = 5, frames: int = 4) -> Segment:
    """Return a segment whose weights are small changes of those of `segment`."""
    rng = np.random.default_rng(seed)
    weights = {
        name: Quantized(rng.integers(-2, 3, tensor.symbols.shape).astype(np.int32), tensor.step)
        for name, tensor in segment.weights.items()
    }
    embeddings = small_segment(seed, frames, spec=segment.spec).embeddings
    return replace(segment, weights=weights, embeddings=embeddings, residual=True, times=None)


def small_hnv(path: Path, *, size: tuple[int, int] = SMALL_INFO.size, **options: int) -> Path:
    """Write a file with one segment of frames of `size`; returns its path."""
    info = VideoInfo(size)
    write_hnv(path, info, [small_segment(info=info, **options)])
    return path


def long_hnv(path: Path) -> Path:
    """Write a file with three segments, the second of which has residual weights; returns its path."""
    first = small_segment(0, frames=5)
    write_hnv(path, SMALL_INFO, [first, residual_of(first), small_segment(1, frames=6, section=2)])
    return path
