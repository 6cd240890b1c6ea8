"""Run a model on images, folders and videos with the test pipeline of its config; write images, videos and JSON."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import nn

from vislab.apis.build import build_model, load
from vislab.apis.inputs import ImageLike, Job, collect, is_address, list_inputs, read_image
from vislab.apis.results import to_plain_results, write_image
from vislab.apis.tiles import Tiles, predict_tiles
from vislab.engine.class_lists import warn_other_classes
from vislab.errors import ConfigError, DataError, VislabError
from vislab.evaluation.frame import require_original_frame
from vislab.io.checkpoint import load_checkpoint
from vislab.io.video import read_frames, read_timing
from vislab.io.video_writer import VideoWriter
from vislab.registry import DATASETS, TRANSFORMS
from vislab.structures import DataSample
from vislab.zoo.catalogue import Entry, find_entry
from vislab.zoo.pretrained import load_pretrained


class Predictor:
    """A model with its test pipeline: `Predictor(config, checkpoint)([image, ...])` returns one DataSample per image.

    Args:
        config: Path of a config file, a Config, or a name of the catalogue (`vislab.zoo.list_models()`), whose weights
            are then downloaded once.
        checkpoint: Weights. None: those of the catalogue for a name, else initial weights.
        device: Device such as "cpu". Default: a GPU if available.
        cfg_options: Changes of the config by dotted key.
        tiles: Predict larger images in overlapping tiles, and merge the detected boxes.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        *,
        device: str | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        tiles: Tiles | None = None,
    ) -> None:
        self.tiles = tiles
        entry = _catalogue_entry(config) if checkpoint is None else None
        options = {**entry.options, **(cfg_options or {})} if entry else cfg_options
        self.cfg = load(config, options)
        self.model: nn.Module = build_model(self.cfg, checkpoint, device)
        self.pipeline = test_pipeline(self.cfg)
        self.metainfo = _metainfo(self.cfg, checkpoint)
        if entry:
            self.metainfo |= load_pretrained(self.model, entry)
        self.fit = _frame_fitter(self.cfg)

    def __call__(
        self, images: ImageLike | Iterable[ImageLike], paths: str | Sequence[str] | None = None
    ) -> list[DataSample]:
        """Predict a batch of images.

        Args:
            images: One or several images: arrays (H, W, 3) uint8 RGB, PIL images, paths of image files, or URLs. An
                array (N, H, W, 3) is N images.
            paths: Names of the images, used as `img_path`. Default: the path or URL, or "image 0".

        Returns:
            A list with one DataSample per image.

        Raises:
            DataError: An image cannot be read or processed, or the pipeline crops, flips or pads it.
        """
        sources = list_inputs(images)
        names = [paths] if isinstance(paths, str) else paths
        if names is None:
            names = [str(s) if isinstance(s, (str, Path)) else f"image {i}" for i, s in enumerate(sources)]
        if len(names) != len(sources):
            raise DataError(f"got {len(names)} paths for {len(sources)} images: pass one name per image")
        if not sources:
            return []
        if self.tiles is None:
            return self._predict([self.fit(read_image(s, n)) for s, n in zip(sources, names, strict=True)], names)
        return [
            predict_tiles(self._predict, self.fit(read_image(source, name)), name, self.tiles)
            for source, name in zip(sources, names, strict=True)
        ]

    def _predict(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[DataSample]:
        records = []
        for index, (img, name) in enumerate(zip(images, names, strict=True)):
            shape = img.shape[:2]
            records.append({"img": img, "img_path": name, "ori_shape": shape, "img_shape": shape,
                            "scale_factor": (1.0, 1.0), "sample_idx": index})  # fmt: skip
        samples = [self.pipeline(record) for record in records]
        for sample in samples:
            require_original_frame(sample["data_samples"], "predict")
        batch = pseudo_collate(samples)
        with torch.inference_mode():
            return self.model.test_step(batch)


def predict(
    config: str | Path | Config,
    checkpoint: str | Path | None,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    batch_size: int = 1,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    tiles: Tiles | None = None,
) -> dict[str, list[dict]]:
    """Predict files and write the results to `out`.

    Args:
        config, checkpoint: As in `Predictor`.
        inputs: Images (paths or URLs), folders of images (with subfolders), videos.
        out: Output folder, for NAME.png per image, NAME.mp4 per video, and predictions.json with labels, scores, boxes,
            rotated boxes with their corners, masks (RLE) and the file names of maps.
        batch_size: Number of images per batch.
        device, cfg_options, tiles: As in `Predictor`.

    Returns:
        The content of predictions.json: input name -> list with one dict per image or frame.

    Raises:
        ConfigError, CheckpointError: The config or checkpoint is invalid; raised before inputs are read.
        DataError: Inputs that could not be read or processed, one per line; raised after all others are written.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: at least 1")
    inputs = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    jobs, problems = collect(inputs)
    _refuse_overwriting(jobs, Path(out))
    predictor = Predictor(config, checkpoint, device=device, cfg_options=cfg_options, tiles=tiles)
    writer = _Writer(Path(out), predictor)
    found: dict[str, list[dict]] = {}
    images = [job for job in jobs if not job.video]
    for start in range(0, len(images), batch_size):
        loaded = []
        for job in images[start : start + batch_size]:
            img = _attempt(lambda: predictor.fit(read_image(job.path)), job, problems)  # noqa: B023  called at once
            if img is not None:
                loaded.append((job, img))
        for job, img, sample in _predict_loaded(predictor, loaded, problems):
            result = _attempt(lambda: writer.image(job.name, img, sample), job, problems)  # noqa: B023
            if result is not None:
                found[job.name] = [result]
    for job in (job for job in jobs if job.video):
        results = _attempt(lambda: writer.video(job, batch_size), job, problems)  # noqa: B023
        if results is not None:
            found[job.name] = results
    writer.write_json(found)
    if problems:
        done = f"{len(found)} of {len(found) + len(problems)} inputs are done; the others:"
        raise DataError("\n  ".join([done, *problems]))
    return found


def _predict_loaded(
    predictor: Predictor, loaded: list[tuple[Job, np.ndarray]], problems: list[str]
) -> Iterator[tuple[Job, np.ndarray, DataSample]]:
    """Yield images with their predictions; if a batch fails, its images are predicted one by one."""
    samples: list = []
    if len(loaded) > 1:
        try:
            samples = predictor([img for _, img in loaded], [str(job.path) for job, _ in loaded])
        except Exception:  # reported below, for the image that caused it
            samples = []
    for index, (job, img) in enumerate(loaded):
        if samples:
            yield job, img, samples[index]
        else:
            alone = _attempt(lambda: predictor([img], [str(job.path)]), job, problems)  # noqa: B023
            if alone:
                yield job, img, alone[0]


def _attempt(step: Callable[[], Any], job: Job, problems: list[str]) -> Any:
    """Return the result of `step`; if it raises, append the message to `problems` and return None.

    Any exception is caught, since models raise different types for unsuitable images, unless VISLAB_TRACEBACK is set.
    """
    try:
        return step()
    except Exception as error:
        if os.environ.get("VISLAB_TRACEBACK"):
            raise
        text = str(error) if isinstance(error, VislabError) else f"{type(error).__name__}: {error}".splitlines()[0]
        problems.append(text if str(job.path) in text else f"{job.path}: {text}")
        return None


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


def test_pipeline(cfg: Config) -> Compose:
    """Build the test pipeline of a config without the transforms that load labels.

    Raises:
        ConfigError: The config has no test or validation pipeline.
    """
    dataset = _test_dataset(cfg)
    if not dataset or not dataset.get("pipeline"):
        raise ConfigError(
            "predict needs a pipeline in test_dataloader.dataset or val_dataloader.dataset; there is none"
        )
    return Compose([TRANSFORMS.build(step) for step in dataset["pipeline"] if not _loads_labels(step)])


test_pipeline.__test__ = False  # not a test for pytest


def _loads_labels(step: Mapping[str, Any]) -> bool:
    kind = step["type"]
    name = (kind if isinstance(kind, str) else kind.__name__).split(".")[-1]
    return name.startswith(("Load", "Panoptic")) and name != "LoadImage"


def _frame_fitter(cfg: Config) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function with which the dataset crops or resizes images before its pipeline, or the identity."""
    dataset = _test_dataset(cfg) or {}
    kind = dataset.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not hasattr(kind, "fit_frame"):
        return lambda img: img
    return DATASETS.build({**dataset, "lazy_init": True}).fit_frame


def _test_dataset(cfg: Config) -> Mapping[str, Any] | None:
    """Return the dataset config of test_dataloader, else of val_dataloader, without wrappers."""
    for split in ("test", "val"):
        dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset")
        while dataset and "dataset" in dataset:
            dataset = dataset["dataset"]
        if dataset:
            return dataset
    return None


def _catalogue_entry(config: str | Path | Config) -> Entry | None:
    """Return the entry of a name; None for a config file or a Config."""
    if isinstance(config, Config) or Path(config).suffix or Path(config).parent != Path() or Path(config).exists():
        return None
    return find_entry(str(config))


def _metainfo(cfg: Config, checkpoint: str | Path | None) -> dict:
    """Return class names and colors of the training data in the checkpoint, else of the config."""
    dataset = _test_dataset(cfg) or {}
    own = dict(dataset.get("metainfo") or getattr(dataset.get("type"), "METAINFO", {}))
    if checkpoint is not None:
        meta = load_checkpoint(checkpoint).get("meta") or {}
        if isinstance(meta.get("dataset_meta"), dict):
            warn_other_classes(own, meta["dataset_meta"], str(checkpoint))
            return dict(meta["dataset_meta"])
    return own


# ---------------------------------------------------------------------------------------------------------- results


class _Writer:
    """Draws and writes the results of a predictor to a folder."""

    def __init__(self, out: Path, predictor: Predictor) -> None:
        from vislab.visualization import Visualizer

        self.out, self.predictor = out, predictor
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the output folder {out} cannot be created:  {error.strerror or error}") from error
        self.visualizer = Visualizer(name="predict")
        self.visualizer.dataset_meta = predictor.metainfo

    def picture(self, img: np.ndarray, sample) -> np.ndarray:
        return self.visualizer.draw_datasample(img, sample.cpu(), draw_gt=False)

    def image(self, name: str, img: np.ndarray, sample) -> dict:
        write_image(self.picture(img, sample)[..., ::-1], self.out, f"{name}.png")
        return to_plain_results(sample, self.out, name, self.predictor.metainfo.get("classes"))

    def video(self, job: Job, batch_size: int) -> list[dict]:
        timing = read_timing(job.path)
        results: list[dict] = []
        frames = read_frames(job.path)
        with VideoWriter(self.out / f"{job.name}.mp4", timing.rate, timing.time_base) as video:
            while batch := list(islice(frames, batch_size)):
                names = [f"{job.path}/{len(results) + i:05d}" for i in range(len(batch))]
                images = [self.predictor.fit(frame.pixels) for frame in batch]
                for frame, img, sample in zip(batch, images, self.predictor(images, names), strict=True):
                    video.add(self.picture(img, sample), frame.time)
                    results.append(to_plain_results(sample, None, job.name, self.predictor.metainfo.get("classes")))
        return results

    def write_json(self, found: dict[str, list[dict]]) -> None:
        (self.out / "predictions.json").write_text(json.dumps(found))
