"""Whether labels lie in the frame of their image: the checks that all loading transforms share."""

from vislab.errors import DataError
from vislab.io.file_checks import warn_once
from vislab.io.images import exif_orientation, read_bytes


def sample_name(results: dict) -> str:
    """Returns how messages name a sample."""
    return results.get("img_path") or f"record {results.get('sample_idx', '?')}"


def check_shape(results: dict, shape: tuple[int, int], what: str) -> None:
    """Labels belong to the image as it was loaded, also in test pipelines that resize it before loading them."""
    expected = tuple(results.get("ori_shape", shape))
    if tuple(shape) != expected:
        hint = exif_hint(results, expected[::-1]) if tuple(shape) == expected[::-1] else ""
        raise DataError(
            f"{what} is {shape[0]}x{shape[1]} (h x w), its image {sample_name(results)} is {expected[0]}x{expected[1]}"
            f"{hint}"
        )


def exif_hint(results: dict, stored: tuple[int, int]) -> str:
    """Returns the end of a message about labels of the size `stored`, where EXIF explains it."""
    orientation = exif_orientation(read_bytes(results["img_path"])) if "img_path" in results else 1
    if orientation < 5:
        return ""
    return (
        f". The photo is stored as {stored[0]}x{stored[1]} and turned on reading, as its EXIF orientation "
        f"{orientation} says: if the labels were made on the stored pixels, use LoadImage(exif=False); if on the "
        "turned photo, correct the size that was written"
    )


# what a record contains of labels that were drawn on the image
_DRAWN = ("instances", "segments_info", "seg_map_path", "panoptic_path", "depth_path")


def warn_of_turn(results: dict, data: bytes, shape: tuple[int, int]) -> None:
    """Says once that labels are taken as drawn on the turned photo, where no size tells on which one they were.

    A half turn, a mirror image and a quarter turn of a square leave the size as it is; without the size in the
    annotation file nothing can be compared.

    Args:
        results: The record.
        data: Content of the image file.
        shape: Height and width of the image, turned as its EXIF orientation says.
    """
    if not any(results.get(key) for key in _DRAWN) or (b"Exif\0" not in data[:4096] and b"eXIf" not in data[:4096]):
        return
    orientation = exif_orientation(data)
    told = orientation >= 5 and shape[0] != shape[1] and "height" in results and "width" in results
    if orientation in range(2, 9) and not told:
        warn_once(
            "exif",
            f"{results['img_path']} is turned or mirrored on reading, as its EXIF orientation {orientation} says, and "
            "its labels are taken as drawn on the turned photo. If they were made on the stored pixels, use "
            "LoadImage(exif=False); further photos are not reported",
        )


def check_moves(results: dict, what: str) -> None:
    """Labels lie in the frame of the file: after a crop or a flip they would show another place than the image."""
    moved = [move for move in results.get("moved", ()) if move != "pad"]
    if moved:
        raise DataError(
            f"{what} stands behind a transform that moved the image ({', '.join(moved)}), so that the labels of "
            f"{sample_name(results)} would not fit it: put {what} before that transform"
        )
