"""Small components for tested configs: a model with a head, a dataset with files, transforms, a metric, hooks."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel

from vislab.datasets.base import BaseDataset
from vislab.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS


@MODELS.register_module()
class PartHead(BaseModel):
    def __init__(self, *, num_classes: int, in_channels: int, dropout: float = 0.0, init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)


@MODELS.register_module()
class PartModel(BaseModel):
    def __init__(
        self,
        *,
        width: int = 8,
        mode: Literal["fast", "exact"] = "fast",
        head: dict | None = None,
        pretrained: bool | str = False,
        use_norm: bool = True,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        return inputs


@DATASETS.register_module()
class PartDataset(BaseDataset):
    METAINFO: ClassVar = {"classes": ("cat", "dog", "bird")}
    path_arguments: ClassVar = ("extra_file",)

    def __init__(self, *, extra_file: str | None = None, length: int = 10, **kwargs):
        super().__init__(**kwargs)


@TRANSFORMS.register_module()
class PartFlip:
    def __init__(self, *, prob: float = 0.5, direction: Literal["horizontal", "vertical"] = "horizontal"):
        self.prob = prob

    def __call__(self, results: dict) -> dict:
        return results


@TRANSFORMS.register_module()
class PartResize:
    def __init__(self, *, size: int | tuple[int, int], keep_ratio: bool = True):
        self.size = size

    def __call__(self, results: dict) -> dict:
        return results


@TRANSFORMS.register_module()
class PartChoice:
    def __init__(self, *, transforms: Sequence[dict]):
        self.transforms = transforms

    def __call__(self, results: dict) -> dict:
        return results


@METRICS.register_module()
class PartAccuracy(BaseMetric):
    def __init__(self, *, topk: int | Sequence[int] = 1, prefix: str | None = None, collect_device: str = "cpu"):
        super().__init__(prefix=prefix, collect_device=collect_device)

    def result_names(self) -> list[str]:
        return ["top1"]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {"top1": 0.0}


@HOOKS.register_module()
class PartHook(Hook):
    """Swallows what it does not know, as mmengine's CheckpointHook does."""

    def __init__(self, interval: int = 1, **kwargs):
        self.kept = kwargs
