"""Cityscapes with panoptic annotations, as written by its conversion script createPanopticImgs."""

import os

from vislab.datasets.coco import CocoDataset
from vislab.errors import DataError
from vislab.registry import DATASETS


@DATASETS.register_module()
class CityscapesPanoptic(CocoDataset):
    """Cityscapes with panoptic annotations; the records are those of CocoDataset for a panoptic file.

    Images are in one folder per city. Expected below `data_root`: `gtFine/cityscapes_panoptic_train.json`, the PNG
    folder of the same name, and `leftImg8bit/train/<city>/<id>_leftImg8bit.png`. Set `ann_file`, and `data_prefix`
    with `img` and `panoptic`.

    The 8 thing classes (ids 24..33) come first, then the 11 stuff classes. Weights of other projects usually use the
    order of the official train ids instead.
    """

    def _read_images(self, images: list[dict]) -> dict[int, dict]:
        for image in images:
            if "id" not in image or "_" not in str(image["id"]):
                raise DataError(
                    f"{self.ann_file}: image entry {image} is not a Cityscapes entry, whose ids begin with a city"
                )
        named = [image | {"file_name": self._path(str(image["id"]))} for image in images]
        return super()._read_images(named)

    @staticmethod
    def _path(number: str) -> str:
        return os.path.join(number.split("_", 1)[0], f"{number}_leftImg8bit.png")
