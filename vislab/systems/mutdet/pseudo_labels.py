"""Stage 1: propose boxes in all images of a folder, embed them, and cluster the embeddings.

The boxes and embeddings of each image are written to `OUT.partial` when they are done; a stopped run continues with the
next image. At the end the clusters are fitted, and all is written to one file.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vislab.errors import ConfigError, DataError
from vislab.io.atomic import write_atomically, write_text_atomically
from vislab.io.images import read_rgb
from vislab.io.listing import choose_images, list_files
from vislab.io.run_settings import changed_settings
from vislab.systems.mutdet.codebook import Codebook
from vislab.systems.mutdet.proposals import Proposals, Proposer
from vislab.systems.mutdet.pseudo_file import PseudoImage, PseudoObjects, write_pseudo_labels

Embed = Callable[[np.ndarray, np.ndarray], Any]
_SETTINGS = "settings.json"
_MOST = 200_000  # embeddings that clusters are fitted on
_AHEAD = 8  # images per process whose proposals wait for their embeddings


def image_names(folder: str | Path) -> list[str]:
    """Return the paths of all images below a folder, relative to it and sorted.

    Raises:
        DataError: There are none.
    """
    names = sorted(os.path.relpath(path, folder) for path in choose_images(list_files(folder), folder))
    if not names:
        raise DataError(f"{folder} contains no images")
    return names


def find_objects(
    folder: str | Path,
    work: str | Path,
    proposer: Proposer,
    embed: Embed,
    settings: Mapping[str, Any],
    *,
    workers: int = 0,
) -> Iterator[tuple[int, int, int]]:
    """Propose and embed the objects of all images; yields the number of done images, their total, and of new objects.

    Args:
        folder: Folder of the images.
        work: Folder of the intermediate files.
        proposer: Finds boxes; pickled for other processes.
        embed: Function from an image (H, W, 3) and boxes (M, 5) to a tensor (M, D).
        settings: All that the result depends on; a run that is continued must have the same.
        workers: Number of processes for proposals; 0 uses this one only.

    Raises:
        ConfigError: The folder of intermediate files is that of a run with other settings.
    """
    work, names = Path(work), image_names(folder)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    _start(work, {**settings, "folder": os.path.abspath(folder), "images": len(names), "names": digest[:16]})
    missing = [(i, name) for i, name in enumerate(names) if not _part(work, i).exists()]
    done = len(names) - len(missing)
    propose = partial(_propose, proposer, str(folder))
    for (number, name), found in zip(missing, _each(propose, [n for _, n in missing], workers), strict=True):
        image = read_rgb(os.path.join(folder, name))
        features = np.asarray(embed(image, found.rboxes), np.float32)
        if len(features) != len(found.rboxes):
            raise DataError(f"{name}: {len(found.rboxes)} boxes and {len(features)} embeddings")
        tables = {
            "rboxes": np.asarray(found.rboxes, np.float32),
            "scores": np.asarray(found.scores, np.float32),
            "features": features,
            "size": np.array(image.shape[:2]),
        }
        data = save({key: np.ascontiguousarray(table) for key, table in tables.items()})
        write_atomically(_part(work, number), lambda file, data=data: file.write(data))
        done += 1
        yield done, len(names), len(found.rboxes)


def check_sizes(codebook: Codebook | Mapping[str, int], channels: int, limit: int) -> None:
    """Raise ConfigError if the settings cannot fit an encoder of `channels`, before hours of work are lost."""
    if limit < 1:
        raise ConfigError(f"limit={limit}: at least one object per image")
    if isinstance(codebook, Codebook):
        if len(codebook.mean) != channels:
            raise ConfigError(
                f"the codebook was fitted to embeddings of {len(codebook.mean)} channels, the encoder gives {channels}"
                ": use the encoder of that run"
            )
    elif not 1 <= codebook["dims"] <= channels or codebook["clusters"] < 1:
        raise ConfigError(
            f"dims={codebook['dims']}, clusters={codebook['clusters']}: the encoder gives {channels} channels; "
            f"expected 1 <= dims <= {channels} and at least one cluster"
        )


def finish(
    folder: str | Path, work: str | Path, out: str | Path, codebook: Codebook | Mapping[str, int]
) -> tuple[list[PseudoImage], list[PseudoObjects], Codebook]:
    """Cluster the embeddings and write the file of pseudo labels; returns its content and the codebook.

    Args:
        folder: Folder of the images.
        work: Folder of the intermediate files, of a finished `find_objects`.
        out: Path of the file.
        codebook: A codebook, or arguments of `Codebook.fit`, which uses at most 200,000 embeddings.

    Raises:
        DataError: An intermediate file is damaged.
    """
    names = image_names(folder)
    paths = [_part(Path(work), i) for i in range(len(names))]
    if isinstance(codebook, Mapping):
        codebook = Codebook.fit(_sample_features(paths), **codebook)
    images, objects = [], []
    for name, path in zip(names, paths, strict=True):
        part = _read(path)
        embeddings, labels = codebook.apply(part["features"])
        images.append(PseudoImage(name, *map(int, part["size"])))
        objects.append(PseudoObjects(part["rboxes"], part["scores"], labels, embeddings))
    write_pseudo_labels(out, images, objects, len(codebook.centroids))
    return images, objects, codebook


def _sample_features(paths: Sequence[Path]) -> np.ndarray:
    """Return embeddings (N, D) of all images, or a random choice of about _MOST."""
    counts = [len(_read(path)["rboxes"]) for path in paths]
    share = min(1.0, _MOST / max(sum(counts), 1))
    rng = np.random.default_rng(0)
    chosen = [_read(path)["features"][rng.random(count) < share] for path, count in zip(paths, counts, strict=True)]
    return np.concatenate(chosen)


def _start(work: Path, settings: Mapping[str, Any]) -> None:
    path = work / _SETTINGS
    changed = changed_settings(path, settings)
    if changed is None:
        write_text_atomically(json.dumps(settings), path)
    elif changed:
        shown = ", ".join(f"{key}={value!r}" for key, value in changed.items())
        raise ConfigError(f"{work} is a run with {shown}: repeat these settings, or remove the folder")


def _part(work: Path, number: int) -> Path:
    return work / f"{number:07d}.safetensors"


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, "np") as file:
            return {key: file.get_tensor(key) for key in ("rboxes", "scores", "features", "size")}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is damaged ({error}): remove it and repeat the command") from error


def _propose(proposer: Proposer, folder: str, name: str) -> Proposals:
    path = os.path.join(folder, name)
    return proposer(read_rgb(path), path)


def _each(propose: Callable[[str], Proposals], names: Sequence[str], workers: int) -> Iterator[Proposals]:
    """Yield the proposals of all images in order."""
    if workers < 1:
        yield from map(propose, names)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for start in range(0, len(names), step := _AHEAD * workers):
            yield from pool.map(propose, names[start : start + step])
