"""Create the test pairs (and the 795 labeled training pairs) of NYU Depth v2 from the official files.

    python tools/dataset_converters/nyu_mat.py nyu_depth_v2_labeled.mat splits.mat --out data/nyu

Writes official_splits/{test,train}/<scene type>/rgb_NNNNN.jpg and sync_depth_NNNNN.png (16-bit millimeters, 0 =
unknown) and the lists nyu_test.txt and nyu_train795.txt. The raw depth of the sensor (`rawDepths`) is used, not the
in-painted depth; the color image is black outside the common field of view of both cameras, as in the published
evaluation. Needs h5py (pip install h5py) to read the .mat file.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for checkouts that are not installed
from vislab.cli import run

FOCAL = 518.8579
SEEN_ROWS, SEEN_COLUMNS = slice(7, 474), slice(7, 632)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labeled", type=Path, help="nyu_depth_v2_labeled.mat")
    parser.add_argument("splits", type=Path, help="splits.mat")
    parser.add_argument("--out", type=Path, required=True, help="output folder, e.g. data/nyu")
    return parser.parse_args()


def convert(labeled: Path, splits: Path, out: Path) -> dict[str, int]:
    """Write image pairs and lists to `out`; returns the number of pairs per split.

    Raises:
        VislabError: h5py is not installed.
        DataError: A file is missing or invalid.
    """
    from vislab.errors import DataError, VislabError
    from vislab.io.atomic import write_text_atomically

    try:
        import h5py
    except ImportError:
        raise VislabError("reading a .mat file of version 7.3 needs h5py: pip install h5py") from None
    numbers = _read_splits(splits)
    try:
        file = h5py.File(labeled, "r")
    except OSError as error:
        raise DataError(f"{labeled} is not a .mat file of version 7.3: {error}") from None
    with file:
        missing = [key for key in ("images", "rawDepths", "sceneTypes") if key not in file]
        if missing:
            raise DataError(f"{labeled} has no {', '.join(missing)}; is it nyu_depth_v2_labeled.mat?")
        total = len(file["images"])
        for indices in numbers.values():
            wrong = [index + 1 for index in indices if not 0 <= index < total]
            if wrong:
                raise DataError(f"{splits} refers to image {wrong[0]}, but {labeled} contains 1..{total}")
        for split, indices in numbers.items():
            name = "nyu_test.txt" if split == "test" else "nyu_train795.txt"
            lines = [_write_pair(file, index, out / "official_splits" / split) for index in indices]
            write_text_atomically("".join(f"{line}\n" for line in lines), out / name)  # last: a list has all its files
    return {split: len(indices) for split, indices in numbers.items()}


def _read_splits(path: Path) -> dict[str, list[int]]:
    """Return the 0-based image indices by split; those in the file are 1-based."""
    from scipy.io import loadmat

    from vislab.errors import DataError

    try:
        content = loadmat(path)
        return {s: [int(n) - 1 for n in content[f"{s}Ndxs"].ravel()] for s in ("test", "train")}
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise DataError(f"{path} is not NYU's splits.mat with testNdxs and trainNdxs: {error}") from None


def _write_pair(file, index: int, folder: Path) -> str:
    import cv2
    import numpy as np

    from vislab.io.atomic import write_atomically

    reference = file["sceneTypes"][0][index]
    scene = "".join(chr(c) for c in np.asarray(file[reference]).ravel())
    # the axes in the file are reversed: (3, columns, rows) and (columns, rows)
    rgb = np.asarray(file["images"][index]).transpose(2, 1, 0)  # (480, 640, 3)
    depth = np.asarray(file["rawDepths"][index]).T  # meters
    seen = np.zeros_like(rgb)
    seen[SEEN_ROWS, SEEN_COLUMNS] = rgb[SEEN_ROWS, SEEN_COLUMNS]
    color_name, depth_name = f"{scene}/rgb_{index:05d}.jpg", f"{scene}/sync_depth_{index:05d}.png"
    for name, image in ((color_name, seen[..., ::-1]), (depth_name, (depth * 1000).astype(np.uint16))):
        coded = cv2.imencode(Path(name).suffix, np.ascontiguousarray(image))[1]
        write_atomically(folder / name, lambda file, coded=coded: file.write(coded.tobytes()))
    return f"{color_name} {depth_name} {FOCAL}"


def main(args: argparse.Namespace) -> None:
    for split, count in convert(args.labeled, args.splits, args.out).items():
        print(f"{split}: {count} pairs")


if __name__ == "__main__":
    args = parse_args()
    run(lambda: main(args))
