"""Keep small decoded images in memory, for datasets whose images have one size."""

import numpy as np

from vislab.datasets.base import BaseDataset
from vislab.errors import DataError


class InMemoryImages(BaseDataset):
    """Base class of datasets whose records take `img` from a uint8 array (N, H, W, 3) in memory.

    Subclasses give every record a `row` and fill the array with `set_images(images)`, or with `load_images`, which
    reads only the rows in use. The array is shared with worker processes.
    """

    _images: np.ndarray | None = None
    _place: dict[int, int] | None = None  # row -> index in the array; None: identical

    def set_images(self, images: np.ndarray) -> None:
        """Set the images (N, H, W, 3) uint8 of all rows."""
        self._images, self._place = images, None

    def load_images(self, read) -> None:
        """Load the images of all records with `read(path)` -> (H, W, 3) uint8.

        Raises:
            DataError: An image differs in size from the first one.
        """
        records = [self.get_data_info(i) for i in range(len(self))]
        first = read(records[0]["img_path"])
        images = np.empty((len(records), *first.shape), np.uint8)
        for place, record in enumerate(records):
            image = read(record["img_path"])
            if image.shape != first.shape:
                raise DataError(
                    f"cache=True needs images of one size: {record['img_path']} is "
                    f"{image.shape[0]}x{image.shape[1]} "
                    f"(h x w), {records[0]['img_path']} is {first.shape[0]}x{first.shape[1]}. Use cache=False"
                )
            images[place] = image
        self._images, self._place = images, {record["row"]: place for place, record in enumerate(records)}

    def get_data_info(self, idx: int) -> dict:
        record = super().get_data_info(idx)
        if self._images is not None:
            row = record["row"]
            record["img"] = self._images[row if self._place is None else self._place[row]].copy()
        return record
