"""CIFAR-10, CIFAR-100 and Fashion-MNIST from torchvision, kept in memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vislab.datasets.class_list import class_index, warn_absent_classes
from vislab.datasets.in_memory import InMemoryImages
from vislab.errors import DataError
from vislab.io.download import is_offline
from vislab.registry import DATASETS


class TorchvisionImages(InMemoryImages):
    """Base of the datasets below. Records have img (H, W, 3) uint8 RGB, img_path ("CIFAR10/train/17") and label.

    Args:
        data_root: Folder of torchvision's files, or to download them to; may contain `$VISLAB_DATA`.
        train: Whether to use the training split, else the test split.
        download: Download the files if they do not exist.
        pipeline: Transforms.
        metainfo: Additional metainfo.
        indices: Use the first n images, or those with these indices.
        test_mode: See BaseDataset.
        lazy_init: Do not read the files yet.

    Raises:
        DataError: The files do not exist, cannot be downloaded, or are damaged.
    """

    def __init__(
        self,
        *,
        data_root: str = "data",
        train: bool = True,
        download: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        self.train = train
        self.download = download
        super().__init__(
            data_root=data_root,
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        import torchvision.datasets  # imported late: takes a second

        name = type(self).__name__
        offline = is_offline()
        download = self.download and not offline
        start = "VISLAB_OFFLINE is set:" if offline else "run once with download=True and a network connection, or"
        remedy = f"{start} copy torchvision's files of {name} there (data/README.md)"
        try:
            found = getattr(torchvision.datasets, name)(self.data_root, train=self.train, download=download)
        except RuntimeError as error:  # not found or corrupted, or the download failed its checksum
            raise DataError(f"{name} in {self.data_root!r}: {error}; {remedy}") from error
        except (OSError, EOFError, ValueError) as error:
            what = "cannot be downloaded" if download else "cannot be read"
            raise DataError(f"{name} {what} ({self.data_root!r}): {type(error).__name__}: {error}; {remedy}") from error
        own = tuple(found.classes)
        classes = self._metainfo["classes"] = self.given_classes or own
        if classes != own:
            warn_absent_classes(classes, own, name)
        places = np.array([class_index(c, classes, name) for c in own])  # label in the file -> label
        images = np.asarray(found.data)
        self.set_images(images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3))
        split = "train" if self.train else "test"
        labels = places[np.asarray(found.targets)].tolist()
        return [{"img_path": f"{name}/{split}/{i}", "label": label, "row": i} for i, label in enumerate(labels)]


@DATASETS.register_module()
class CIFAR10(TorchvisionImages):
    __doc__ = TorchvisionImages.__doc__.replace(
        "Base of the datasets below.", "50,000 + 10,000 images 32x32 of 10 classes."
    )


@DATASETS.register_module()
class CIFAR100(TorchvisionImages):
    __doc__ = TorchvisionImages.__doc__.replace(
        "Base of the datasets below.", "50,000 + 10,000 images 32x32, 100 classes."
    )


@DATASETS.register_module()
class FashionMNIST(TorchvisionImages):
    __doc__ = TorchvisionImages.__doc__.replace(
        "Base of the datasets below.", "60,000 + 10,000 gray images 28x28, 10 classes."
    )
