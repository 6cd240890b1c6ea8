"""HNeRV: a video stored as a small network and per-frame embeddings; training encodes it, inference decodes it.

    size.py    parameter counts, the decoder width for a target size, strides for a frame size
    model.py   encoder, decoder, HNeRV with modes loss | predict | tensor
    nerv.py    NeRV, the baseline that decodes frames by their number
    hooks.py   an image of original, reconstruction and error at the end of a run
    codec/     .hnv files
    video_file.py  the video of a trained network as a .hnv file at the end of a run

Related: datasets/video_frames.py reads the video, evaluation/video.py computes PSNR and MS-SSIM, losses/video.py has
L2Loss and Fusion6Loss, configs/hnerv the training configs.

Paper: Chen et al., "HNeRV: A Hybrid Neural Representation for
Videos", CVPR 2023, arXiv 2304.02633.
"""

from vislab.systems.hnerv.hooks import VideoReportHook
from vislab.systems.hnerv.model import HNeRV, HNeRVDecoder, HNeRVEncoder
from vislab.systems.hnerv.nerv import NeRV
from vislab.systems.hnerv.size import (
    PUBLISHED_WIDTHS,
    STRIDES,
    decoder_parameters,
    embedding_values,
    published_width,
    solve_width,
)
from vislab.systems.hnerv.video_file import VideoFileHook

__all__ = [
    "PUBLISHED_WIDTHS",
    "STRIDES",
    "HNeRV",
    "HNeRVDecoder",
    "HNeRVEncoder",
    "NeRV",
    "VideoFileHook",
    "VideoReportHook",
    "decoder_parameters",
    "embedding_values",
    "published_width",
    "solve_width",
]
