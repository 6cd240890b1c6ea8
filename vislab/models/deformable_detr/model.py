"""Deformable DETR (Zhu et al., ICLR 2021) for axis-aligned and rotated boxes, with the parts of DINO and ARS-DETR."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from vislab.errors import ConfigError
from vislab.models.base import VisionModel, build_part, require_finite
from vislab.models.deformable_detr.criterion import DetectionLoss
from vislab.models.deformable_detr.decoder import DeformableDecoder, Queries
from vislab.models.deformable_detr.denoising import Denoising, Noised
from vislab.models.deformable_detr.encoder import DeformableEncoder
from vislab.models.deformable_detr.heads import Detections
from vislab.models.deformable_detr.inference import BoxInference
from vislab.models.deformable_detr.neck import Levels, Neck
from vislab.models.deformable_detr.proposals import Candidates, ProposalHead, choose
from vislab.models.deformable_detr.queries import BoxQueries, LearnedQueries
from vislab.models.deformable_detr.targets import Targets, collect
from vislab.models.encoders.swin import use_dense_windows
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.export_graph import ExportGraph
from vislab.registry import MODELS, TASK_UTILS
from vislab.structures import DataSample


@MODELS.register_module()
class DeformableDETR(VisionModel):
    """Deformable DETR with modes "loss" (weighted losses), "predict" (pred_instances) and "tensor" (raw outputs).

    The three published variants are the default, `box_refine=True`, and `two_stage=True` with box refinement.

    Args:
        backbone: Arguments of TimmEncoder, or an encoder with `channels`.
        num_classes: Number of classes; there is no "no object".
        num_queries: Number of queries, and of proposals in two-stage models.
        dim: Channels of all parts.
        num_levels: Number of levels.
        box_refine: See DeformableDecoder.
        two_stage: Start the queries from the best boxes of a first stage.
        learned_content: Two-stage: learn the content of queries instead of computing it from the proposals.
        rotated: Predict rotated boxes; needs `two_stage`.
        neck, encoder, decoder, proposals: Additional arguments of Neck, DeformableEncoder, DeformableDecoder and
            ProposalHead.
        denoising: Arguments of Denoising; needs `two_stage` and `decoder={"box_position": True}`. None: no denoising.
        loss: DetectionLoss or its arguments.
        inference: BoxInference or its arguments.
        data_preprocessor: Config of the data preprocessor, which creates batches.

    Raises:
        ConfigError: The parts do not fit together.
    """

    compiled_parts = ("backbone", "encoder.layers", "decoder.layers")

    def __init__(
        self,
        *,
        backbone: Annotated[dict, TimmEncoder] | torch.nn.Module,
        num_classes: int,
        num_queries: int = 300,
        dim: int = 256,
        num_levels: int = 4,
        box_refine: bool = False,
        two_stage: bool = False,
        learned_content: bool = False,
        rotated: bool = False,
        neck: Annotated[dict, Neck] | None = None,
        encoder: Annotated[dict, DeformableEncoder] | None = None,
        decoder: Annotated[dict, DeformableDecoder] | None = None,
        proposals: Annotated[dict, ProposalHead] | None = None,
        denoising: Annotated[dict, Denoising] | None = None,
        loss: Annotated[dict, DetectionLoss] | torch.nn.Module | None = None,
        inference: Annotated[dict, BoxInference] | BoxInference | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if rotated and not (two_stage and box_refine):
            raise ConfigError("DeformableDETR: rotated=True needs two_stage=True and box_refine=True")
        if (learned_content or denoising is not None) and not two_stage:
            raise ConfigError("DeformableDETR: learned_content and denoising need two_stage=True")
        box_position = bool((decoder or {}).get("box_position"))
        if two_stage and box_position != learned_content or denoising is not None and not box_position:
            raise ConfigError(
                "DeformableDETR: learned_content=True, denoising and decoder={'box_position': True} go together: "
                "positions of queries come from their boxes in each layer, or content and position from the proposals"
            )
        self.backbone = _build_backbone(backbone)
        sizes = {"dim": dim, "num_levels": num_levels}
        heads = {"dim": dim, "num_classes": num_classes, "rotated": rotated}
        self.neck = Neck(in_channels=self.backbone.channels, **sizes, **(neck or {}))
        self.encoder = DeformableEncoder(**sizes, **(encoder or {}))
        self.decoder = DeformableDecoder(
            num_levels=num_levels, box_refine=box_refine, box_queries=two_stage, **heads, **(decoder or {})
        )
        self.proposals = ProposalHead(**heads, **(proposals or {})) if two_stage else None
        if two_stage:
            self.queries = BoxQueries(dim=dim, num_queries=num_queries, learned_content=learned_content)
        else:
            self.queries = LearnedQueries(dim=dim, num_queries=num_queries)
        self.denoising = None if denoising is None else Denoising(dim=dim, num_classes=num_classes, **denoising)
        loss = loss if isinstance(loss, torch.nn.Module) else {"rotated": rotated, **(loss or {})}
        self.criterion = build_part(loss, DetectionLoss)
        self.inference = build_part(inference, BoxInference, TASK_UTILS)
        self.num_classes, self.rotated = num_classes, rotated

    def forward_tensor(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None) -> dict[str, Tensor]:
        """Return the raw outputs for preprocessed images (B, 3, H, W); samples give the sizes without padding.

        Returns:
            logits (B, Q, classes) and boxes (B, Q, 4), cx, cy, w, h in relative coordinates of the image without
            padding, of the last layer; layer_logits (L, B, Q, classes), layer_boxes (L, B, Q, 4) and layer_states
            (L, B, Q, dim) of all layers; memory (B, S, dim). For rotated boxes also angle_logits (B, Q, 180).
        """
        return self.outputs(*self.encode(inputs, data_samples))

    def forward_loss(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> dict[str, Tensor]:
        """Return the weighted losses; samples need gt_instances with labels and bboxes, or rbboxes if rotated."""
        targets = self.targets(data_samples, inputs)
        return self.loss(*self.encode(inputs, data_samples), targets)

    def forward_predict(self, inputs: Tensor, data_samples: list[DataSample]) -> list[DataSample]:
        """Return the samples with pred_instances in the frame of the original image."""
        return self.predict(*self.encode(inputs, data_samples), inputs, data_samples)

    def export_graph(self, exit: int | None = None) -> ExportGraph:
        """Return the best pairs of query and class, without threshold, after `exit` encoder layers. Default: all."""
        if exit is not None and not 1 <= exit <= len(self.encoder.layers):
            raise ConfigError(f"exit={exit}: this encoder can stop after 1..{len(self.encoder.layers)} layers")

        def run(images: Tensor) -> dict[str, Tensor]:
            levels = self.project(images, None)
            memory = self.encoder(levels, exit)
            output = self.decode(self.first_queries(memory, levels), memory, levels)[-1]
            return self.inference.best_boxes(output, tuple(images.shape[-2:]))

        kind = "5), cx, cy, w, h, theta (radians, clockwise, w >= h)" if self.rotated else "4), x1, y1, x2, y2"
        outputs = {
            "boxes": f"(batch, boxes, {kind} in pixels of the input",
            "scores": "(batch, boxes), best first, 0 to 1",
            "labels": "(batch, boxes) int64, places in the list of classes",
        }
        parts = [self.backbone, self.neck, self.encoder, self.decoder, self.queries]
        parts += [] if self.proposals is None else [self.proposals]
        task = "rotated detection" if self.rotated else "detection"
        return ExportGraph(parts, run, task=task, outputs=outputs, preprocessor=self.data_preprocessor, divisor=32)

    def project(self, inputs: Tensor, samples: Sequence[DataSample] | None) -> Levels:
        """Return the levels of images (B, 3, H, W)."""
        padded = tuple(inputs.shape[-2:])
        sizes = [tuple(s.get("img_shape", padded)) for s in samples] if samples else None
        return self.neck(self.backbone(inputs), sizes, padded)

    def encode(self, inputs: Tensor, samples: Sequence[DataSample] | None) -> tuple[Levels, Tensor]:
        """Return the levels and the memory (B, S, dim) of images (B, 3, H, W)."""
        levels = self.project(inputs, samples)
        return levels, self.encoder(levels)

    def outputs(self, levels: Levels, memory: Tensor) -> dict[str, Tensor]:
        """Return the outputs of mode "tensor"."""
        found = self.decode(self.first_queries(memory, levels), memory, levels)
        outputs = {
            "logits": found[-1].logits,
            "boxes": found[-1].boxes,
            "layer_logits": torch.stack([x.logits for x in found]),
            "layer_boxes": torch.stack([x.boxes for x in found]),
            "layer_states": torch.stack([x.states for x in found]),
            "memory": memory,
        }
        return outputs if found[-1].angle_logits is None else outputs | {"angle_logits": found[-1].angle_logits}

    def loss(self, levels: Levels, memory: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the weighted losses of the first stage, all decoder layers and the denoising queries."""
        candidates, proposals = self.propose(memory, levels)
        queries = self.first_queries(memory, levels, candidates, proposals)
        noised = self.noise(targets)
        found, denoised = self.decode_both(queries, noised, memory, levels)
        return self.with_all_parameters(self.criterion(found, targets, proposals, denoised, noised), noised)

    def predict(self, levels: Levels, memory: Tensor, inputs: Tensor, samples: list[DataSample]) -> list[DataSample]:
        """Store pred_instances in the frame of the original images in `samples`."""
        output = self.decode(self.first_queries(memory, levels), memory, levels)[-1]
        require_finite(output.logits, "class logits")
        self.inference(output, samples, tuple(inputs.shape[-2:]))
        return samples

    def propose(self, memory: Tensor, levels: Levels) -> tuple[Candidates | None, Detections | None]:
        """Return the candidates and the predictions of the first stage for all tokens; None for one stage."""
        if self.proposals is None:
            return None, None
        candidates = self.proposals.candidates(memory, levels)
        return candidates, self.proposals(candidates)

    def first_queries(
        self,
        memory: Tensor,
        levels: Levels,
        candidates: Candidates | None = None,
        proposals: Detections | None = None,
        scores: Tensor | None = None,
    ) -> Queries:
        """Return the queries of the decoder.

        Args:
            memory, levels: Result of `encode`.
            candidates, proposals: Result of `propose`, if it is there; else the first stage predicts the boxes of the
                chosen tokens only.
            scores: (B, S), by which tokens are chosen. Default: the objectness.
        """
        if self.proposals is None:
            return self.queries(memory.shape[0])
        if candidates is None:
            candidates = self.proposals.candidates(memory, levels)
        if scores is None:
            scores = self.proposals.objectness(candidates) if proposals is None else proposals.logits[..., 0]
        with torch.no_grad():
            chosen, _ = choose(candidates, scores, self.queries.num_queries)
            references = self.proposals(chosen).references
        return self.queries(references)

    def noise(self, targets: Targets) -> Noised | None:
        """Return the denoising queries; None without denoising or without objects."""
        return None if self.denoising is None else self.denoising(targets)

    def with_all_parameters(self, losses: dict[str, Tensor], noised: Noised | None) -> dict[str, Tensor]:
        """Return the losses, with zero times the denoising labels if there were no denoising queries.

        DistributedDataParallel requires that all parameters take part in each step.
        """
        if noised is None and self.denoising is not None:
            name = next(iter(losses))
            losses[name] = losses[name] + 0 * self.denoising.labels.weight.sum()
        return losses

    def decode(self, queries: Queries, memory: Tensor, levels: Levels) -> list[Detections]:
        """Return the predictions of the decoder layers."""
        return self.decoder(queries, memory, levels)

    def decode_both(
        self, queries: Queries, noised: Noised | None, memory: Tensor, levels: Levels
    ) -> tuple[list[Detections], list[Detections]]:
        """Return the predictions of the decoder layers for queries and for denoising queries."""
        if noised is None:
            return self.decode(queries, memory, levels), []
        found = self.decode(noised.join(queries), memory, levels)
        return [x[noised.count :] for x in found], [x[: noised.count] for x in found]

    def targets(self, samples: Sequence[DataSample] | None, inputs: Tensor) -> Targets:
        """Return the targets of the samples; see `collect`."""
        return collect(samples, inputs, num_classes=self.num_classes, rotated=self.rotated, model=type(self).__name__)


def _build_backbone(backbone: dict | torch.nn.Module) -> torch.nn.Module:
    if not isinstance(backbone, torch.nn.Module):
        backbone = MODELS.build(backbone) if "type" in backbone else TimmEncoder(**backbone)
    if isinstance(backbone, TimmEncoder):
        use_dense_windows(backbone.model)
    return backbone
