"""HNeRV codec: networks and embeddings as integers, entropy-coded into .hnv files (docs/hnv_format.md).

    spec.py       description of the decoder network, its limits and hash
    content.py    plain data of a file: quantized tensors, segments, facts about the video
    numbers.py    integers of variable length
    tables.py     frequency tables in integer arithmetic
    entropy.py    entropy models, their exact bits, and the range coder
    layout.py     headers of the file as bytes, with checksums
    writer.py     write_hnv, append_segments
    reader.py     HnvFile: every part checked before it is decoded
    decoder.py    HnvDecoder: any frame, in any order, in batches
    playback.py   frames with times for the rest of the package, export to videos and images, descriptions
    repack.py     lower the rate without the video
    convert.py    quantized videos of the paper's implementation
    source.py, plan.py, schedule.py, quality.py    before and after the training of a segment
    encoding.py, encode_video.py                   a whole video, and the command line
    relaxed.py    a network that is trained as it will be stored, and its bits
    task.py       a frozen network that shall see decoded frames like the originals
    training.py   a segment from frames to content, one epoch at a time
    polish.py     better embeddings of a finished segment, without a byte more
    published.py  the compression of the paper, as a baseline

Later files of this list use earlier ones.
"""

from vislab.systems.hnerv.codec.content import Quantized, Segment, VideoInfo, dequantize, from_network
from vislab.systems.hnerv.codec.decoder import HnvDecoder
from vislab.systems.hnerv.codec.polish import polish
from vislab.systems.hnerv.codec.reader import HnvFile
from vislab.systems.hnerv.codec.spec import DecoderSpec
from vislab.systems.hnerv.codec.training import SegmentTraining, TrainingSettings, compress
from vislab.systems.hnerv.codec.writer import append_segments, coded_size, write_hnv

__all__ = [
    "DecoderSpec",
    "HnvDecoder",
    "HnvFile",
    "Quantized",
    "Segment",
    "SegmentTraining",
    "TrainingSettings",
    "VideoInfo",
    "append_segments",
    "coded_size",
    "compress",
    "dequantize",
    "from_network",
    "polish",
    "write_hnv",
]
