"""Read the inputs of predictions: arrays, PIL images, files, folders, videos and URLs."""

import http.client
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image, ImageOps

from vislab.errors import DataError
from vislab.io.download import is_address, is_offline, open_address, proxy_note
from vislab.io.images import decode_rgb, read_rgb
from vislab.io.listing import IMAGE_SUFFIXES, choose_images, is_video, list_files
from vislab.io.video import read_frames

ImageLike: TypeAlias = np.ndarray | Image.Image | str | Path
Inputs: TypeAlias = ImageLike | Iterable[ImageLike]
_TIMEOUT = 30  # seconds
_RESULTS = ("", "_sem_seg", "_panoptic", "_depth", "_image")  # suffixes of the result files of an input


def read_image(source: ImageLike, name: str = "the image") -> np.ndarray:
    """Return an image as (H, W, 3) uint8 RGB.

    Args:
        source: An array (H, W, 3) uint8 RGB, (H, W) gray or (H, W, 4) with alpha, which is removed; a PIL image, which
            is rotated by its EXIF orientation; the path of an image file; or an http(s) URL.
        name: Name of an array or PIL image in messages.

    Raises:
        DataError: The source is of another type, or cannot be read.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if isinstance(source, Image.Image):
        return _from_pil(source, name)
    if not isinstance(source, (str, Path)):
        hint = ": pass tensor.permute(1, 2, 0).cpu().numpy()" if hasattr(source, "permute") else ""
        raise DataError(
            f"{name} is a {type(source).__name__}; expected a uint8 array (H, W, 3) RGB, a PIL image, a path or a "
            f"URL{hint}"
        )
    if source == "":
        raise DataError(f"{name or 'the path'} is empty: expected the path of an image")
    if is_address(source):
        return decode_rgb(str(source), fetch(str(source)))
    if is_video(source) or is_folder(source):
        raise DataError(
            f"{source} is a {'folder' if is_folder(source) else 'video'}, not an image: pass it alone or in a list to "
            "Predictor or vislab.apis.predict"
        )
    return read_rgb(str(source))


@dataclass(frozen=True)
class Source:
    """One image that is not read yet.

    Attributes:
        name: Path, URL, or "image 0"; of a frame, "VIDEO/00000".
        read: Function that returns the image (H, W, 3) uint8 RGB, or raises DataError.
        frame, time: Number, and time in seconds, of the frame of a video.
        tag: Anything that belongs to it.
    """

    name: str
    read: Callable[[], np.ndarray]
    frame: int | None = None
    time: Fraction | None = None
    tag: Any = None


def sources(inputs: Inputs, names: str | Sequence[str] | None = None) -> Iterator[Source]:
    """Yield the images of `inputs`: those of folders by path, the frames of videos in order; nothing is read ahead.

    Args:
        inputs: One image, folder or video, or an iterable of them; an array (N, H, W, 3) is N images.
        names: Names of the images. Default: the path or URL, or "image 0".

    Raises:
        DataError: Names are not one per input.
    """
    given = None if names is None else iter([names] if isinstance(names, str) else names)
    count = 0
    for item in _items(inputs):
        own = str(item) if isinstance(item, (str, Path)) else f"image {count}"
        name = own if given is None else next(given, None)
        count += 1
        if name is None:
            raise DataError(f"got {count - 1} names, but there are more images: pass one name per image")
        yield from _expand(item, name)
    if given is not None and next(given, None) is not None:
        raise DataError(f"got more names than the {count} images: pass one name per image")


def _items(inputs: Any) -> Iterable[Any]:
    """Return one or several inputs, or the images of an array (N, H, W, 3), as an iterable."""
    if isinstance(inputs, np.ndarray) and inputs.ndim == 4:
        return inputs
    single = (str, Path, Image.Image, np.ndarray, bytes, dict)
    if isinstance(inputs, single) or hasattr(inputs, "permute") or not isinstance(inputs, Iterable):
        return [inputs]  # read_image refuses what is no image
    return inputs


def _expand(item: Any, name: str) -> Iterator[Source]:
    if isinstance(item, (str, Path)) and not is_address(item):
        if str(item) and is_folder(item):  # "" would be the current folder
            found = _images_in(Path(item))
            if isinstance(found, str):
                yield Source(name, partial(_refuse, DataError(found)))
            else:
                for path in found:
                    yield Source(str(path), partial(read_image, path))
            return
        if is_video(item):
            yield from _frames(item, name)
            return
    yield Source(name, partial(read_image, item, name))


def _frames(path: str | Path, name: str) -> Iterator[Source]:
    number = 0
    try:
        for frame in read_frames(path):
            yield Source(f"{name}/{number:05d}", partial(_identity, frame.pixels), number, frame.time)
            number += 1
    except DataError as error:  # raised by `read`, so that other inputs can follow
        yield Source(name, partial(_refuse, error), number)


def _identity(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _refuse(error: DataError) -> np.ndarray:
    raise error


def count_images(inputs: Inputs) -> int | None:
    """Return the number of images, if it is known without reading files."""
    items = _items(inputs)
    if not isinstance(items, (Sequence, np.ndarray)):
        return None
    total = 0
    for item in items:
        local = isinstance(item, (str, Path)) and not is_address(item)
        if local and is_video(item) and not is_folder(item):
            return None
        found = _images_in(Path(item)) if local and is_folder(item) else ""
        total += 1 if isinstance(found, str) else len(found)
    return total


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    given = f"{name} is an array of {array.dtype} with shape {array.shape}; expected uint8 (H, W, 3) RGB"
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (1, 3, 4):
        raise DataError(f"{given}: pass image.transpose(1, 2, 0)")
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise DataError(f"{given}, or gray (H, W)")
    if array.dtype != np.uint8:
        raise DataError(f"{given} with values 0..255: convert it, e.g. (image * 255).astype('uint8') for 0..1")
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.array(array[..., :3])  # a copy, since torch warns about read-only arrays


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    if image.mode == "F" or image.mode.startswith("I"):
        raise DataError(f"{name} is a PIL image of mode {image.mode}; expected 8 bits per channel: convert it to RGB")
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        image = image.convert("RGBA") if image.mode in ("LA", "PA", "RGBa", "La") else image
        pixels = np.asarray(image if image.mode == "RGBA" else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{name} is a PIL image that cannot be decoded: {error}") from error
    return _from_array(pixels, name)


def is_folder(path: str | Path) -> bool:
    """Return whether `path` is an existing folder; False for invalid names."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def fetch(address: str) -> bytes:
    """Return the content of a URL.

    Raises:
        DataError: There is no response, or an empty one, or VISLAB_OFFLINE is set.
    """
    if is_offline():
        raise DataError(f"VISLAB_OFFLINE is set: download {address} by other means, and pass the file")
    try:
        with open_address(address, timeout=_TIMEOUT) as answer:
            data = answer.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"cannot download {address}{proxy_note(address)}: {reason}. Check the URL, or download it and pass the "
            "file."
        ) from None
    if not data:
        raise DataError(f"cannot download {address}: the response is empty. Check the URL.")
    return data


class Job(NamedTuple):
    """One input, a file or a URL, and the name of its results without suffix."""

    path: Path | str
    name: str
    video: bool


def collect(inputs: Sequence[str | Path]) -> tuple[list[Job], list[str]]:
    """Return the files of `inputs` as jobs, and a message for each invalid input.

    Names are unique; those of files in folders include their subfolder.
    """
    jobs, problems, taken = [], [], set()
    for source in inputs:
        named, problem = _find(source)
        if problem:
            problems.append(problem)
        for path, name in named:
            unique, count = name, 2
            while any(f"{unique}{end}" in taken for end in _RESULTS):
                unique, count = f"{name}_{count}", count + 1
            taken.update(f"{unique}{end}" for end in _RESULTS)
            jobs.append(Job(path, unique, is_video(path)))
    return jobs, problems


def _find(source: str | Path) -> tuple[list[tuple[Path | str, str]], str | None]:
    """Return the files of one input with their names, or an error message."""
    if is_address(source):
        if is_video(urlsplit(source).path):
            return [], f"{source}: videos are not downloaded: download it and pass the file"
        return [(source, Path(unquote(urlsplit(source).path)).stem or "image")], None
    path = Path(source)
    if is_folder(path):
        files = _images_in(path)
        if isinstance(files, str):
            return [], files
        return [(file, str(file.relative_to(path).with_suffix(""))) for file in files], None
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    return ([(path, path.stem)], None) if found else ([], f"{path}: there is no such file or folder")


def _images_in(folder: Path) -> list[Path] | str:
    """Return the sorted paths of the images in a folder and its subfolders, or an error message."""
    try:
        files = [Path(file) for file in sorted(choose_images(list_files(folder), folder))]
    except DataError as error:
        return str(error)
    return files or f"{folder}: the folder contains no images ({' '.join(IMAGE_SUFFIXES)})"
