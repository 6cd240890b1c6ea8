"""Cityscapes' panoptic annotations, as its own conversion script writes them (createPanopticImgs)."""

import os

from vislab.datasets.coco import CocoDataset
from vislab.errors import DataError
from vislab.registry import DATASETS


@DATASETS.register_module()
class CityscapesPanoptic(CocoDataset):
    """Records as CocoDataset gives them from a panoptic file; images lie in a folder for each city.

    Expected below `data_root`: `gtFine/cityscapes_panoptic_train.json`, the PNG folder of the same name, and
    `leftImg8bit/train/<city>/<id>_leftImg8bit.png`. Give `ann_file`, and `data_prefix` with `img` and `panoptic`.

    The 8 things come first (ids 24..33), then the 11 kinds of stuff; files of other projects usually follow the
    official train ids instead.
    """

    def _read_images(self, images: list[dict]) -> dict[int, dict]:
        for image in images:
            if "id" not in image or "_" not in str(image["id"]):
                raise DataError(
                    f"{self.ann_file}: image entry {image} is not of Cityscapes, whose ids begin with a city"
                )
        named = [image | {"file_name": self._path(str(image["id"]))} for image in images]
        return super()._read_images(named)

    @staticmethod
    def _path(number: str) -> str:
        return os.path.join(number.split("_", 1)[0], f"{number}_leftImg8bit.png")
