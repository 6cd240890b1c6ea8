"""Draw samples of a dataset as passed to the model, or after each transform of the pipeline."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vislab.datasets.base import seeded
from vislab.datasets.samplers import sample_seed
from vislab.datasets.transforms import PackInputs
from vislab.errors import ConfigError
from vislab.registry import DATASETS
from vislab.visualization import draw
from vislab.visualization.visualizer import Visualizer


def browse(
    cfg: Mapping[str, Any], *, out: Path, split: str = "train", number: int = 16, stages: bool = False, seed: int = 0
) -> list[Path]:
    """Draw samples of the dataset of a config.

    Args:
        cfg: A loaded config.
        out: Folder for the images; created if missing.
        split: "train", "val" or "test".
        number: Number of samples, evenly distributed over the dataset.
        stages: Draw each sample after each transform of the pipeline, in one image per sample.
        seed: Random seed of the augmentation.

    Returns:
        Paths of the images.

    Raises:
        ConfigError: The config has no such dataset.
        DataError: A sample is invalid.
    """
    loader = cfg.get(f"{split}_dataloader")
    if loader is None:
        raise ConfigError(f"the config has no {split}_dataloader, which --split {split} needs")
    dataset = DATASETS.build(deepcopy(loader["dataset"]))
    visualizer = Visualizer(name="browse")
    visualizer.dataset_meta = dataset.metainfo
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().astype(int)):
        with seeded(sample_seed(seed, 0, int(index))):
            picture = _stages(dataset, int(index), visualizer) if stages else _finished(dataset[int(index)], visualizer)
        paths.append(out / f"{split}_{index:06d}.png")
        cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    return paths


def _finished(item: Mapping[str, Any], visualizer: Visualizer) -> np.ndarray:
    image = np.ascontiguousarray(item["inputs"].permute(1, 2, 0).numpy())
    if image.dtype != np.uint8:  # a float image in [0, 1]
        image = (image * 255).round().clip(0, 255).astype(np.uint8)
    return visualizer.draw_datasample(image, item["data_samples"], draw_pred=False)


def _stages(dataset: Any, index: int, visualizer: Visualizer) -> np.ndarray:
    """Draw one row per transform, with its name and the sample after it."""
    results = dataset.get_data_info(index)
    rows = []
    for transform in dataset.pipeline.transforms:
        results = transform(results)
        name = type(transform).__name__
        if results is None:
            raise ConfigError(f"{name} rejected sample {index} (returned None)")
        if "inputs" in results:
            if not rows:
                rows.append([(name, _finished(results, visualizer))])
            break
        if "img" in results:
            shown = PackInputs()({**results, "segments_info": list(results.get("segments_info", ()))})
            height, width = results["img"].shape[:2]
            rows.append([(f"{name} ({width}x{height})", _finished(shown, visualizer))])
    return draw.tile(rows)
