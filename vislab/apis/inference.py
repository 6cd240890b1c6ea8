"""Predict files and folders, and write pictures, videos and JSON."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from vislab.apis.inputs import Job, Source, collect, read_image, sources
from vislab.apis.prediction import Prediction
from vislab.apis.predictor import Predictor
from vislab.apis.results import to_plain_results, write_image
from vislab.apis.tiles import Tiles
from vislab.errors import ConfigError, DataError, VislabError
from vislab.io.download import is_address
from vislab.io.video import read_timing
from vislab.io.video_writer import VideoWriter


def predict(
    config: str | Path | Config,
    checkpoint: str | Path | None,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    batch_size: int = 1,
    threshold: float | None = None,
    classes: Sequence[str | int] | None = None,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    tiles: Tiles | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, list[dict]]:
    """Predict files and write the results to `out`.

    Args:
        config, checkpoint: As in `Predictor`.
        inputs: Images (paths or URLs), folders of images (with subfolders), videos.
        out: Output folder, for NAME.png per image, NAME.mp4 per video, and predictions.json with labels, scores, boxes,
            rotated boxes with their corners, masks (RLE) and the file names of maps.
        batch_size, threshold, classes, device, cfg_options, tiles: As in `Predictor`.
        report: Called with a line per finished input, such as "photo.jpg: 2 person, 1 dog".

    Returns:
        The content of predictions.json: input name -> list with one dict per image or frame.

    Raises:
        ConfigError, CheckpointError: The config or checkpoint is invalid; raised before inputs are read.
        DataError: Inputs that could not be read or processed, one per line; raised after all others are written, and
            before the model is loaded if nothing is left.
    """
    inputs = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    jobs, problems = collect(inputs)
    if not jobs:
        raise _undone(0, problems)
    _refuse_overwriting(jobs, Path(out))
    predictor = Predictor(
        config,
        checkpoint,
        device=device,
        batch_size=batch_size,
        threshold=threshold,
        classes=classes,
        cfg_options=cfg_options,
        tiles=tiles,
        progress=False,
    )
    writer = _Writer(Path(out), predictor)
    found: dict[str, list[dict]] = {}
    images = (Source(str(job.path), partial(read_image, job.path), tag=job) for job in jobs if not job.video)
    for source, prediction in predictor.run(images, on_error=partial(_note, problems)):
        try:
            result = writer.image(source.tag.name, prediction)
        except Exception as error:
            _note(problems, source, error)
        else:
            found[source.tag.name] = [result]
            report(f"{source.name}: {prediction.summary()}")
    for job in (job for job in jobs if job.video):
        try:
            results = writer.video(job)
        except Exception as error:
            _note(problems, Source(str(job.path), partial(read_image, job.path)), error)
        else:
            found[job.name] = results
            report(f"{job.path}: {len(results)} frames")
    writer.write_json(found)
    if problems:
        raise _undone(len(found), problems)
    return found


def _undone(done: int, problems: Sequence[str]) -> DataError:
    return DataError("\n  ".join([f"{done} of {done + len(problems)} inputs are done; the others:", *problems]))


def _note(problems: list[str], source: Source, error: Exception) -> None:
    """Append the message of an error to `problems`; raises the error if VISLAB_TRACEBACK is set."""
    if os.environ.get("VISLAB_TRACEBACK"):
        raise error
    text = str(error) if isinstance(error, VislabError) else f"{type(error).__name__}: {error}".splitlines()[0]
    problems.append(text if source.name in text else f"{source.name}: {text}")


def _refuse_overwriting(jobs: Sequence[Job], out: Path) -> None:
    """Raise an error if a result would overwrite an input.

    Raises:
        ConfigError: A result has the path of an input.
    """
    inputs = {os.path.realpath(job.path) for job in jobs if not is_address(job.path)}
    for job in jobs:
        target = out / f"{job.name}{'.mp4' if job.video else '.png'}"
        if os.path.realpath(target) in inputs:
            raise ConfigError(f"the result {target} would overwrite its input: choose another output folder")


class _Writer:
    """Draws and writes predictions to a folder."""

    def __init__(self, out: Path, predictor: Predictor) -> None:
        self.out, self.predictor = out, predictor
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the output folder {out} cannot be created: {error.strerror or error}") from error

    def image(self, name: str, prediction: Prediction) -> dict:
        write_image(picture(prediction)[..., ::-1], self.out, f"{name}.png")
        return to_plain_results(prediction.sample, self.out, name, prediction.classes or None)

    def video(self, job: Job) -> list[dict]:
        timing = read_timing(job.path)
        results: list[dict] = []
        with VideoWriter(self.out / f"{job.name}.mp4", timing.rate, timing.time_base) as video:
            for source, prediction in self.predictor.run(sources(job.path)):
                video.add(picture(prediction), source.time)
                results.append(prediction.to_dict())
        return results

    def write_json(self, found: dict[str, list[dict]]) -> None:
        (self.out / "predictions.json").write_text(json.dumps(found))


def picture(prediction: Prediction) -> np.ndarray:
    """Return the picture of a prediction that is written."""
    return prediction.plot()
