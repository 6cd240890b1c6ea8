"""Test predict and the Predictor: all kinds of input, times and rotation of videos, invalid inputs."""

import json
import os
import struct
import threading
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer

import av
import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import LabelData
from PIL import Image

from vislab.apis import inference
from vislab.apis.inference import Predictor, collect, predict
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import LoadImage, PackInputs, Pad
from vislab.datasets.video_frames import VideoFrames
from vislab.errors import ConfigError, DataError
from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample

RED = np.zeros((24, 40, 3), np.uint8)
RED[:12, :20] = (220, 40, 40)  # in the top left quarter


class Redness(BaseModel):
    """Its label is the mean of the red channel; images 9 pixels wide it cannot take."""

    def forward(self, inputs, data_samples, mode="predict"):
        for image, sample in zip(inputs, data_samples, strict=True):
            assert image.shape[-1] != 9, "width 9"
            sample.pred_label = LabelData(label=torch.tensor([int(image[0].mean() * 255)]))
        return data_samples


def config(**dataset) -> Config:
    dataset = {"type": ImageFolder, "pipeline": [{"type": LoadImage, "min_size": 8}, {"type": PackInputs}], **dataset}
    model = {"type": Redness, "data_preprocessor": {"type": ImagePreprocessor}}
    return Config({"model": model, "test_dataloader": {"dataset": dataset}})


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(config(), device="cpu")


def redness(samples: list[DataSample]) -> list[int]:
    return [int(sample.pred_label.label) for sample in samples]


def test_a_pipeline_that_moves_the_image_is_refused():
    """Predictions would be stretched over the original image: a model takes them back by scaling alone."""
    moved = Predictor(
        config(pipeline=[{"type": LoadImage}, {"type": Pad, "size": 64}, {"type": PackInputs}]), device="cpu"
    )
    with pytest.raises(DataError, match=r"image 0 went through pad .* remove Pad"):
        moved([RED])


# --- the Python interface -------------------------------------------------------------------------------------------


def test_every_kind_of_input_gives_the_same(predictor, tmp_path):
    Image.fromarray(RED).save(tmp_path / "a.png")
    expected = redness(predictor([RED]))
    assert expected == [55]
    alpha = np.dstack([RED, np.full((24, 40), 9, np.uint8)])
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(RED).save(tmp_path / "turned.webp", lossless=True, exif=exif)
    with Image.open(tmp_path / "turned.webp") as turned:
        for source in (RED, alpha, RED[:, ::-1], Image.fromarray(RED), Image.fromarray(alpha), turned,
                       Image.fromarray(RED).quantize(4), str(tmp_path / "a.png"), tmp_path / "a.png"):  # fmt: skip
            for images in (source, [source], (source,), iter([source])):
                samples = predictor(images)
                assert len(samples) == 1 and redness(samples) == expected
        assert predictor(turned)[0].ori_shape == (40, 24)
    assert predictor(str(tmp_path / "a.png"))[0].img_path == str(tmp_path / "a.png")
    assert redness(predictor([RED, tmp_path / "a.png", Image.fromarray(RED)])) == expected * 3
    assert redness(predictor(np.stack([RED, RED]))) == expected * 2
    gray = np.full((24, 40), 77, np.uint8)
    assert redness(predictor([gray, gray[..., None], Image.fromarray(gray)])) == [77] * 3
    assert predictor([]) == [] and predictor(()) == [] and predictor(np.zeros((0, 24, 40, 3), np.uint8)) == []


def test_names_of_images(predictor):
    assert [s.img_path for s in predictor([RED, RED])] == ["image 0", "image 1"]
    assert [s.img_path for s in predictor(RED, "mine")] == ["mine"]
    with pytest.raises(DataError, match="got 1 paths for 2 images"):
        predictor([RED, RED], ["mine"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (RED.transpose(2, 0, 1), "transpose"),
        (RED.astype(np.float32) / 255, r"float32 .*\* 255"),
        (RED.astype(np.uint16), "uint16"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
        (np.zeros((5, 5, 2), np.uint8), "shape"),
        (np.zeros((1, 1, 5, 5, 3), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (torch.zeros(3, 24, 40), "permute"),
        (Image.new("F", (24, 24)), "mode F"),
        (None, "NoneType"),
        (7, "int"),
        (b"bytes", "bytes"),
        ({"img": RED}, "dict"),
        ([None], "NoneType"),
        ("gone.png", "cannot read gone.png"),
        ("", "folder|cannot read"),
        ("film.mp4", "is a video"),
        (os.getcwd(), "is a folder"),
        (RED[:7], "the minimum side is 8"),
    ],
)
def test_what_is_no_image_is_said(predictor, source, message):
    with pytest.raises(DataError, match=message):
        predictor(source)


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/a.png":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(cv2.imencode(".png", RED[..., ::-1])[1].tobytes())
        elif self.path == "/page.png":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


def test_addresses(predictor, tmp_path):
    server = HTTPServer(("127.0.0.1", 0), _Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        assert redness(predictor(f"{base}/a.png")) == [55]
        found = predict(config(), None, f"{base}/a.png", tmp_path / "out", device="cpu")
        assert list(found) == ["a"] and (tmp_path / "out" / "a.png").is_file()
        with pytest.raises(DataError, match=f"{base}/gone.png: .*Not Found"):
            predictor(f"{base}/gone.png")
        with pytest.raises(DataError, match="page.png is not an image"):
            predictor(f"{base}/page.png")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(DataError, match="cannot download"):
        predictor(f"{base}/a.png")
    with pytest.raises(DataError, match="cannot download"):
        predictor("http://[broken")
    assert collect([f"{base}/film.mp4"])[1][0].endswith("download it and pass the file")


# --- folders with inputs that do not work ---------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_rest_of_a_folder_is_done_and_what_was_left_out_is_said(tmp_path, batch_size):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("good1", "good2", "good3"):
        Image.fromarray(RED).save(folder / f"{name}.jpg")
    Image.fromarray(RED[:7]).save(folder / "small.png")
    Image.fromarray(RED[:, :9]).save(folder / "narrow.png")
    (folder / "text.jpg").write_text("no image")
    (folder / "zero.png").touch()
    (folder / "folder.jpg").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "._good1.jpg").write_text("left by macOS")
    with pytest.raises(DataError) as error:
        predict(config(), None, folder, tmp_path / "out", batch_size=batch_size, device="cpu")
    lines = str(error.value).splitlines()
    assert lines[0] == "3 of 8 inputs are done; the others:" and len(lines) == 6
    for name, reason in (
        ("small.png", "minimum side"),
        ("narrow.png", "AssertionError: width 9"),
        ("text.jpg", "not an image"),
        ("zero.png", "0 bytes"),
        ("loop.png", "symbolic links"),
    ):
        (line,) = (line for line in lines if name in line)
        assert reason in line
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert sorted(found) == ["good1", "good2", "good3"]
    assert sorted(os.listdir(tmp_path / "out")) == ["good1.png", "good2.png", "good3.png", "predictions.json"]


def test_inputs_are_not_overwritten(tmp_path):
    Image.fromarray(RED).save(tmp_path / "a.png")
    for source, out in ((tmp_path / "a.png", tmp_path), (tmp_path, tmp_path / "x" / "..")):
        with pytest.raises(ConfigError, match="a.png would overwrite its input"):
            predict(config(), None, source, out, device="cpu")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file cannot be created"):
        predict(config(), None, tmp_path / "a.png", tmp_path / "file", device="cpu")


# --- videos ---------------------------------------------------------------------------------------------------------


def write(path, frames, times=None, matrix=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = (times[i] if times else i), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if matrix:
        data = bytearray(path.read_bytes())
        at = data.find(b"tkhd") + 44
        data[at : at + 36] = struct.pack(">9i", *matrix)
        path.write_bytes(data)
    return path


@pytest.fixture
def plain(monkeypatch):
    """The picture that is written is the frame itself."""
    monkeypatch.setattr(inference._Writer, "picture", lambda self, img, sample: img)


def read(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return frames, [frame.to_ndarray(format="rgb24") for frame in frames]


@pytest.mark.parametrize("times", [[0, 1, 2, 50, 100], [10, 11, 12, 13], list(range(0, 40, 4))])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_film_keeps_the_times_of_its_frames(tmp_path, plain, times, suffix):
    path = write(tmp_path / f"v.{suffix}", [RED] * len(times), times)
    predict(config(), None, path, tmp_path / "out", device="cpu", batch_size=3)
    frames, _ = read(tmp_path / "out" / "v.mp4")
    expected = [(time - times[0]) / 25 for time in times]
    np.testing.assert_allclose([frame.time for frame in frames], expected, atol=0.002)
    with av.open(str(tmp_path / "out" / "v.mp4")) as container:
        assert expected[-1] < container.duration / 1e6 < expected[-1] + 1
    assert sorted(os.listdir(tmp_path / "out")) == ["predictions.json", "v.mp4"]


def test_a_turned_film_is_turned_once(tmp_path, plain):
    path = write(tmp_path / "v.mp4", [RED] * 3, matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    predict(config(), None, path, tmp_path / "out", device="cpu")
    frames, pixels = read(tmp_path / "out" / "v.mp4")
    assert frames[0].rotation == 0 and pixels[0].shape == (40, 24, 3)
    assert pixels[0][4, -4, 0] > 150 and pixels[0][4, 4, 0] < 60  # the red quarter is at the top right


def test_a_film_that_changes_its_size_is_written_in_one_size(tmp_path, plain):
    parts = [write(tmp_path / f"{i}.h264", [RED[:h]] * 3) for i, h in enumerate((24, 16))]
    (tmp_path / "v.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    predict(config(), None, tmp_path / "v.ts", tmp_path / "out", device="cpu")
    _, pixels = read(tmp_path / "out" / "v.mp4")
    assert [p.shape for p in pixels] == [(24, 40, 3)] * 6


def test_a_film_that_is_cut_leaves_nothing_behind(tmp_path, plain):
    noise = np.random.default_rng(0).integers(0, 256, (12, 24, 40, 3), dtype=np.uint8)
    whole = write(tmp_path / "v.mkv", list(noise))
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[:-4000])
    with pytest.raises(DataError, match="1 of 2 inputs are done(.|\n)*cut.mkv ends at frame"):
        predict(config(), None, [tmp_path / "cut.mkv", whole], tmp_path / "out", device="cpu")
    assert sorted(os.listdir(tmp_path / "out")) == ["predictions.json", "v.mp4"]


def test_the_frame_of_the_config_is_kept(tmp_path):
    """A dataset that crops its frames crops images given to the Predictor, too."""
    video = write(tmp_path / "v.mp4", [RED] * 2)
    cropped = Predictor(config(type=VideoFrames, source=str(video), crop=(10, 20)), device="cpu")
    assert cropped(RED)[0].ori_shape == (10, 20)
