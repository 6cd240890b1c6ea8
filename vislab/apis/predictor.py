"""Predictor: a model with its test pipeline, for images of any kind, in batches."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from vislab.apis.inputs import Inputs, Source, count_images, sources
from vislab.apis.models import load_model
from vislab.apis.prediction import Prediction, class_indices
from vislab.apis.tiles import Tiles, predict_tiles
from vislab.engine.class_lists import warn_other_classes
from vislab.errors import ConfigError, VislabError
from vislab.evaluation.frame import require_original_frame
from vislab.io.checkpoint import load_checkpoint
from vislab.registry import DATASETS, TRANSFORMS
from vislab.structures import DataSample

logger = logging.getLogger(__name__)
OnError: TypeAlias = Literal["raise", "skip"] | Callable[[Source, Exception], None]


class Predictor:
    """A model with its test pipeline: `Predictor("name")("photo.jpg")` returns a list with one Prediction per image.

    Inputs are arrays (H, W, 3) uint8 **RGB** (images of cv2.imread are BGR: pass `image[..., ::-1]`), gray arrays
    (H, W), arrays (N, H, W, 3), PIL images, paths of images, folders (with subfolders) and videos, http(s) URLs of
    images, and lists and generators of them.

    Args:
        config: A name of `vislab.list_models(pretrained=True)`, whose weights are then downloaded once, the path of a
            config file, or a Config.
        checkpoint: Weights. Default: the published ones for a name, else initial weights.
        device: Device such as "cpu". Default: a GPU if available.
        batch_size: Number of images per batch.
        threshold: Lowest score of the objects that are returned and drawn. Default: all are returned, and those from
            0.3 are drawn.
        classes: Names or indices of the classes of the objects that are returned. Default: all.
        progress: Show a progress bar. Default: on a terminal, if there is more than one batch.
        tiles: Predict larger images in overlapping tiles, and merge the detected boxes.
        cfg_options: Changes of the config by dotted key.

    Raises:
        ConfigError, CheckpointError: A setting, the config or the weights are invalid.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        *,
        device: str | None = None,
        batch_size: int = 1,
        threshold: float | None = None,
        classes: Sequence[str | int] | None = None,
        progress: bool | None = None,
        tiles: Tiles | None = None,
        cfg_options: Mapping[str, Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: at least 1")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f"threshold={threshold} is not a score: expected 0..1")
        self.batch_size, self.threshold, self.progress, self.tiles = batch_size, threshold, progress, tiles
        self.cfg, self.model, published = load_model(config, checkpoint, device=device, cfg_options=cfg_options)
        self.pipeline = test_pipeline(self.cfg)
        self.metainfo = _metainfo(self.cfg, checkpoint) | published
        self.classes = None if classes is None else class_indices(classes, self.metainfo.get("classes") or ())
        self.fit = _frame_fitter(self.cfg)

    def __call__(self, inputs: Inputs, names: str | Sequence[str] | None = None) -> list[Prediction]:
        """Predict images, and return all predictions; see `stream` for many images or long videos.

        Args:
            inputs: See the class.
            names: Names of the images. Default: the path or URL, or "image 0".

        Raises:
            DataError: An image cannot be read or processed, or the pipeline crops, flips or pads it.
        """
        return list(self.stream(inputs, names))

    def stream(
        self, inputs: Inputs, names: str | Sequence[str] | None = None, *, on_error: OnError = "raise"
    ) -> Iterator[Prediction]:
        """Yield the prediction of one image after the other; no more than a batch is in memory.

        Args:
            inputs, names: As in a call.
            on_error: Images that cannot be read or processed raise the error ("raise"), are left out with a warning
                ("skip"), or are passed with the error to this function.
        """
        if on_error not in ("raise", "skip") and not callable(on_error):
            raise ConfigError(f"on_error={on_error!r} is not 'raise', 'skip' or a function")
        show = sys.stderr.isatty() if self.progress is None else self.progress
        with _progress_bar(inputs, self.batch_size, show, self.progress is None) as advance:
            for _, prediction in self.run(sources(inputs, names), on_error, advance):
                yield prediction

    def run(
        self, images: Iterable[Source], on_error: OnError = "raise", advance: Callable[[int], None] = lambda count: None
    ) -> Iterator[tuple[Source, Prediction]]:
        """Yield sources with their predictions.

        Args:
            images: The sources.
            on_error: As in `stream`.
            advance: Called with the number of sources of each finished batch.
        """
        images = iter(images)
        while batch := list(islice(images, self.batch_size)):
            loaded = [(source, image) for source in batch for image in self._read(source, on_error)]
            yield from self._batch(loaded, on_error)
            advance(len(batch))

    def predict_samples(self, images: Sequence[np.ndarray], names: Sequence[str] | None = None) -> list[DataSample]:
        """Return the DataSamples of a batch of images (H, W, 3) uint8 RGB, on the device of the model."""
        names = [f"image {i}" for i in range(len(images))] if names is None else names
        return [sample for sample, _ in self._forward(images, names)]

    def _read(self, source: Source, on_error: OnError) -> list[np.ndarray]:
        """Return the image, or nothing if it cannot be read."""
        if on_error == "raise":
            return [self.fit(source.read())]
        try:
            return [self.fit(source.read())]
        except Exception as error:
            _report(source, error, on_error)
            return []

    def _batch(self, loaded: list[tuple[Source, np.ndarray]], on_error: OnError) -> Iterator[tuple[Source, Prediction]]:
        """Yield the predictions of a batch; if it fails, and errors are not raised, of one image after the other."""
        if not loaded:
            return
        try:
            found = self._predictions(loaded)
        except Exception as error:
            if on_error == "raise":
                raise
            if len(loaded) == 1:
                _report(loaded[0][0], error, on_error)
                return
            for one in loaded:
                yield from self._batch([one], on_error)
            return
        yield from zip((source for source, _ in loaded), found, strict=True)

    def _predictions(self, loaded: list[tuple[Source, np.ndarray]]) -> list[Prediction]:
        names = [source.name for source, _ in loaded]
        images = [image for _, image in loaded]
        if self.tiles is None:
            found = self._forward(images, names)
        else:
            found = [
                (predict_tiles(self.predict_samples, image, name, self.tiles), image)
                for image, name in zip(images, names, strict=True)
            ]
        return [self._finish(*pair, source) for pair, (source, _) in zip(found, loaded, strict=True)]

    def _finish(self, sample: DataSample, image: np.ndarray, source: Source) -> Prediction:
        prediction = Prediction(
            sample,
            image,
            path=source.name,
            metainfo=self.metainfo,
            frame=source.frame,
            time=None if source.time is None else float(source.time),
            threshold=self.threshold,
        )
        if self.threshold is None and self.classes is None:
            return prediction
        return prediction.filter(self.threshold, self.classes)

    def _forward(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[tuple[DataSample, np.ndarray]]:
        """Return samples with predictions, each with the image whose frame they are in."""
        records = []
        for index, (img, name) in enumerate(zip(images, names, strict=True)):
            shape = img.shape[:2]
            records.append({"img": img, "img_path": name, "ori_shape": shape, "img_shape": shape,
                            "scale_factor": (1.0, 1.0), "sample_idx": index})  # fmt: skip
        inputs = [self.pipeline(record) for record in records]
        frames = [_frame(img, packed) for img, packed in zip(images, inputs, strict=True)]
        with torch.inference_mode():
            samples = self.model.test_step(pseudo_collate(inputs))
        for sample in samples:
            if any(key.startswith("pred_") and key != "pred_label" for key in sample.to_dict()):
                require_original_frame(sample, "predict")  # a class has no position
        return list(zip(samples, frames, strict=True))


def _frame(image: np.ndarray, packed: Mapping[str, Any]) -> np.ndarray:
    """Return the image in the frame of its predictions: itself, or the window that the pipeline declares to be it."""
    shape = tuple(packed["data_samples"].get("ori_shape", image.shape[:2]))
    inner = packed["inputs"]
    if shape == image.shape[:2] or tuple(inner.shape[1:]) != shape:
        return image
    return np.ascontiguousarray(inner.permute(1, 2, 0).numpy())


def _report(source: Source, error: Exception, on_error: OnError) -> None:
    if callable(on_error):
        on_error(source, error)
        return
    text = str(error) if isinstance(error, VislabError) else f"{type(error).__name__}: {error}"
    logger.warning("%s is left out: %s", source.name, text)


@contextmanager
def _progress_bar(inputs: Inputs, batch_size: int, show: bool, only_long: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while images are predicted; yields the function that advances it."""
    total = count_images(inputs) if show else 0
    if not show or (only_long and total is not None and total <= batch_size):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    # a console of its own, since one console shows only one bar, and predictors may run in threads
    columns = [SpinnerColumn(), TextColumn("predict"), *Progress.get_default_columns()[1:-1]]
    columns += [TextColumn("{task.completed:.0f} images"), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("predict", total=total)
        yield lambda count: bar.advance(task, count)


def test_pipeline(cfg: Config) -> Compose:
    """Build the test pipeline of a config without the transforms that need labels (`needs_labels`).

    Raises:
        ConfigError: The config has no test or validation pipeline.
    """
    dataset = evaluated_dataset(cfg)
    if not dataset or not dataset.get("pipeline"):
        raise ConfigError(
            "predict needs a pipeline in test_dataloader.dataset or val_dataloader.dataset; there is none"
        )
    steps = [TRANSFORMS.build(step) if isinstance(step, Mapping) else step for step in dataset["pipeline"]]
    return Compose([step for step in steps if not getattr(step, "needs_labels", False)])


test_pipeline.__test__ = False  # not a test for pytest


def _frame_fitter(cfg: Config) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function with which the dataset crops or resizes images before its pipeline, or the identity."""
    dataset = evaluated_dataset(cfg) or {}
    if not hasattr(_kind(dataset), "fit_frame"):
        return lambda img: img
    return DATASETS.build({**dataset, "lazy_init": True}).fit_frame


def evaluated_dataset(cfg: Config) -> Mapping[str, Any] | None:
    """Return the dataset config of test_dataloader, else of val_dataloader, without wrappers."""
    for split in ("test", "val"):
        dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset")
        while dataset and "dataset" in dataset:
            dataset = dataset["dataset"]
        if dataset:
            return dataset
    return None


def _kind(dataset: Mapping[str, Any]) -> Any:
    kind = dataset.get("type")
    return DATASETS.get(kind) if isinstance(kind, str) else kind


def _metainfo(cfg: Config, checkpoint: str | Path | None) -> dict:
    """Return class names and colors of the training data in the checkpoint, else of the config."""
    dataset = evaluated_dataset(cfg) or {}
    own = dict(dataset.get("metainfo") or getattr(_kind(dataset), "METAINFO", {}))
    if checkpoint is not None:
        meta = load_checkpoint(checkpoint).get("meta") or {}
        if isinstance(meta.get("dataset_meta"), dict):
            warn_other_classes(own, meta["dataset_meta"], str(checkpoint))
            return dict(meta["dataset_meta"])
    return own
