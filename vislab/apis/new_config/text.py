"""Write a starting config for one's own data: a base for the model and the schedule, and the data in full."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.device import get_device

from vislab.apis.build import load
from vislab.apis.new_config import surveys
from vislab.apis.new_config.surveys import Source, Survey
from vislab.engine.config.check import check_config
from vislab.errors import ConfigError, DataError, check_choice
from vislab.io.atomic import write_text_atomically
from vislab.registry import DATASETS


@dataclass(frozen=True)
class Task:
    """The parts of a config for one task.

    Attributes:
        title: Title of the config.
        dataset: Module and class of the dataset.
        survey: Function of the folder.
        load: Transforms that load labels.
        train, test: Transforms between loading and PackInputs.
        settings: Lines of the config as a function of the survey.
        longest: Images are scaled down so that their longer side has at most this many pixels; half as many without a
            GPU, but for classification, so that the first results come after minutes.
        encoder: Path of the encoder in the model.
        named_classes: Whether the dataset is given the names of the classes.
        labels_first: Whether tests load labels before the image is resized, so that metrics use the resized ones.
    """

    title: str
    dataset: tuple[str, str]
    survey: Callable[[Path], Survey]
    load: Sequence[str]
    train: Sequence[str]
    test: Sequence[str]
    settings: Callable[[Survey], Sequence[str]]
    longest: int
    encoder: str = '["backbone"]'
    named_classes: bool = False
    labels_first: bool = False


_INDENT = "    "
_FIT = "dict(type=Resize, size=size, keep_ratio=True)"
_JITTER = "dict(type=LargeScaleJitter, size=size, ratio_range=(0.8, 1.5))"
_FLIP = "dict(type=RandomFlip, prob=0.5)"
_COLOR = "dict(type=PhotoMetricDistortion)"
_ALL_FLIPS = 'dict(type=RandomFlip, prob=0.75, direction=("horizontal", "vertical", "diagonal"))'


def _count_classes(found: Survey) -> list[str]:
    return [f"model.update(num_classes={len(found.classes)})"]


def _mask_classes(found: Survey) -> list[str]:
    return [f"model.update(num_classes={len(found.classes)}, thing_classes={found.more['things']})"]


TASKS = {
    "classification": Task(
        title="Classification",
        dataset=("image_folder", "ImageFolder"),
        survey=surveys.survey_classification,
        load=(),
        train=("dict(type=RandomResizedCrop, size=size, scale=(0.3, 1.0))", _FLIP),
        test=("dict(type=ResizeShortestEdge, short_edge_length=8 * size // 7)", "dict(type=CenterCrop, size=size)"),
        settings=_count_classes,
        longest=224,
        encoder="",
    ),
    "semantic": Task(
        title="Semantic segmentation",
        dataset=("semantic", "SemSegFolder"),
        survey=surveys.survey_semantic,
        load=("dict(type=LoadSemSeg)",),
        train=(_JITTER, _FLIP, _COLOR),
        test=(_FIT,),
        settings=_count_classes,
        longest=512,
        encoder='["network"]["encoder"]',
        named_classes=True,
    ),
    "depth": Task(
        title="Depth estimation",
        dataset=("rgbd", "RGBDFolder"),
        survey=surveys.survey_depth,
        load=("dict(type=LoadDepth, scale=scale, invalid=(0, 65535))",),
        train=("dict(type=Resize, size=size)", _FLIP, _COLOR),
        test=("dict(type=Resize, size=size)",),
        settings=lambda found: [
            "model.update(max_depth=max_depth)",
            'val_evaluator = dict(type=DepthMetric, max_depth=max_depth, crop="none")',
        ],
        longest=512,
        encoder='["network"]["encoder"]',
    ),
    "instance": Task(
        title="Instance segmentation",
        dataset=("coco", "CocoDataset"),
        survey=partial(surveys.survey_coco, panoptic=False, masks=True),
        load=("dict(type=LoadAnnotations, with_mask=True)",),
        train=(_FLIP, _JITTER),
        test=(_FIT,),
        settings=_mask_classes,
        longest=512,
    ),
    "panoptic": Task(
        title="Panoptic segmentation",
        dataset=("coco", "CocoDataset"),
        survey=partial(surveys.survey_coco, panoptic=True, masks=False),
        load=("dict(type=LoadPanoptic)",),
        train=(_FLIP, _JITTER, "dict(type=PanopticToInstances)"),
        test=(_FIT,),
        settings=_mask_classes,
        longest=512,
    ),
    "detection": Task(
        title="Detection",
        dataset=("coco", "CocoDataset"),
        survey=partial(surveys.survey_coco, panoptic=False, masks=False),
        load=("dict(type=LoadAnnotations)",),
        train=(_FLIP, _JITTER),
        test=(_FIT,),
        settings=_count_classes,
        longest=640,
    ),
    "rotated": Task(
        title="Detection of rotated boxes",
        dataset=("corner_text", "CornerText"),
        survey=surveys.survey_rotated,
        load=("dict(type=LoadAnnotations, with_rbbox=True)",),
        train=(_FIT, _ALL_FLIPS),
        test=(_FIT,),
        settings=_count_classes,
        longest=640,
        named_classes=True,
        labels_first=True,
    ),
}


def new_config(task: str, data: str | Path, out: str | Path, *, weights: bool | str = True) -> list[str]:
    """Write a config for `task` on the folder `data` to `out`, check it, and read images of both sets.

    Args:
        task: A key of TASKS.
        data: Folder with images and labels.
        out: Path of the config; must not exist.
        weights: Weights of the encoder: True for timm's (downloaded once), False for none, or a file.

    Returns:
        What was found, one sentence each.

    Raises:
        ConfigError: Unknown task, or `out` exists or is not a name for a config.
        DataError: The folder does not contain what the task needs, or a file is damaged; no config is written.
    """
    check_choice("task", task, TASKS)
    root, out = Path(data).expanduser().resolve(), Path(out)
    if not root.is_dir():
        raise DataError(f"{data} is not a folder")
    if out.exists():
        raise ConfigError(f"{out} exists: choose another name with --out, or delete it")
    if out.suffix != ".py" or not out.stem.isidentifier():
        raise ConfigError(f"{out}: expected a name such as my_config.py, of letters, digits and underscores")
    if isinstance(weights, str) and not weights.startswith("$"):
        weights = str(Path(weights).expanduser().resolve())  # the config may be used from another folder
    found = TASKS[task].survey(root)
    small = get_device() == "cpu" and task != "classification"
    text = config_text(task, root, found, out.name, weights, longest=TASKS[task].longest // (2 if small else 1))
    write_text_atomically(text, out)
    if small:
        found.notes.append("no GPU was found: images are made small for quick steps. On a GPU, enlarge `size`.")
    try:
        return [*_try_out(out), *found.notes]
    except BaseException:
        out.unlink()
        raise


def _try_out(config: Path) -> list[str]:
    """Check the config and read the first, a middle and the last image of both sets; returns their lengths."""
    cfg = load(config)
    check_config(cfg)
    lengths = []
    for part in ("train", "val"):
        dataset = DATASETS.build(cfg[f"{part}_dataloader"].dataset)
        for index in {0, len(dataset) // 2, len(dataset) - 1}:
            dataset[index]
        lengths.append(f"{part}: {len(dataset):,} images.")
    return lengths


def config_text(task: str, root: Path, found: Survey, name: str, weights: bool | str = True, *, longest: int) -> str:
    """Return the text of the config `name`, for images whose longer side has at most `longest` pixels."""
    plan = TASKS[task]
    module, dataset = plan.dataset
    train = [*plan.load, *plan.train]
    test = [*plan.load, *plan.test] if plan.labels_first else [*plan.test, *plan.load]
    transforms = {line.split("type=")[1].split(",")[0].rstrip(")") for line in [*train, *test]}
    arguments = {"type": Source(dataset), "data_root": Source("data_root")}
    named = {"classes": Source("classes")} if plan.named_classes else {}
    named.update({key: found.more[key] for key in ("label_map",) if key in found.more})
    held_out = {"pipeline": Source("test_pipeline"), "test_mode": True}
    count = f"{len(found.classes)} classes, " if found.classes else ""
    lines = [
        f'"""{plan.title}: {count}{found.count:,} training images.',
        "",
        f"Command:  vislab train {name}",
        '"""',
        "",
        "from mmengine.config import read_base",
        "",
        f"from vislab.datasets.{module} import {dataset}",
        *_block("from vislab.datasets.transforms import (", sorted(transforms | {"LoadImage", "PackInputs"}), ")"),
        *(["from vislab.evaluation.depth import DepthMetric"] if task == "depth" else []),
        "",
        "with read_base():",
        f"    from vislab.configs._base_.start.{task} import *",
        "",
        f"data_root = {_source(root.as_posix())}",
        f"size = {network_size(found.size, longest, square=task == 'classification')}  # of the network's input",
        *(_block("classes = [", [_source(name) for name in found.classes], "]") if plan.named_classes else []),
        *(f"{key} = {found.more[key]!r}" for key in ("scale", "max_depth") if key in found.more),
        *_block("train_pipeline = [", ["dict(type=LoadImage)", *train, "dict(type=PackInputs)"], "]"),
        *_block("test_pipeline = [", ["dict(type=LoadImage)", *test, "dict(type=PackInputs)"], "]"),
        *_dict("train_set", arguments | found.train | named | {"pipeline": Source("train_pipeline")}),
        *_dict("val_set", arguments | found.val | named | held_out),
        "train_dataloader.update(dataset=train_set)",
        "val_dataloader.update(dataset=val_set)",
        *plan.settings(found),
        *([] if weights is True else [f"model{plan.encoder}.update(pretrained={_source(weights)})"]),
    ]
    return "\n".join(lines) + "\n"


def network_size(size: tuple[int, int], longest: int, *, square: bool) -> tuple[int, int] | int:
    """Return (height, width) in multiples of 32 with the shape of `size`, the longer side at most `longest`.

    If `square`, the result is one number: `longest`, or 128 for images that are smaller than half of it.
    """
    if square:
        return longest if min(size) >= longest // 2 else 128
    factor = min(1.0, longest / max(size))
    return tuple(max(32, round(side * factor / 32) * 32) for side in size)


def _dict(name: str, arguments: dict[str, Any]) -> list[str]:
    return _block(f"{name} = dict(", [f"{key}={_source(value)}" for key, value in arguments.items()], ")")


def _block(start: str, items: Sequence[str], end: str) -> list[str]:
    """Return the items in one line if they fit, else one line per item."""
    line = f"{start}{', '.join(items)}{end}"
    if len(line) <= 100 and "dict(type=LoadImage)" not in items:
        return [line.replace("import (", "import ").rstrip(")") if "import" in start else line]
    return [start, *(f"{_INDENT}{item}," for item in items), end]


def _source(value: Any) -> str:
    """Return the source of a value, with double quotes."""
    text = repr(value)
    return text if '"' in text or "\\" in text else text.replace("'", '"')
