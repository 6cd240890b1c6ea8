"""Dense prediction models, for metric depth and semantic segmentation, with any network from images to maps.

The network (TimesNet, FPNNetwork, ...) maps images (B, 3, H, W) in [0, 1] to (B, K, H, W). The models define the
meaning of the K channels, the loss, and the mapping of predictions to the original image.
"""

from collections.abc import Mapping, Sequence

import torch
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError, DataError
from vislab.losses import PixelCrossEntropy, SILogLoss
from vislab.models.base import VisionModel, build_part, require_finite
from vislab.models.dense_inference import DenseInference
from vislab.models.export_graph import ExportGraph
from vislab.models.preprocessor import ImagePreprocessor
from vislab.ops.choices import largest
from vislab.registry import MODELS, TASK_UTILS
from vislab.structures import DataSample


class DensePredictor(VisionModel):
    """Base class: modes, inference, and mapping of predictions to the original image.

    Args:
        network: Module or config, which is built with `channels` output channels.
        channels: Number of output channels, K.
        inference: DenseInference or its config. Default: whole images, one view.
        data_preprocessor: Module or config that returns float images in [0, 1], such as an ImagePreprocessor without
            mean and std.
    """

    compiled_parts = ("network",)
    exported_task: str
    exported_outputs: Mapping[str, str]

    def __init__(
        self,
        *,
        network: dict | nn.Module,
        channels: int,
        inference: dict | DenseInference | None,
        data_preprocessor: dict | nn.Module | None,
        init_cfg: dict | None,
    ):
        super().__init__(data_preprocessor=data_preprocessor or {"type": ImagePreprocessor}, init_cfg=init_cfg)
        if isinstance(network, dict):
            given = network.get("out_channels", channels)
            if given != channels:
                raise ConfigError(
                    f"{type(self).__name__}: network.out_channels={given}, but the task needs {channels}: leave it out"
                )
            network = MODELS.build({**network, "out_channels": channels})
        # channels-last convolutions are faster, depthwise ones by a fifth on a CPU
        self.network = network.to(memory_format=torch.channels_last)
        self.inference = build_part(inference, DenseInference, TASK_UTILS)

    def forward_tensor(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> dict[str, Tensor]:
        """Return {"output": (B, K, H, W)}, the output of the network for images (B, 3, H, W) in [0, 1]."""
        return {"output": self.network(inputs)}

    def forward_loss(self, inputs: Tensor, data_samples: list[DataSample] | None) -> dict[str, Tensor]:
        """Return a float32 scalar by name."""
        return self.compute_loss(self.network(inputs), data_samples)

    def forward_predict(self, inputs: Tensor, data_samples: list[DataSample]) -> list[DataSample]:
        """Return the samples with predictions at the size of the original image."""
        maps = require_finite(self.inference(self.network, inputs, self.activate), "predicted values")
        for sample, one in zip(data_samples, maps, strict=True):
            self.fill(sample, _to_original(one, sample))
            sample.set_metainfo({"inference": str(self.inference)})
        return data_samples

    def export_graph(self) -> ExportGraph:
        """Return the maps of whole images; sliding windows and flipped or scaled views are not exported."""
        return ExportGraph(
            [self.network],
            lambda images: self.exported(self.network(images).float()),
            task=self.exported_task,
            outputs=self.exported_outputs,
            preprocessor=self.data_preprocessor,
            divisor=32,
            any_size=True,
        )

    def exported(self, raw: Tensor) -> dict[str, Tensor]:
        """Return the outputs of an export for the raw float32 maps (B, K, H, W) of the network."""
        raise NotImplementedError

    def activate(self, raw: Tensor) -> Tensor:
        """Convert raw float32 maps of one view to the values that are averaged over views."""
        raise NotImplementedError

    def compute_loss(self, raw: Tensor, samples: Sequence[DataSample]) -> dict[str, Tensor]:
        raise NotImplementedError

    def fill(self, sample: DataSample, maps: Tensor) -> None:
        """Set the prediction of a sample from averaged maps (K, h, w) at the size of the original image."""
        raise NotImplementedError


@MODELS.register_module()
class DepthEstimator(DensePredictor):
    """Metric depth estimation: sigmoid(network) * max_depth in meters.

    Args:
        network: Network with one output channel.
        max_depth: Maximum depth of predictions and labels, in meters.
        min_depth: Minimum depth of predictions and labels, in meters.
        loss: Module or config, called as loss(prediction, target), where a target of 0 is ignored. Default:
            SILogLoss().
        inference: See DenseInference. Depth is averaged over views.
        data_preprocessor: Module or config that returns images in [0, 1].

    Predictions: `pred_depth`, (1, h, w) float32 meters in [min_depth, max_depth], clamped after averaging and resizing.
    """

    exported_task = "depth"
    exported_outputs = {"depth": "(batch, 1, height, width), meters"}

    def __init__(
        self,
        *,
        network: dict | nn.Module,
        max_depth: float = 10.0,
        min_depth: float = 1e-3,
        loss: dict | nn.Module | None = None,
        inference: dict | DenseInference | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(
            network=network,
            channels=1,
            inference=inference,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if not 0 < min_depth < max_depth:
            raise ConfigError(f"DepthEstimator: expected 0 < min_depth < max_depth, got {min_depth} and {max_depth}")
        self.min_depth, self.max_depth = min_depth, max_depth
        self.loss = build_part(loss, SILogLoss)

    def activate(self, raw: Tensor) -> Tensor:
        return raw.sigmoid() * self.max_depth

    def exported(self, raw: Tensor) -> dict[str, Tensor]:
        return {"depth": self.activate(raw).clamp(self.min_depth, self.max_depth)}

    def compute_loss(self, raw: Tensor, samples: Sequence[DataSample]) -> dict[str, Tensor]:
        target = _labels(samples, "gt_depth", raw)  # (B, 1, H, W)
        target = target * ((target > self.min_depth) & (target < self.max_depth))
        return {"loss_depth": self.loss(self.activate(raw.float()), target)}

    def fill(self, sample: DataSample, maps: Tensor) -> None:
        sample.pred_depth = PixelData(data=maps.clamp(self.min_depth, self.max_depth))


@MODELS.register_module()
class SemanticSegmentor(DensePredictor):
    """Semantic segmentation.

    Args:
        network: Network with `num_classes` output channels.
        num_classes: Number of classes, at most 255; label 255 is ignored.
        loss: Module or config, called as loss(logits, labels). Default: PixelCrossEntropy().
        inference: See DenseInference. Probabilities are averaged over views; logits are resized for a single view.
        data_preprocessor: Module or config that returns images in [0, 1].

    Predictions: `pred_sem_seg`, (1, h, w) int64.
    """

    exported_task = "semantic segmentation"
    exported_outputs = {
        "logits": "(batch, classes, height, width)",
        "labels": "(batch, height, width) int64, the classes with the largest logits",
    }

    def __init__(
        self,
        *,
        network: dict | nn.Module,
        num_classes: int,
        loss: dict | nn.Module | None = None,
        inference: dict | DenseInference | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(
            network=network,
            channels=num_classes,
            inference=inference,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        self.num_classes = num_classes
        self.loss = build_part(loss, PixelCrossEntropy)

    def activate(self, raw: Tensor) -> Tensor:
        return raw.softmax(dim=1) if self.inference.views > 1 else raw  # argmax needs no softmax for a single view

    def exported(self, raw: Tensor) -> dict[str, Tensor]:
        return {"logits": raw, "labels": largest(raw, dim=1)}

    def compute_loss(self, raw: Tensor, samples: Sequence[DataSample]) -> dict[str, Tensor]:
        labels = _labels(samples, "gt_sem_seg", raw)[:, 0]  # (B, H, W)
        return {"loss_seg": self.loss(raw, labels)}

    def fill(self, sample: DataSample, maps: Tensor) -> None:
        sample.pred_sem_seg = PixelData(data=maps.argmax(dim=0, keepdim=True))


def _labels(samples: Sequence[DataSample] | None, field: str, raw: Tensor) -> Tensor:
    """Return the label maps of the samples as a tensor (B, 1, H, W).

    Raises:
        DataError: A sample has no map, or one of another size than the image.
    """
    maps = [sample.get(field) for sample in samples or ()]
    if len(maps) != len(raw) or any(m is None for m in maps):
        raise DataError(f"training needs {field} in every sample: load it in the train pipeline")
    for sample, m in zip(samples, maps, strict=True):
        if tuple(m.data.shape[-2:]) != tuple(raw.shape[-2:]):
            raise DataError(
                f"{field} of {sample.get('img_path', 'a sample')} is {tuple(m.data.shape[-2:])} (h, w), its image "
                f"{tuple(raw.shape[-2:])}: load labels before the transforms that change the size"
            )
    return torch.stack([m.data for m in maps])


def _to_original(maps: Tensor, sample: DataSample) -> Tensor:
    """Remove the padding of maps (K, H, W), and resize them to `ori_shape` of the sample if it is known."""
    height, width = sample.get("img_shape", maps.shape[-2:])
    maps = maps[:, :height, :width]
    size = tuple(sample.get("ori_shape", (height, width)))
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
