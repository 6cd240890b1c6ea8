"""Test predict: files that do not work, results beside inputs, times and rotation of videos."""

import json
import os

import av
import numpy as np
import pytest
from PIL import Image

from tests.helpers.files import write_film
from tests.helpers.redness import RED, config
from vislab.apis import inference
from vislab.apis.inference import predict
from vislab.errors import ConfigError, DataError

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


def test_nothing_is_loaded_for_no_input(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "Predictor", None)
    with pytest.raises(DataError, match=r"0 of 1 inputs are done(.|\n)*none.jpg: there is no such file"):
        predict(config(), None, tmp_path / "none.jpg", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_inputs_are_not_overwritten(tmp_path):
    Image.fromarray(RED).save(tmp_path / "a.png")
    for source, out in ((tmp_path / "a.png", tmp_path), (tmp_path, tmp_path / "x" / "..")):
        with pytest.raises(ConfigError, match="a.png would overwrite its input"):
            predict(config(), None, source, out, device="cpu")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file cannot be created"):
        predict(config(), None, tmp_path / "a.png", tmp_path / "file", device="cpu")


# --- videos ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def plain(monkeypatch):
    """The picture that is written is the frame itself."""
    monkeypatch.setattr(inference, "picture", lambda prediction: prediction.image)


def read(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return frames, [frame.to_ndarray(format="rgb24") for frame in frames]


@pytest.mark.parametrize("times", [[0, 1, 2, 50, 100], [10, 11, 12, 13], list(range(0, 40, 4))])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_film_keeps_the_times_of_its_frames(tmp_path, plain, times, suffix):
    path = write_film(tmp_path / f"v.{suffix}", [RED] * len(times), times)
    predict(config(), None, path, tmp_path / "out", device="cpu", batch_size=3)
    frames, _ = read(tmp_path / "out" / "v.mp4")
    expected = [(time - times[0]) / 25 for time in times]
    np.testing.assert_allclose([frame.time for frame in frames], expected, atol=0.002)
    with av.open(str(tmp_path / "out" / "v.mp4")) as container:
        assert expected[-1] < container.duration / 1e6 < expected[-1] + 1
    assert sorted(os.listdir(tmp_path / "out")) == ["predictions.json", "v.mp4"]


def test_a_turned_film_is_turned_once(tmp_path, plain):
    path = write_film(tmp_path / "v.mp4", [RED] * 3, matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    predict(config(), None, path, tmp_path / "out", device="cpu")
    frames, pixels = read(tmp_path / "out" / "v.mp4")
    assert frames[0].rotation == 0 and pixels[0].shape == (40, 24, 3)
    assert pixels[0][4, -4, 0] > 150 and pixels[0][4, 4, 0] < 60  # the red quarter is at the top right


def test_a_film_that_changes_its_size_is_written_in_one_size(tmp_path, plain):
    parts = [write_film(tmp_path / f"{i}.h264", [RED[:h]] * 3) for i, h in enumerate((24, 16))]
    (tmp_path / "v.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    predict(config(), None, tmp_path / "v.ts", tmp_path / "out", device="cpu")
    _, pixels = read(tmp_path / "out" / "v.mp4")
    assert [p.shape for p in pixels] == [(24, 40, 3)] * 6


def test_a_film_that_is_cut_leaves_nothing_behind(tmp_path, plain):
    noise = np.random.default_rng(0).integers(0, 256, (12, 24, 40, 3), dtype=np.uint8)
    whole = write_film(tmp_path / "v.mkv", list(noise))
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[:-4000])
    with pytest.raises(DataError, match="1 of 2 inputs are done(.|\n)*cut.mkv ends at frame"):
        predict(config(), None, [tmp_path / "cut.mkv", whole], tmp_path / "out", device="cpu")
    assert sorted(os.listdir(tmp_path / "out")) == ["predictions.json", "v.mp4"]
