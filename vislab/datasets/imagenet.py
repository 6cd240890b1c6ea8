"""ImageNet-1k in folders of synset ids, with the names of its classes."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from vislab.datasets.image_folder import ImageFolder
from vislab.registry import DATASETS

_ALIKE = {"n02012849": "crane (bird)", "n03126707": "crane (machine)"}  # have the same words


@cache
def imagenet_classes() -> dict[str, str]:
    """Return the 1,000 synset ids with a short name each, in the order of the labels.

    The words are those of timm; of several, the first is the name, unless another class has it, too.
    """
    from timm.data import ImageNetInfo  # imported late: takes a second

    info = ImageNetInfo()
    words = {synset: info.label_name_to_description(synset) for synset in info.label_names()}
    first = [text.split(",")[0] for text in words.values()]
    names = {synset: text.split(",")[0] for synset, text in words.items()}
    return {synset: _ALIKE.get(synset, name if first.count(name) == 1 else words[synset])
            for synset, name in names.items()}  # fmt: skip


class _Metainfo:
    """The attribute METAINFO of ImageNet, made when it is first read."""

    def __get__(self, instance: object, owner: type) -> dict[str, tuple[str, ...]]:
        return {"classes": tuple(imagenet_classes().values())}


@DATASETS.register_module()
class ImageNet(ImageFolder):
    """ImageNet-1k, or some of its classes: images under `data_root/split/SYNSET/`, such as train/n01440764/*.JPEG.

    Labels are those of the 1,000 classes, also if folders are missing; `metainfo["classes"]` has the names, such as
    "tench".

    Args:
        data_root, split, cache, pipeline, indices, test_mode, lazy_init: As in ImageFolder.
        classes: Synset ids of the classes to read. Default: all folders.
        metainfo: Additional metainfo, without classes.

    Raises:
        DataError: As in ImageFolder, or a folder is not a synset of ImageNet-1k.
    """

    METAINFO: Mapping[str, Any] = _Metainfo()  # type: ignore[assignment]

    def __init__(
        self,
        *,
        data_root: str,
        split: str = "",
        classes: Sequence[str] | None = None,
        cache: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        super().__init__(
            data_root=data_root,
            split=split,
            classes=classes,
            cache=cache,
            pipeline=pipeline,
            metainfo={**(metainfo or {}), "classes": list(imagenet_classes())},  # folders, replaced below
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )
        self._metainfo["classes"] = tuple(imagenet_classes().values())

    def load_data_list(self) -> list[dict]:
        records = super().load_data_list()
        self._metainfo["classes"] = tuple(imagenet_classes().values())
        return records
