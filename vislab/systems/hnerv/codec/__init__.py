"""HNeRV codec: networks and embeddings as integers, entropy-coded into .hnv files (docs/hnv_format.md).

spec.py       description of the decoder network, its limits and hash
content.py    plain data of a file: quantized tensors, segments, facts about the video
numbers.py    integers of variable length
tables.py     frequency tables in integer arithmetic
entropy.py    entropy models, their exact bits, and the range coder
"""

from vislab.systems.hnerv.codec.content import Quantized, Segment, Timing, VideoInfo, dequantize, from_network
from vislab.systems.hnerv.codec.spec import DecoderSpec

__all__ = ["DecoderSpec", "Quantized", "Segment", "Timing", "VideoInfo", "dequantize", "from_network"]
