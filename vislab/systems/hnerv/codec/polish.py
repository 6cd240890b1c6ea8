"""Improve the embeddings of a finished segment against its rounded network, without a byte more."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from vislab.systems.hnerv.codec.content import Quantized, Segment, VideoInfo, dequantize
from vislab.systems.hnerv.codec.relaxed import SegmentCosts, straight_through
from vislab.systems.hnerv.codec.writer import coded_size


def polish(
    segment: Segment,
    frames: Tensor,
    *,
    epochs: int = 2,
    lr: float = 0.1,
    lam: float = 0.005,
    size: tuple[int, int] | None = None,
) -> Segment:
    """Return the segment with embeddings that give no frame a larger error and the file no more bytes.

    Symbols are trained with straight-through gradients on error + lam * bits per pixel. Frames with a smaller error get
    their new symbols, those that save bits first, as long as the file does not grow.

    Args:
        segment: The segment; its weights stay as they are.
        frames: Its frames, uint8 (T, 3, H, W), padded.
        epochs: Passes over the frames; each frame gets one step per pass.
        lr: Learning rate of Adam in steps of the embeddings.
        lam: Mean squared error that one bit per pixel may cost.
        size: (height, width) of the frames before padding. Default: that of the frames.
    """
    height, width = size or tuple(frames.shape[-2:])
    network = segment.spec.network()
    network.load_state_dict(dequantize(segment.weights))
    network.to(memory_format=torch.channels_last).requires_grad_(False)
    stored = segment.embeddings
    step = torch.from_numpy(stored.step.astype(np.float32))
    offset = torch.zeros(()) if stored.offset is None else torch.from_numpy(stored.offset.astype(np.float32))

    def errors(symbols: Tensor, numbers: slice) -> Tensor:
        values = (symbols[numbers] * step + offset).contiguous(memory_format=torch.channels_last)
        target = frames[numbers].float().div(255)
        difference = (network(values) - target)[..., :height, :width]
        return difference.square().flatten(1).mean(dim=1)  # (B,)

    symbols = nn.Parameter(torch.from_numpy(stored.symbols).float())
    costs = SegmentCosts(segment)
    weights = [torch.from_numpy(tensor.symbols).float() for tensor in segment.weights.values()]
    pixels = len(frames) * height * width
    optimizer = torch.optim.Adam([symbols], lr=lr)
    before = symbols.detach().clone()
    for _ in range(epochs):
        optimizer.zero_grad()
        (lam * costs.bits(weights, symbols) / pixels).backward()
        for number in range(len(frames)):
            error = errors(straight_through(symbols), slice(number, number + 1)).sum() / len(frames)
            error.backward()
        optimizer.step()
    with torch.no_grad():
        after = symbols.round()
        pairs = [(errors(before, slice(i, i + 1)), errors(after, slice(i, i + 1))) for i in range(len(frames))]
        better = torch.cat([new < old for old, new in pairs])  # (T,)
        change = torch.full((len(frames),), torch.inf)  # bits, if only this frame is replaced
        start = costs.bits(weights, before)
        for number in better.nonzero().flatten().tolist():
            one = before.clone()
            one[number] = after[number]
            change[number] = costs.bits(weights, one) - start
    return _take(segment, before, after, change, VideoInfo(size=(height, width)))


def _take(segment: Segment, before: Tensor, after: Tensor, change: Tensor, info: VideoInfo) -> Segment:
    """Return the segment with new symbols of as many frames, those with the least change of bits first, as fit."""
    allowed = coded_size(info, segment)
    order = change.argsort()
    total = change[order].cumsum(0)
    count = int((total <= 0).sum())
    while count > 0:
        symbols = before.clone()
        symbols[order[:count]] = after[order[:count]]
        embeddings = Quantized(symbols.int().numpy(), segment.embeddings.step, segment.embeddings.offset)
        trial = replace(segment, embeddings=embeddings)
        if coded_size(info, trial) <= allowed:
            return trial
        count = count * 3 // 4
    return segment
