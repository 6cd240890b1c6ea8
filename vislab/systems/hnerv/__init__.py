"""HNeRV: a video stored as a small network plus per-frame embeddings; training encodes it, running it decodes it.

    size.py    parameter counts, the decoder width for a target size, strides for a frame size
    model.py   encoder, decoder, HNeRV with modes loss | predict | tensor
    hooks.py   the pictures at the end of a run: curve, and original / reconstruction / error

Around it: datasets/video_frames.py reads the clip, evaluation/video.py measures PSNR and MS-SSIM, losses/ contains
L2Loss and Fusion6Loss, configs/hnerv the recipes. Paper: Chen et al., "HNeRV: A Hybrid Neural Representation for
Videos", CVPR 2023, arXiv 2304.02633.
"""

from vislab.systems.hnerv.hooks import VideoReportHook
from vislab.systems.hnerv.model import HNeRV, HNeRVDecoder, HNeRVEncoder
from vislab.systems.hnerv.size import (
    PUBLISHED_WIDTHS,
    STRIDES,
    decoder_parameters,
    embedding_values,
    published_width,
    solve_width,
)

__all__ = [
    "PUBLISHED_WIDTHS",
    "STRIDES",
    "HNeRV",
    "HNeRVDecoder",
    "HNeRVEncoder",
    "VideoReportHook",
    "decoder_parameters",
    "embedding_values",
    "published_width",
    "solve_width",
]
