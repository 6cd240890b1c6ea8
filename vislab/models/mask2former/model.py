"""Mask2Former (Cheng et al., CVPR 2022), for panoptic, instance and semantic segmentation.

A timm backbone with maps of stride 4 to 32, pixel decoder, masked-attention decoder, point-sampled losses, and the
official postprocessing. `num_layers=k` stops the pixel decoder after k encoder layers.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from vislab.errors import ConfigError, DataError
from vislab.models.base import VisionModel, build_part, require_finite
from vislab.models.encoders.swin import use_dense_windows
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.export_graph import ExportGraph
from vislab.models.mask2former.criterion import Mask2FormerLoss, Target
from vislab.models.mask2former.inference import MaskInference
from vislab.models.mask2former.mask_decoder import MaskDecoder
from vislab.models.mask2former.pixel_decoder import PixelDecoder, Tokens
from vislab.registry import MODELS, TASK_UTILS
from vislab.structures import DataSample


@MODELS.register_module()
class Mask2Former(VisionModel):
    """Mask2Former with modes "loss" (dict of weighted losses), "predict" (DataSamples with pred_*) and "tensor".

    Args:
        backbone: Arguments of TimmEncoder, or an encoder with `channels` and four maps of stride 4, 8, 16, 32.
        num_classes: Number of classes without "no object".
        thing_classes: Number of thing classes, if they come first, or their indices. Default: all classes.
        num_queries: Number of queries, the maximum number of segments per image.
        pixel_decoder: Additional arguments of PixelDecoder.
        decoder: Additional arguments of MaskDecoder.
        loss: Module or config, called as loss(class_logits, embeddings, mask_features, targets). The default type is
                Mask2FormerLoss.
        inference: MaskInference or its arguments: the tasks of mode "predict" and their thresholds.
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
        loss: Annotated[dict, Mask2FormerLoss] | torch.nn.Module | None = None,
        inference: Annotated[dict, MaskInference] | MaskInference | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone = _build_backbone(backbone)
        if tuple(self.backbone.strides) != (4, 8, 16, 32):
            raise ConfigError(
                f"Mask2Former: the backbone has maps of strides {tuple(self.backbone.strides)}, expected 4, 8, 16, "
                "32: choose them with out_indices"
            )
        self.pixel_decoder = PixelDecoder(in_channels=self.backbone.channels, **(pixel_decoder or {}))
        self.decoder = MaskDecoder(num_classes=num_classes, num_queries=num_queries, **(decoder or {}))
        self.criterion = build_part(loss, Mask2FormerLoss)
        self.inference = build_part(inference, MaskInference, TASK_UTILS)
        self.num_classes = num_classes
        self.register_buffer("is_thing", _thing_flags(thing_classes, num_classes), persistent=False)

    def forward_tensor(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        num_layers: int | Sequence[int] | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the raw outputs for preprocessed images (B, 3, H, W).

        Args:
            inputs: (B, 3, H, W).
            data_samples: Not used.
            num_layers: Number of encoder layers, for the batch or per image. Default: all. The methods of the other
                modes accept it too.

        Returns:
            class_logits (B, Q, C + 1) and mask_logits (B, Q, H/4, W/4) of the last decoder layer; mask_features
            (B, D, H/4, W/4); and layer_class_logits (L, B, Q, C + 1) and layer_mask_embeddings (L, B, Q, D) of all
            layers, whose products with mask_features are the mask logits.
        """
        finest, state = self._encode(inputs, num_layers)
        return self.outputs(finest, state)

    def forward_loss(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None,
        num_layers: int | Sequence[int] | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted losses of all outputs; samples need gt_instances with labels and masks."""
        finest, state = self._encode(inputs, num_layers)
        return self.loss(finest, state, self.targets(data_samples, inputs))

    def forward_predict(
        self,
        inputs: Tensor,
        data_samples: list[DataSample],
        num_layers: int | Sequence[int] | Tensor | None = None,
    ) -> list[DataSample]:
        """Return the samples, with img_shape and ori_shape, filled with the predictions of the tasks."""
        finest, state = self._encode(inputs, num_layers)
        return self.predict(finest, state, inputs, data_samples)

    def export_graph(self, exit: int | None = None) -> ExportGraph:
        """Return the outputs of the last decoder layer after `exit` encoder layers. Default: all layers."""
        depth = self.pixel_decoder.check_num_layers(self.pixel_decoder.num_layers if exit is None else exit)

        def run(images: Tensor) -> dict[str, Tensor]:
            found = self.outputs(*self._encode(images, depth))
            return {"logits": found["class_logits"], "masks": found["mask_logits"]}

        return ExportGraph(
            [self.backbone, self.pixel_decoder, self.decoder],
            run,
            task="segmentation by masks",
            outputs={
                "logits": "(batch, queries, classes + 1), the last for no object; scores are their softmax",
                "masks": "(batch, queries, height / 4, width / 4), logits: inside where positive",
            },
            preprocessor=self.data_preprocessor,
            divisor=32,
        )

    def _encode(self, inputs: Tensor, num_layers: int | Sequence[int] | Tensor | None) -> tuple[Tensor, Tokens]:
        """Return the finest map of the backbone, and the tokens after `num_layers` layers."""
        maps = self.backbone(inputs)
        return maps[0], self.pixel_decoder.encode(self.pixel_decoder.project(maps), num_layers)

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

    def predict(self, finest: Tensor, state: Tokens, inputs: Tensor, samples: list[DataSample]) -> list[DataSample]:
        """Store predictions in the coordinates of the original images in `samples`."""
        classes, embeddings, features = self.decode(finest, state)
        require_finite(classes[-1], "class logits")
        padded = tuple(inputs.shape[-2:])
        for i, sample in enumerate(samples):
            logits = mask_logits(embeddings[-1][i : i + 1], features[i : i + 1])[0]
            self.inference(classes[-1][i], logits, sample, padded, self.is_thing)
        return samples

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
                state = wanted * (2 * valid.long() - 1)
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
