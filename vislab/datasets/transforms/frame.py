"""Checks shared by the loading transforms: labels must be in the coordinate frame of their image."""

from vislab.errors import DataError
from vislab.io.file_checks import warn_once
from vislab.io.images import exif_orientation, read_bytes


def sample_name(results: dict) -> str:
    """Return the name of a sample in messages."""
    return results.get("img_path") or f"record {results.get('sample_idx', '?')}"


def check_shape(results: dict, shape: tuple[int, int], what: str) -> None:
    """Raise DataError unless `shape` is that of the image as loaded, also if the image was resized since."""
    expected = tuple(results.get("ori_shape", shape))
    if tuple(shape) != expected:
        hint = exif_hint(results, expected[::-1]) if tuple(shape) == expected[::-1] else ""
        raise DataError(
            f"{what} is {shape[0]}x{shape[1]} (h x w), its image {sample_name(results)} is {expected[0]}x{expected[1]}"
            f"{hint}"
        )


def exif_hint(results: dict, stored: tuple[int, int]) -> str:
    """Return the end of the message about labels of size `stored`, if EXIF rotation explains it; else ""."""
    orientation = exif_orientation(read_bytes(results["img_path"])) if "img_path" in results else 1
    if orientation < 5:
        return ""
    return (
        f". The photo is stored as {stored[0]}x{stored[1]} and rotated when read, by its EXIF orientation "
        f"{orientation}: if the labels were made on the stored pixels, use LoadImage(exif=False); if on the rotated "
        "photo, correct the size in the annotation file"
    )


# keys of labels that depend on the orientation of the image
_DRAWN = ("instances", "segments_info", "seg_map_path", "panoptic_path", "depth_path")


def warn_of_turn(results: dict, data: bytes, shape: tuple[int, int]) -> None:
    """Warn once that labels are assumed to match the rotated photo, if the image size does not tell.

    Half turns, flips and quarter turns of square images do not change the size, and the size may be missing in the
    annotation file.

    Args:
        results: The record.
        data: Content of the image file.
        shape: Height and width of the image after the EXIF rotation.
    """
    if not any(results.get(key) for key in _DRAWN) or (b"Exif\0" not in data[:4096] and b"eXIf" not in data[:4096]):
        return
    orientation = exif_orientation(data)
    told = orientation >= 5 and shape[0] != shape[1] and "height" in results and "width" in results
    if orientation in range(2, 9) and not told:
        warn_once(
            "exif",
            f"{results['img_path']} is rotated or flipped when read, by its EXIF orientation {orientation}, and its "
            "labels are assumed to match the rotated photo. If they were made on the stored pixels, use "
            "LoadImage(exif=False); further photos are not reported",
        )


def check_moves(results: dict, what: str) -> None:
    """Raise DataError if the image was cropped or flipped before its labels are loaded."""
    moved = [move for move in results.get("moved", ()) if move != "pad"]
    if moved:
        raise DataError(
            f"{what} comes after a transform that changed the frame of the image ({', '.join(moved)}), so the labels "
            f"of {sample_name(results)} would not match it: put {what} before that transform"
        )
