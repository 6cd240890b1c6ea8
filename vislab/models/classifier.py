"""Image classification with hard or soft targets, mixup and cutmix: the base of classifiers, and timm models."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from mmengine.structures import LabelData
from torch import Tensor, nn

from vislab.errors import ConfigError, DataError
from vislab.losses.classification import CrossEntropy
from vislab.models.base import VisionModel, build_part, require_finite
from vislab.models.encoders.initial_weights import are_loaded
from vislab.models.encoders.timm_models import create_model, enable_grad_checkpointing, layer_groups, load_weights
from vislab.models.export_graph import ExportGraph
from vislab.models.preprocessor import ImagePreprocessor
from vislab.registry import MODELS
from vislab.structures import DataSample


class BaseClassifier(VisionModel):
    """Base of classifiers, trained with gt_label and predicting pred_label. Subclasses implement `compute_logits`.

    Args:
        num_classes: Number of classes.
        loss: Module or config, called as loss(logits (B, C), target (B,) or (B, C)). Default: CrossEntropy().
        mixup: Arguments of `timm.data.Mixup` (mixup_alpha, cutmix_alpha, prob, switch_prob, mode, label_smoothing,
            ...), used in training with even batch sizes. Default: disabled.
        data_preprocessor: Module or config that returns a float batch.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        loss: dict | nn.Module | None,
        mixup: dict | None,
        data_preprocessor: dict | nn.Module,
        init_cfg: dict | None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.num_classes = num_classes
        self.loss = build_part(loss, CrossEntropy)
        self.mixup = _mixup(mixup, num_classes, type(self).__name__)

    def compute_logits(self, inputs: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of normalized images (B, C, H, W)."""
        raise NotImplementedError

    def forward_tensor(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> dict[str, Tensor]:
        """Return {"logits": (B, num_classes)} of normalized images (B, C, H, W)."""
        return {"logits": self.compute_logits(inputs)}

    def export_graph(self) -> ExportGraph:
        """Return the logits and the probabilities of images."""

        def run(images: Tensor) -> dict[str, Tensor]:
            logits = self.compute_logits(images).float()
            return {"logits": logits, "scores": logits.softmax(dim=1)}

        parts = [module for name, module in self.named_children() if name not in ("data_preprocessor", "loss")]
        outputs = {"logits": "(batch, classes)", "scores": "(batch, classes), probabilities"}
        return ExportGraph(
            parts,
            run,
            task="classification",
            outputs=outputs,
            preprocessor=self.data_preprocessor,
            any_size=True,
        )

    def forward_predict(self, inputs: Tensor, data_samples: list[DataSample]) -> list[DataSample]:
        """Return the samples with pred_label: label (1,), score (C,) probabilities."""
        scores = require_finite(self.compute_logits(inputs).float(), "logits").softmax(dim=1)  # (B, num_classes)
        for sample, score in zip(data_samples, scores, strict=True):
            sample.pred_label = LabelData(label=score.argmax(keepdim=True), score=score)
        return data_samples

    def forward_loss(self, inputs: Tensor, data_samples: list[DataSample] | None) -> dict[str, Tensor]:
        """Return "loss", a float32 scalar, and without mixup "accuracy", the percentage in the batch."""
        target = _targets(data_samples, self.num_classes, type(self).__name__)
        if self.mixup is not None and self.training:
            if len(inputs) % 2:
                raise ConfigError(
                    f"{type(self).__name__}: mixup needs pairs, but a batch has {len(inputs)} images: set an even "
                    "batch_size and train_dataloader.drop_last=True"
                )
            inputs, target = self.mixup(inputs.clone(), target)
            return {"loss": self.loss(self.compute_logits(inputs), target)}
        logits = self.compute_logits(inputs)
        correct = logits.detach().argmax(dim=1) == target
        return {"loss": self.loss(logits, target), "accuracy": 100.0 * correct.float().mean()}


@MODELS.register_module()
class ImageClassifier(BaseClassifier):
    """A timm model with its classifier, trained with gt_label and predicting pred_label.

    Args:
        name: timm model name, e.g. "resnet50".
        num_classes: Number of classes.
        pretrained: True for timm's weights, False for random weights, or a path as in TimmEncoder; a head with another
            number of classes is not loaded.
        in_channels: Number of input channels.
        img_size: Side or (H, W), for models with position embeddings.
        drop_path_rate: Stochastic depth rate. Default: that of the timm model.
        stem: "cifar" replaces the 7x7 convolution and pooling of ResNets by a 3x3 convolution, for images of 32 pixels.
        grad_checkpointing: Recompute activations in backward instead of storing them.
        loss: Module or config, called as loss(logits (B, C), target (B,) or (B, C)). Default: CrossEntropy().
        mixup: Arguments of `timm.data.Mixup` (mixup_alpha, cutmix_alpha, prob, switch_prob, mode, label_smoothing,
            ...), used in training with even batch sizes. Default: disabled.
        model_args: Additional arguments of the timm model.
        data_preprocessor: Module or config that returns a float batch. Default: an ImagePreprocessor with mean and std
            of the timm model.

    Raises:
        ConfigError: Unknown name or argument, or a stem that the model does not have.
        CheckpointError: The file is missing or does not match the model.
    """

    compiled_parts = ("network",)
    initial_weights: ClassVar[tuple[str, ...]] = ("pretrained",)

    def __init__(
        self,
        *,
        name: str,
        num_classes: int,
        pretrained: bool | str = False,
        in_channels: int = 3,
        img_size: int | Sequence[int] | None = None,
        drop_path_rate: float | None = None,
        stem: Literal["timm", "cifar"] = "timm",
        grad_checkpointing: bool = False,
        loss: dict | nn.Module | None = None,
        mixup: dict | None = None,
        model_args: dict | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        args = dict(model_args or {}, in_chans=in_channels, num_classes=num_classes)
        args.update({"img_size": img_size} if img_size is not None else {})
        args.update({"drop_path_rate": drop_path_rate} if drop_path_rate is not None else {})
        pretrained = pretrained if are_loaded() else False
        network = create_model(name, args, owner="ImageClassifier", download=pretrained is True)
        if data_preprocessor is None:
            stats = network.pretrained_cfg
            data_preprocessor = {"type": ImagePreprocessor, "mean": stats["mean"], "std": stats["std"]}
        super().__init__(
            num_classes=num_classes, loss=loss, mixup=mixup, data_preprocessor=data_preprocessor, init_cfg=init_cfg
        )
        self.network = network
        if stem == "cifar":
            _use_cifar_stem(network, name)
        elif stem != "timm":
            raise ConfigError(f"ImageClassifier: stem={stem!r} is not one of 'timm', 'cifar'")
        if isinstance(pretrained, str):
            load_weights(network, pretrained, optional=self._head_names())
        if grad_checkpointing:
            enable_grad_checkpointing(network, name, owner="ImageClassifier")

    def compute_logits(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)

    def layer_ids(self) -> dict[str, int]:
        """Return the depth of each parameter for layer-wise learning rates: 0 = stem; without the head."""
        head = self._head_names()
        ids = layer_groups(self.network, coarse=False)
        return {f"network.{name}": depth for name, depth in ids.items() if name not in head}

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that timm trains without weight decay."""
        names = self.network.no_weight_decay() if hasattr(self.network, "no_weight_decay") else ()
        return {f"network.{name}" for name in names}

    def _head_names(self) -> set[str]:
        head = {id(p) for p in self.network.get_classifier().parameters()}
        return {name for name, p in self.network.named_parameters() if id(p) in head}


def _targets(data_samples: list[DataSample] | None, num_classes: int, owner: str) -> Tensor:
    """Return the labels (B,) int64.

    Raises:
        DataError: A sample has no label, or an invalid one.
    """
    if not data_samples or any("gt_label" not in sample for sample in data_samples):
        raise DataError(f"{owner}: mode 'loss' needs data_samples with gt_label: the dataset provides no labels")
    target = torch.cat([sample.gt_label.label for sample in data_samples])
    if target.device.type == "cpu" and not bool(((target >= 0) & (target < num_classes)).all()):
        raise DataError(
            f"{owner}: the batch has labels {target.min()}..{target.max()}, expected 0..{num_classes - 1}: "
            "num_classes and the data disagree"
        )
    return target


def _use_cifar_stem(network: nn.Module, name: str) -> None:
    stem = getattr(network, "conv1", None)
    if not isinstance(stem, nn.Conv2d) or not hasattr(network, "maxpool"):
        raise ConfigError(f"ImageClassifier: stem='cifar' is for ResNets with a single first convolution, not {name!r}")
    network.conv1 = nn.Conv2d(stem.in_channels, stem.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()


def _mixup(settings: dict | None, num_classes: int, owner: str):
    if settings is None:
        return None
    from timm.data import Mixup

    try:
        return Mixup(**{"label_smoothing": 0.0, **settings}, num_classes=num_classes)
    except TypeError as error:
        raise ConfigError(f"{owner}: mixup: {error}") from None
