"""x264 and x265 for the benchmarks of video: frames to bytes and back, as BT.709 of limited range, with one thread."""

import io

CODECS = {"x264": ("libx264", "h264"), "x265": ("libx265", "hevc")}


def encode(frames, codec: str, *, crf: int, preset: str = "medium", pixels: str = "yuv420p", rate: int = 25) -> bytes:
    """Return frames (T, H, W, 3) RGB uint8 as an elementary stream."""
    import av

    encoder, container = CODECS[codec]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(encoder, rate=rate)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        stream.options = {"crf": str(crf), "preset": preset}
        if codec == "x265":
            stream.options |= {"x265-params": "pools=1:frame-threads=1:log-level=error"}
        stream.thread_count = 1
        stream.codec_context.colorspace = 1  # BT.709
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            out.mux(stream.encode(picture.reformat(format=pixels, dst_colorspace="ITU709", dst_color_range="MPEG")))
        out.mux(stream.encode())
    return buffer.getvalue()


def decode(data: bytes, codec: str):
    """Return the frames (T, H, W, 3) RGB uint8 of an elementary stream."""
    import av
    import numpy as np

    with av.open(io.BytesIO(data), format=CODECS[codec][1]) as file:
        file.streams.video[0].codec_context.thread_count = 1
        frames = [
            frame.reformat(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG").to_ndarray()
            for frame in file.decode(video=0)
        ]
    return np.stack(frames)
