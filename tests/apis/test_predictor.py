"""Test the Predictor: all kinds of input, lazy iteration, invalid inputs, threads."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image

from tests.helpers.files import write_film
from tests.helpers.redness import RED, Finder, Redness, config
from vislab.apis.inference import predict
from vislab.apis.inputs import collect
from vislab.apis.prediction import Prediction
from vislab.apis.predictor import Predictor
from vislab.datasets.transforms import CenterCrop, LoadImage, PackInputs, Pad
from vislab.datasets.video_frames import VideoFrames
from vislab.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(config(), device="cpu")


def redness(predictions: list[Prediction]) -> list[int]:
    return [prediction.label for prediction in predictions]


class Marker(Redness):
    """Its semantic map says where the image is red."""

    def forward(self, inputs, data_samples, mode="predict"):
        for image, sample in zip(inputs, data_samples, strict=True):
            sample.pred_sem_seg = PixelData(data=(image[:1] > 0.5).long())
        return data_samples


def test_maps_of_a_pipeline_that_moves_the_image_are_refused():
    """Models take predictions back by scaling alone, so maps would be stretched; a class has no position."""
    for step, remedy in (({"type": Pad, "size": 64}, "pad .* remove Pad"), ({"type": CenterCrop, "size": 16}, "crop")):
        moved = config(pipeline=[{"type": LoadImage}, step, {"type": PackInputs}])
        assert Predictor(moved, device="cpu")([RED])[0].label > 0
        moved.model["type"] = Marker
        with pytest.raises(DataError, match=rf"image 0 went through {remedy}"):
            Predictor(moved, device="cpu")([RED])


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
        assert predictor(turned)[0].size == (40, 24)
    assert predictor(str(tmp_path / "a.png"))[0].path == str(tmp_path / "a.png")
    assert redness(predictor([RED, tmp_path / "a.png", Image.fromarray(RED)])) == expected * 3
    assert redness(predictor(np.stack([RED, RED]))) == expected * 2
    gray = np.full((24, 40), 77, np.uint8)
    assert redness(predictor([gray, gray[..., None], Image.fromarray(gray)])) == [77] * 3
    assert predictor([]) == [] and predictor(()) == [] and predictor(np.zeros((0, 24, 40, 3), np.uint8)) == []


def test_names_of_images(predictor):
    assert [s.path for s in predictor([RED, RED])] == ["image 0", "image 1"]
    assert [s.path for s in predictor(RED, "mine")] == ["mine"]
    with pytest.raises(DataError, match="got 1 names, but there are more"):
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
        ("", "the path is empty"),
        ("film.mp4", "film.mp4"),
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


def test_the_frame_of_the_config_is_kept(tmp_path):
    """A dataset that crops its frames crops images given to the Predictor, too."""
    video = write_film(tmp_path / "v.mp4", [RED] * 2)
    cropped = Predictor(config(type=VideoFrames, source=str(video), crop=(10, 20)), device="cpu")
    assert cropped(RED)[0].size == (10, 20)


# --- many images ----------------------------------------------------------------------------------------------------


def counting(taken: list[int], total: int):
    for k in range(total):
        taken.append(k)
        yield np.full((12, 12), k, np.uint8)


def test_a_generator_is_taken_batch_by_batch():
    taken: list[int] = []
    stream = Predictor(config(), device="cpu", batch_size=3).stream(counting(taken, 8))
    assert next(stream).label == 0 and taken == [0, 1, 2]
    assert [p.label for p in stream] == list(range(1, 8)) and taken == list(range(8))
    assert list(Predictor(config(), device="cpu").stream(iter(()))) == []
    with pytest.raises(ZeroDivisionError):  # what the generator of the user raises is not hidden
        Predictor(config(), device="cpu")(1 // 0 for _ in "a")


def test_memory_does_not_grow_with_the_number_of_images():
    """Of the images taken from a generator, the last batch is alive."""
    made = []

    def images():
        for _ in range(20):
            image = np.zeros((24, 40, 3), np.uint8)
            made.append(weakref.ref(image))
            yield image
            del image

    alive = []
    for found in Predictor(config(), device="cpu", batch_size=2).stream(images()):
        del found
        alive.append(sum(ref() is not None for ref in made))
    assert max(alive) <= 3 and len(made) == 20


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_broken_image_is_raised_or_left_out(tmp_path, batch_size, caplog):
    for name in ("a", "c", "d"):
        Image.fromarray(RED).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_text("no image")
    Image.fromarray(RED[:7]).save(tmp_path / "e.png")  # refused by the pipeline, in the batch of another one
    predictor = Predictor(config(), device="cpu", batch_size=batch_size)
    with pytest.raises(DataError, match="b.png is not an image"):
        predictor(tmp_path)
    found = list(predictor.stream(tmp_path, on_error="skip"))
    assert [p.path[-5:] for p in found] == ["a.png", "c.png", "d.png"]
    assert "b.png is left out" in caplog.text and "e.png is left out" in caplog.text
    failed = []
    list(predictor.stream(tmp_path, on_error=lambda source, error: failed.append((source.name[-5:], type(error)))))
    assert failed == [("b.png", DataError), ("e.png", DataError)]
    with pytest.raises(ConfigError, match="on_error='ignore'"):
        next(predictor.stream(tmp_path, on_error="ignore"))


def test_folders_and_videos(predictor, tmp_path):
    (tmp_path / "deep").mkdir()
    Image.fromarray(RED).save(tmp_path / "deep" / "a.png")
    write_film(tmp_path / "v.mp4", [RED] * 3)
    found = predictor([tmp_path / "v.mp4", tmp_path])
    assert [(p.frame, p.time) for p in found] == [(0, 0.0), (1, 0.04), (2, 0.08), (None, None)]
    assert found[1].path == f"{tmp_path}/v.mp4/00001" and found[3].path == str(tmp_path / "deep" / "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: the folder contains no images"):
        predictor(tmp_path / "empty")


def test_a_bar_on_request(tmp_path, capsys):
    for progress, shown in ((True, True), (False, False), (None, False)):  # by default on a terminal
        assert len(Predictor(config(), device="cpu", progress=progress)([RED] * 3)) == 3
        assert ("predict" in capsys.readouterr().err) == shown


def test_objects_by_score_and_class():
    cfg = config(metainfo={"classes": ("cat", "dog")})
    cfg.model["type"] = Finder
    assert Predictor(cfg, device="cpu")(RED)[0].names == ["cat", "dog"]
    assert Predictor(cfg, device="cpu", threshold=0.5)(RED)[0].names == ["cat"]
    assert Predictor(cfg, device="cpu", classes=["dog"])(RED)[0].scores.tolist() == pytest.approx([0.2])
    with pytest.raises(ConfigError, match="'dgo' is not one of 2; did you mean 'dog'"):
        Predictor(cfg, device="cpu", classes=["dgo"])
    for wrong in ({"threshold": 50}, {"batch_size": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Predictor(cfg, device="cpu", **wrong)
    with pytest.raises(ConfigError, match="choose among objects; the model predicts label"):
        Predictor(config(), device="cpu", threshold=0.5)(RED)


def test_two_predictors_in_threads(tmp_path):
    """Built and used at the same time, with a bar each."""
    found: dict[int, list[int]] = {}

    def work(value: int) -> None:
        predictor = Predictor(config(), device="cpu", batch_size=2, progress=True)
        found[value] = redness(predictor([np.full((12, 12), value, np.uint8)] * 20))

    threads = [threading.Thread(target=work, args=(value,)) for value in (10, 50, 85)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {value: [value] * 20 for value in (10, 50, 85)}


def test_the_same_predictor_in_two_threads(predictor):
    with ThreadPoolExecutor(4) as pool:
        images = [np.full((12, 12), value, np.uint8) for value in range(40)]
        expected = redness(predictor(images))
        assert [redness(found)[0] for found in pool.map(predictor, images)] == expected == list(range(40))
