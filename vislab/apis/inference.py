"""Run a model on images, folders and videos, in the config's own test pipeline; write pictures, videos and JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import nn

from vislab.apis.build import build_model, load
from vislab.apis.results import to_plain_results
from vislab.errors import ConfigError, DataError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".y4m")


class Predictor:
    """A model in its test pipeline: `Predictor(config, checkpoint)([image, ...])` gives one DataSample an image.

    Args:
        config: a file or a Config.
        checkpoint: weights, or None for initial weights.
        device: e.g. "cpu"; None: a GPU if there is one.
        cfg_options: changes to the config, by dotted key.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        *,
        device: str | None = None,
        cfg_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.cfg = load(config, cfg_options)
        self.model: nn.Module = build_model(self.cfg, checkpoint, device)
        self.pipeline = test_pipeline(self.cfg)
        self.metainfo = _metainfo(self.cfg, checkpoint)
        self.fit = _frame_fitter(self.cfg)

    def __call__(self, images: Sequence[np.ndarray], paths: Sequence[str] | None = None) -> list:
        """Predict one batch.

        Args:
            images: (H, W, 3) uint8 RGB arrays.
            paths: what they are called, for `img_path`.
        """
        records = []
        for index, img in enumerate(images):
            shape = img.shape[:2]
            name = paths[index] if paths else f"image {index}"
            records.append({"img": img, "img_path": name, "ori_shape": shape, "img_shape": shape,
                            "scale_factor": (1.0, 1.0), "sample_idx": index})  # fmt: skip
        batch = pseudo_collate([self.pipeline(record) for record in records])
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
) -> dict[str, list[dict]]:
    """Predict files and write what was found into `out`.

    Args:
        config: a file or a Config.
        checkpoint: weights that must fit, or None.
        inputs: images, folders of images (searched through), videos.
        out: folder: NAME.png for an image, NAME.mp4 for a video, and predictions.json with every prediction that is
            natural there (labels, scores, boxes, masks as run lengths; maps as file names beside it).
        batch_size: images at a time.
        device, cfg_options: as for `Predictor`.

    Returns:
        The content of predictions.json: input name -> one dict an image or frame.

    Raises:
        ConfigError, CheckpointError: before anything is read.
        DataError: inputs that could not be read; raised after all others are done, with one line for each.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: at least 1")
    inputs = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    jobs, problems = collect(inputs)
    predictor = Predictor(config, checkpoint, device=device, cfg_options=cfg_options)
    writer = _Writer(Path(out), predictor)
    found: dict[str, list[dict]] = {}
    images = [job for job in jobs if not job.video]
    for start in range(0, len(images), batch_size):
        loaded = []
        for job in images[start : start + batch_size]:
            try:
                loaded.append((job, predictor.fit(_read_image(job.path))))
            except DataError as error:
                problems.append(str(error))
        if loaded:
            samples = predictor([img for _, img in loaded], [str(job.path) for job, _ in loaded])
            for (job, img), sample in zip(loaded, samples, strict=True):
                found[job.name] = [writer.image(job.name, img, sample)]
    for job in (job for job in jobs if job.video):
        try:
            found[job.name] = writer.video(job, batch_size)
        except DataError as error:
            problems.append(str(error))
    writer.write_json(found)
    if problems:
        done = f"{len(found)} of {len(found) + len(problems)} inputs are done; the others:"
        raise DataError("\n  ".join([done, *problems]))
    return found


# ----------------------------------------------------------------------------------------------------------- inputs


class Job(NamedTuple):
    """One input file and the name of its results, without suffix."""

    path: Path
    name: str
    video: bool


def collect(inputs: Sequence[str | Path]) -> tuple[list[Job], list[str]]:
    """The files behind `inputs`, and a message for each input that is none. Names are unique; those of a folder's
    files keep their place below it."""
    jobs, problems, taken = [], [], set()
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            files = sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGES)
            if not files:
                problems.append(f"{path}: the folder holds no images ({' '.join(IMAGES)})")
            named = [(f, str(f.relative_to(path).with_suffix(""))) for f in files]
        elif path.is_file():
            named = [(path, path.stem)]
        else:
            problems.append(f"{path}: there is no such file or folder")
            continue
        for file, name in named:
            unique, count = name, 2
            while unique in taken:
                unique, count = f"{name}_{count}", count + 1
            taken.add(unique)
            jobs.append(Job(file, unique, file.suffix.lower() in VIDEOS))
    return jobs, problems


def _read_image(path: Path) -> np.ndarray:
    from vislab.datasets.transforms.files import read_rgb

    return read_rgb(str(path))


def test_pipeline(cfg: Config) -> Compose:
    """The test pipeline without the steps that load labels; its LoadImage takes the array it is given.

    Raises:
        ConfigError: no loader of the config has a pipeline.
    """
    from vislab.registry import TRANSFORMS

    dataset = _test_dataset(cfg)
    if not dataset or not dataset.get("pipeline"):
        raise ConfigError(
            "predict needs a pipeline in test_dataloader.dataset or val_dataloader.dataset; there is none"
        )
    return Compose([TRANSFORMS.build(step) for step in dataset["pipeline"] if not _loads_labels(step)])


test_pipeline.__test__ = False  # no test, whatever its name


def _loads_labels(step: Mapping[str, Any]) -> bool:
    kind = step["type"]
    name = (kind if isinstance(kind, str) else kind.__name__).split(".")[-1]
    return name.startswith(("Load", "Panoptic")) and name != "LoadImage"


def _frame_fitter(cfg: Config) -> Callable[[np.ndarray], np.ndarray]:
    """How the config's dataset itself crops or resizes an image before its pipeline; most do not."""
    from vislab.registry import DATASETS

    dataset = _test_dataset(cfg) or {}
    kind = dataset.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not hasattr(kind, "fit_frame"):
        return lambda img: img
    return DATASETS.build({**dataset, "lazy_init": True}).fit_frame


def _test_dataset(cfg: Config) -> Mapping[str, Any] | None:
    """The dataset section behind test_dataloader, else val_dataloader, out of its wrappers."""
    for split in ("test", "val"):
        dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset")
        while dataset and "dataset" in dataset:
            dataset = dataset["dataset"]
        if dataset:
            return dataset
    return None


def _metainfo(cfg: Config, checkpoint: str | Path | None) -> dict:
    """Class names and colours: those of the data that the checkpoint was trained on, else the config's."""
    if checkpoint is not None:
        from vislab.engine.checkpoint import load_checkpoint

        meta = load_checkpoint(checkpoint).get("meta") or {}
        if isinstance(meta.get("dataset_meta"), dict):
            return dict(meta["dataset_meta"])
    dataset = _test_dataset(cfg) or {}
    return dict(dataset.get("metainfo") or getattr(dataset.get("type"), "METAINFO", {}))


# ---------------------------------------------------------------------------------------------------------- results


class _Writer:
    """Draws and writes results of a predictor below one folder."""

    def __init__(self, out: Path, predictor: Predictor) -> None:
        from vislab.visualization import Visualizer

        self.out, self.predictor = out, predictor
        self.out.mkdir(parents=True, exist_ok=True)
        self.visualizer = Visualizer(name="predict")
        self.visualizer.dataset_meta = predictor.metainfo

    def picture(self, img: np.ndarray, sample) -> np.ndarray:
        return self.visualizer.draw_datasample(img, sample.cpu(), draw_gt=False)

    def image(self, name: str, img: np.ndarray, sample) -> dict:
        import cv2

        target = self.out / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), self.picture(img, sample)[..., ::-1])
        return to_plain_results(sample, self.out, name, self.predictor.metainfo.get("classes"))

    def video(self, job: Job, batch_size: int) -> list[dict]:
        import av

        from vislab.datasets.video_frames import read_video

        with av.open(str(job.path)) as container:
            stream = next(iter(container.streams.video), None)
            rate = (stream and stream.average_rate) or Fraction(25)
        results: list[dict] = []
        target = self.out / f"{job.name}.mp4"
        frames = (self.predictor.fit(frame) for frame in read_video(job.path))
        with VideoWriter(target, rate) as video:
            while batch := list(islice(frames, batch_size)):
                names = [f"{job.path}/{len(results) + i:05d}" for i in range(len(batch))]
                for img, sample in zip(batch, self.predictor(batch, names), strict=True):
                    video.add(self.picture(img, sample))
                    results.append(to_plain_results(sample, None, job.name, self.predictor.metainfo.get("classes")))
        return results

    def write_json(self, found: dict[str, list[dict]]) -> None:
        (self.out / "predictions.json").write_text(json.dumps(found))


class VideoWriter:
    """An .mp4 file (H.264) of RGB frames, all of the first one's size."""

    def __init__(self, path: Path, rate: Fraction | int = 25) -> None:
        self.path, self.rate = path, rate
        self._container = self._stream = None

    def __enter__(self) -> "VideoWriter":
        return self

    def add(self, frame: np.ndarray) -> None:
        """Append a (H, W, 3) uint8 RGB frame; odd sides lose their last row or column, as H.264 asks.

        A frame of another size than the first is scaled to it.
        """
        import av

        if self._container is None:
            height, width = (side - side % 2 for side in frame.shape[:2])
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self.path), "w")
            self._stream = self._container.add_stream("libx264", rate=self.rate, options={"crf": "18"})
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            self._first = frame.shape
        height, width = self._stream.height, self._stream.width
        if frame.shape != self._first:
            import cv2

            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(picture))

    def __exit__(self, *exc: object) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode())
            self._container.close()
