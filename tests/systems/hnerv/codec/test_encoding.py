"""Test encoding: target sizes, segments, resuming to the same file, and what is kept when something fails."""

import os
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.systems.hnerv.codec import HnvDecoder, HnvFile, encoding
from vislab.systems.hnerv.codec.encoding import EncodeOptions, Encoding
from vislab.systems.hnerv.codec.plan import Target
from vislab.systems.hnerv.codec.source import open_source

OPTIONS = EncodeOptions(epochs=3, strides=(3, 2))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    for t in range(6):
        frame = np.full((17, 23, 3), 60, np.uint8)
        frame[4:12, 3 * t : 3 * t + 6] = (40, 160, 230)
        cv2.imwrite(str(folder / f"{t}.png"), frame)
    return open_source(folder)


def test_the_result_is_that_of_the_file(source, tmp_path):
    statuses = []
    result = Encoding(source, tmp_path / "a.hnv", OPTIONS, statuses.append).run()
    assert [path.name for path in tmp_path.iterdir()] == ["a.hnv"]
    with HnvDecoder(tmp_path / "a.hnv") as decoder:
        frames = np.stack(list(decoder.decode(range(6)))).astype(float)
        assert result.bpp == 8 * result.size / (6 * 17 * 23) == decoder.file.bits_per_pixel
    errors = np.square(frames - np.stack(list(source.images()))).mean(axis=(1, 2, 3))
    assert result.psnr == pytest.approx(10 * np.log10(255**2 / errors).mean(), abs=1e-3)
    assert [status.epoch for status in statuses] == [1, 2, 3] and statuses[-1].seconds_left == 0
    assert statuses[0].size is None and statuses[-1].size == pytest.approx(result.size, abs=250)


def stop_after(epochs, error=KeyboardInterrupt):
    def report(status):
        if 10 * status.segment + status.epoch == epochs:
            raise error

    return report


@pytest.mark.parametrize("at", [12, *(pytest.param(at, marks=pytest.mark.slow) for at in (11, 13, 22))])
def test_a_stopped_encoding_goes_on_to_the_same_file(source, tmp_path, monkeypatch, at):
    monkeypatch.setattr(encoding, "_SAVE_SECONDS", -1)
    options = replace(OPTIONS, segment_frames=3)
    Encoding(source, tmp_path / "whole.hnv", options).run()
    with pytest.raises(KeyboardInterrupt, match="run the same command again"):
        Encoding(source, tmp_path / "a.hnv", options, stop_after(at)).run()
    assert not (tmp_path / "a.hnv").exists()
    Encoding(source, tmp_path / "a.hnv", options).run()
    assert (tmp_path / "a.hnv").read_bytes() == (tmp_path / "whole.hnv").read_bytes()
    with HnvFile(tmp_path / "a.hnv") as file:
        assert [entry.frames for entry in file.entries] == [3, 3] and list(file.times()) == list(range(6))


@pytest.mark.slow
def test_sizes_are_kept(source, tmp_path):
    for size in (2500, 3500):
        result = Encoding(source, tmp_path / f"{size}.hnv", replace(OPTIONS, target=Target(bytes=size))).run()
        assert result.size <= size


@pytest.mark.slow
def test_a_low_quality_is_reached_from_above(source, tmp_path):
    free = Encoding(source, tmp_path / "free.hnv", replace(OPTIONS, epochs=20)).run()
    goal = free.psnr - 2
    result = Encoding(source, tmp_path / "a.hnv", replace(OPTIONS, epochs=20, target=Target(psnr=goal))).run()
    assert result.psnr > goal - 0.3


@pytest.mark.slow
def test_minutes_set_the_epochs(source, tmp_path):
    statuses, began = [], time.monotonic() - 5  # of the import
    options = replace(OPTIONS, epochs=None, minutes=0.3)
    Encoding(source, tmp_path / "a.hnv", options, statuses.append, began=began).run()
    assert 16 < time.monotonic() - began < 20 and statuses[-1].epoch == statuses[-1].epochs > 20


@pytest.mark.slow
def test_minutes_count_earlier_runs(source, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "_SAVE_SECONDS", -1)
    options = replace(OPTIONS, epochs=None, minutes=0.3)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Encoding(source, tmp_path / "a.hnv", options, stop_after(60)).run()
    time.sleep(5)
    Encoding(source, tmp_path / "a.hnv", options).run()
    assert 15 < time.monotonic() - began - 5 < 21


def test_existing_files_other_options_and_a_second_process_are_refused(source, tmp_path):
    path = tmp_path / "a.hnv"
    with pytest.raises(KeyboardInterrupt):
        Encoding(source, path, OPTIONS, stop_after(11)).run()
    plan = next(tmp_path.rglob("plan.json"))
    kept = plan.read_bytes()
    plan.write_bytes(kept[:20])
    with pytest.raises(DataError, match="plan.json is damaged"):
        Encoding(source, path, OPTIONS).run()
    plan.write_bytes(kept)
    with pytest.raises(ConfigError, match="other options"):
        Encoding(source, path, replace(OPTIONS, seed=1)).run()
    with Encoding(source, path, OPTIONS)._lock(), pytest.raises(ConfigError, match="another process"):
        Encoding(source, path, OPTIONS).run()
    path.write_bytes(b"kept")
    with pytest.raises(ConfigError, match="exists"):
        Encoding(source, path, OPTIONS)
    assert path.read_bytes() == b"kept"


def test_a_full_disk_keeps_the_work_and_makes_no_file(source, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "done.hnv")

    with monkeypatch.context() as patch:
        patch.setattr(encoding, "write_hnv", full)
        with pytest.raises(CheckpointError, match="No space left on device"):
            Encoding(source, tmp_path / "a.hnv", OPTIONS).run()
    assert not (tmp_path / "a.hnv").exists()
    Encoding(source, tmp_path / "a.hnv", OPTIONS, stop_after(11)).run()  # no epoch is left: the state was kept
    assert (tmp_path / "a.hnv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_noticed_at_once(source, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="cannot write"):
        Encoding(source, tmp_path / "a.hnv", OPTIONS).run()


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 2},
        {"minutes": 1.0},
        {"epochs": None},
        {"epochs": None, "minutes": 0.0},
        {"segment_frames": 0},
        {"strides": (0, 2)},
        {"strides": ()},
        {"seed": -1},
    ],  # fmt: skip
)
def test_impossible_options_are_refused(change):
    with pytest.raises(ConfigError):
        replace(OPTIONS, **change)
