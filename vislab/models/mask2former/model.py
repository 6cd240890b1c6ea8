"""Mask2Former (Cheng et al., CVPR 2022), for panoptic, instance and semantic segmentation.

A timm backbone with maps of stride 4 to 32, pixel decoder, masked-attention decoder, point-sampled losses, and the
official postprocessing. `num_layers=k` stops the pixel decoder after k encoder layers.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from vislab.errors import ConfigError, DataError
from vislab.models.encoders.swin import use_dense_windows
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.finite import require_finite
from vislab.models.mask2former import inference
from vislab.models.mask2former.criterion import Mask2FormerLoss, Target
from vislab.models.mask2former.mask_decoder import MaskDecoder
from vislab.models.mask2former.pixel_decoder import PixelDecoder, Tokens
from vislab.registry import MODELS
from vislab.structures import DataSample

TASKS = ("panoptic", "instance", "semantic")


@MODELS.register_module()
class Mask2Former(BaseModel):
    """Mask2Former with modes "loss" (dict of weighted losses), "predict" (DataSamples with pred_*) and "tensor".

    Args:
        backbone: Arguments of TimmEncoder, or an encoder with `channels` and four maps of stride 4, 8, 16, 32.
        num_classes: Number of classes without "no object".
        thing_classes: Number of thing classes, if they come first, or their indices. Default: all classes.
        num_queries: Number of queries, the maximum number of segments per image.
        pixel_decoder: Additional arguments of PixelDecoder.
        decoder: Additional arguments of MaskDecoder.
        loss: Additional arguments of Mask2FormerLoss.
        tasks: Results of mode "predict": panoptic (pred_panoptic), instance (pred_instances), semantic (pred_sem_seg).
        score_threshold, overlap_threshold: Thresholds of panoptic postprocessing; see `inference.panoptic`.
        max_instances: Maximum number of instances per image.
        sigmoid_first: Order of operations of semantic postprocessing; see `inference.semantic`.
        rle_masks: Whether pred_instances.masks are COCO RLE instead of (N, H, W) bool.
        data_preprocessor: Config of the data preprocessor, which creates batches.

    Raises:
        ConfigError: The parts do not fit together.
    """

    compiled_parts = ("backbone", "pixel_decoder.layers", "decoder")

    def __init__(
        self,
        *,
        backbone: Annotated[dict, TimmEncoder] | torch.nn.Module,
        num_classes: int,
        thing_classes: int | Sequence[int] | None = None,
        num_queries: int = 100,
        pixel_decoder: Annotated[dict, PixelDecoder] | None = None,
        decoder: Annotated[dict, MaskDecoder] | None = None,
        loss: Annotated[dict, Mask2FormerLoss] | None = None,
        tasks: Sequence[str] = ("panoptic",),
        score_threshold: float = 0.8,
        overlap_threshold: float = 0.8,
        max_instances: int = 100,
        sigmoid_first: bool = False,
        rle_masks: bool = False,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        unknown = [task for task in tasks if task not in TASKS]
        if unknown or not tasks:
            raise ConfigError(f"Mask2Former: tasks={list(tasks)}; known are {', '.join(TASKS)}")
        self.backbone = _build_backbone(backbone)
        if tuple(self.backbone.strides) != (4, 8, 16, 32):
            raise ConfigError(
                f"Mask2Former: the backbone gives maps of strides {tuple(self.backbone.strides)}, expected 4, 8, 16, "
                "32: choose them with out_indices"
            )
        self.pixel_decoder = PixelDecoder(in_channels=self.backbone.channels, **(pixel_decoder or {}))
        self.decoder = MaskDecoder(num_classes=num_classes, num_queries=num_queries, **(decoder or {}))
        self.criterion = Mask2FormerLoss(**(loss or {}))
        self.num_classes = num_classes
        self.tasks = tuple(tasks)
        self.score_threshold, self.overlap_threshold = score_threshold, overlap_threshold
        self.max_instances, self.sigmoid_first, self.rle_masks = max_instances, sigmoid_first, rle_masks
        self.register_buffer("is_thing", _thing_flags(thing_classes, num_classes), persistent=False)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        mode: str = "tensor",
        num_layers: int | Tensor | None = None,
    ) -> dict[str, Tensor] | list[DataSample]:
        """Run the model.

        Args:
            inputs: (B, 3, H, W) preprocessed.
            data_samples: Labels for "loss"; for "predict" the samples to be filled, with img_shape and ori_shape.
            mode: "loss", "predict" or "tensor".
            num_layers: Number of encoder layers, or one per image (B,). Default: all.

        Returns:
            "loss": scalars. "predict": the samples. "tensor": class_logits (B, Q, C + 1) and mask_logits
            (B, Q, H/4, W/4) of the last decoder layer; mask_features (B, D, H/4, W/4); and layer_class_logits (L, B, Q,
            C + 1) and layer_mask_embeddings (L, B, Q, D) of all layers, whose products with mask_features are the
            masks.
        """
        if mode not in ("loss", "predict", "tensor"):
            raise ValueError(f"mode={mode!r} is not one of loss, predict, tensor")
        maps = self.backbone(inputs)
        state = self.pixel_decoder.encode(self.pixel_decoder.project(maps), num_layers)
        if mode == "loss":
            return self.loss(maps[0], state, self.targets(data_samples, inputs))
        if mode == "predict":
            return self.predict(maps[0], state, inputs, data_samples)
        return self.outputs(maps[0], state)

    def outputs(self, finest: Tensor, state: Tokens) -> dict[str, Tensor]:
        """Return the outputs of mode "tensor"."""
        classes, embeddings, features = self.decode(finest, state)
        return {
            "class_logits": classes[-1],
            "mask_logits": mask_logits(embeddings[-1], features),
            "mask_features": features,
            "layer_class_logits": torch.stack(classes),
            "layer_mask_embeddings": torch.stack(embeddings),
        }

    def decode(self, finest: Tensor, state: Tokens) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return class logits and mask embeddings of each decoder output, and the mask features."""
        features, levels = self.pixel_decoder.finish(state, finest)
        classes, embeddings = self.decoder(features, levels, state.sine, state.shapes)
        return classes, embeddings, features

    def loss(self, finest: Tensor, state: Tokens, targets: list[Target]) -> dict[str, Tensor]:
        """Return the losses of all decoder outputs."""
        return self.criterion(*self.decode(finest, state), targets)

    def predict(
        self, finest: Tensor, state: Tokens, inputs: Tensor, samples: Sequence[DataSample] | None
    ) -> list[DataSample]:
        """Return the samples with predictions in the frame of the original images."""
        classes, embeddings, features = self.decode(finest, state)
        require_finite(classes[-1], "class logits")
        samples = [DataSample() for _ in inputs] if samples is None else list(samples)
        padded = tuple(inputs.shape[-2:])
        for i, sample in enumerate(samples):
            logits = mask_logits(embeddings[-1][i : i + 1], features[i : i + 1])[0]
            self.postprocess(classes[-1][i], logits, sample, padded)
        return samples

    def postprocess(self, classes: Tensor, masks: Tensor, sample: DataSample, padded: tuple[int, int]) -> None:
        """Set the predictions of a sample from class logits (Q, C + 1) and mask logits (Q, h, w)."""
        image = tuple(sample.get("img_shape", padded))
        frames = inference.Frames(padded, image, tuple(sample.get("ori_shape", image)))
        if "panoptic" in self.tasks:
            ids, segments = inference.panoptic(
                classes,
                masks,
                frames,
                self.is_thing,
                score_threshold=self.score_threshold,
                overlap_threshold=self.overlap_threshold,
            )
            sample.pred_panoptic = PixelData(data=ids[None], metainfo={"segments_info": segments})
        if "instance" in self.tasks:
            found = inference.instances(
                classes, masks, frames, self.is_thing, max_instances=self.max_instances, rle_masks=self.rle_masks
            )
            sample.pred_instances = InstanceData(**found)
        if "semantic" in self.tasks:
            labels = inference.semantic(classes, masks, frames, sigmoid_first=self.sigmoid_first)
            sample.pred_sem_seg = PixelData(data=labels[None])

    def targets(self, samples: Sequence[DataSample] | None, inputs: Tensor) -> list[Target]:
        """Return the targets of the samples.

        Raises:
            DataError: Labels are missing, masks have another size than the batch, or classes are out of range.
        """
        if samples is None:
            raise DataError("Mask2Former learns from data_samples, and there are none")
        found = []
        for sample in samples:
            name = sample.get("img_path", "a sample")
            instances = sample.get("gt_instances")
            if instances is None or "masks" not in instances or "labels" not in instances:
                raise DataError(
                    f"{name} has no gt_instances with labels and masks: put PanopticToInstances, or "
                    "LoadAnnotations(with_mask=True), before PackInputs"
                )
            labels, masks = instances.labels, instances.masks
            if tuple(masks.shape[-2:]) != tuple(inputs.shape[-2:]):
                raise DataError(
                    f"{name} has masks of {tuple(masks.shape[-2:])} pixels in a batch of {tuple(inputs.shape[-2:])}: "
                    "ImagePreprocessor pads them when pad_labels=True"
                )
            wanted = masks.flatten(1).any(1).bool()  # skip empty masks
            if "ignore" in instances:  # and crowds
                wanted = wanted & ~instances.ignore
            valid = (labels >= 0) & (labels < self.num_classes)
            if labels.device.type != "cpu":  # checked by the criterion, without another synchronization
                state = wanted * torch.where(valid, 1, -1)
                found.append(Target(labels.clamp(0, self.num_classes - 1), masks, state))
                continue
            if not bool(wanted.all()):
                labels, masks, valid = labels[wanted], masks[wanted], valid[wanted]
            if not bool(valid.all()):
                raise DataError(
                    f"{name} has class {int(labels[~valid][0])}, the model has {self.num_classes} (0.."
                    f"{self.num_classes - 1}): num_classes and the data disagree"
                )
            found.append(Target(labels.to(inputs.device), masks.to(inputs.device)))
        return found


def mask_logits(embeddings: Tensor, features: Tensor) -> Tensor:
    """Return mask logits (B, Q, h, w) of embeddings (B, Q, D) and features (B, D, h, w), in float32 or float64."""
    with torch.autocast(features.device.type, enabled=False):
        wide = torch.promote_types(torch.promote_types(embeddings.dtype, features.dtype), torch.float32)
        return torch.bmm(embeddings.to(wide), features.to(wide).flatten(2)).unflatten(2, features.shape[2:])


def _build_backbone(backbone: dict | torch.nn.Module) -> torch.nn.Module:
    if not isinstance(backbone, torch.nn.Module):
        backbone = MODELS.build(backbone) if "type" in backbone else TimmEncoder(**backbone)
    if isinstance(backbone, TimmEncoder):
        use_dense_windows(backbone.model)
    return backbone


def _thing_flags(thing_classes: int | Sequence[int] | None, num_classes: int) -> Tensor:
    indices = (
        range(num_classes if thing_classes is None else thing_classes)
        if thing_classes is None or isinstance(thing_classes, int)
        else thing_classes
    )
    flags = torch.zeros(num_classes, dtype=torch.bool)
    for index in indices:
        if not 0 <= index < num_classes:
            raise ConfigError(f"Mask2Former: things contains class {index}, num_classes is {num_classes}")
        flags[index] = True
    return flags
