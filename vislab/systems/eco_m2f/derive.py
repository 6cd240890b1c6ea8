"""Step B: the derived dataset, with the quality of each image at each exit and the features for the gate.

Backbone and encoder layers run once per image, the decoder once per exit. Results are saved regularly, so that an
interrupted run can continue.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vislab.errors import DataError
from vislab.io.atomic import write_atomically
from vislab.systems.eco_m2f.early_exits import EarlyExits
from vislab.systems.eco_m2f.quality import COUNTED, Measure, image_quality


@dataclass
class Derived:
    """Results of N images at E exits.

    Attributes:
        quality: (N, E) in [0, 1].
        features: (N, dim) float32.
        exits: (E,) numbers of layers.
        names: N image paths.
        counts: (N, E, C, 4 or 3), statistics for computing the quality of subsets, or None.
        measure: See `derive`.
    """

    quality: np.ndarray
    features: np.ndarray
    exits: tuple[int, ...]
    names: list[str]
    counts: np.ndarray | None
    measure: str

    def save(self, path: str | Path) -> None:
        """Save to `path` (.npz) atomically."""
        counts = {} if self.counts is None else {"counts": self.counts}
        arrays = {
            "quality": self.quality,
            "features": self.features,
            "exits": np.array(self.exits),
            "names": np.array(self.names, dtype=str),
            "measure": np.array(self.measure),
        }
        write_atomically(path, lambda file: np.savez_compressed(file, **arrays, **counts))

    @classmethod
    def load(cls, path: str | Path) -> "Derived":
        """Load a file written by `save`.

        Raises:
            DataError: The file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    quality=file["quality"],
                    features=file["features"],
                    exits=tuple(int(k) for k in file["exits"]),
                    names=[str(n) for n in file["names"]],
                    counts=file.get("counts"),
                    measure=str(file["measure"]),
                )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path} is not a derived dataset: {error}. Run derive again.") from error


@torch.no_grad()
def derive(
    model: EarlyExits,
    batches: Iterable[dict],
    path: str | Path,
    *,
    measure: Measure = "pq",
    keep_counts: bool = True,
    save_every: int = 200,
) -> Derived:
    """Compute the quality of all images at all exits.

    Args:
        model: The model of step A, EcoM2F or EcoDETR; the `tasks` of EcoM2F must include that of `measure`.
        batches: Data loader without shuffling and augmentation, with labels at the original size.
        path: Output file (.npz). Images in an existing file, which must have the same exits and measure, are skipped.
        measure: "pq", "miou", or "ap" for the AP of masks; "box_ap" or "rotated_ap" for detectors.
        keep_counts: Keep the statistics for computing the quality of subsets (not for AP).
        save_every: Number of images after which results are saved.
    """
    path = Path(path)
    rows: list[tuple[str, np.ndarray, np.ndarray, Any]] = []
    if path.exists():
        old = Derived.load(path)
        if old.exits != model.exits or old.measure != measure:
            raise DataError(
                f"{path} contains {old.measure} at exits {list(old.exits)}; expected {measure} at "
                f"{list(model.exits)}: "
                "use another file"
            )
        counts = [None] * len(old.names) if old.counts is None else list(old.counts)
        rows = list(zip(old.names, old.quality, old.features, counts, strict=True))
    done = {row[0] for row in rows}
    training = model.training
    model.eval()
    unsaved = 0
    for batch in batches:
        names = [s.get("img_path", "") for s in batch["data_samples"]]
        wanted = [i for i, name in enumerate(names) if name not in done]
        if not wanted:
            continue
        part = {key: [value[i] for i in wanted] for key, value in batch.items()}
        rows += _measure(model, part, measure, keep_counts)
        unsaved += len(wanted)
        if unsaved >= save_every:
            _collect(rows, model.exits, measure).save(path)
            unsaved = 0
    model.train(training)
    derived = _collect(rows, model.exits, measure)
    if unsaved or not path.exists():
        derived.save(path)
    return derived


def _measure(model: EarlyExits, batch: dict, measure: str, keep_counts: bool) -> list:
    data = model.data_preprocessor(batch, False)
    inputs, samples = data["inputs"], data["data_samples"]
    features, predicted = model.predict_exits(inputs, samples)
    quality = np.zeros((len(samples), len(model.exits)))
    counts: list[list] = [[] for _ in samples]
    for column, found in enumerate(predicted):
        for row, sample in enumerate(found):
            quality[row, column], count = image_quality(sample, measure, model.num_classes)
            counts[row].append(count)
    kept = keep_counts and measure in COUNTED
    names, vectors = [s.get("img_path", "") for s in samples], features.cpu().numpy()
    return [
        (names[i], quality[i], vectors[i], np.stack(counts[i]).astype(np.float32) if kept else None)
        for i in range(len(samples))
    ]


def _collect(rows: list, exits: tuple[int, ...], measure: str) -> Derived:
    if not rows:
        raise DataError("derive: there are no images")
    names, quality, features, counts = zip(*rows, strict=True)
    kept = None if any(c is None for c in counts) else np.stack(counts)
    return Derived(np.stack(quality), np.stack(features).astype(np.float32), exits, list(names), kept, measure)
