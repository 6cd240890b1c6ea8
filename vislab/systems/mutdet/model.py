"""MutDet: Deformable DETR that is pre-trained on pseudo boxes with embeddings of their objects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError, check_choice
from vislab.layers.mlp import MLP
from vislab.models.base import build_part
from vislab.models.deformable_detr import BoxInference, DeformableDETR, DetectionLoss
from vislab.models.deformable_detr.decoder import DeformableDecoder, Queries
from vislab.models.deformable_detr.denoising import Denoising, Noised
from vislab.models.deformable_detr.encoder import DeformableEncoder
from vislab.models.deformable_detr.heads import Detections
from vislab.models.deformable_detr.neck import Levels, Neck
from vislab.models.deformable_detr.proposals import Candidates, ProposalHead, gather_rows
from vislab.models.deformable_detr.targets import Targets
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.set_criterion import Matches
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.systems.mutdet.alignment import ContrastiveAlignment
from vislab.systems.mutdet.enhancement import MutualEnhancement, proposal_scores, similarity
from vislab.systems.mutdet.objects import collect_embeddings, embed_crops

Branch = tuple[Detections, list[Detections], list[Detections]]
"""Predictions of the first stage, of the decoder layers for queries, and of these for denoising queries."""
Prompt = tuple[Tensor, Tensor] | None
"""Additions (B, Q, dim) to the content of queries, and the index (B, Q) of the object that each belongs to."""


@MODELS.register_module()
class MutDet(DeformableDETR):
    """Two-stage Deformable DETR with the losses of MutDet's pre-training (Huang et al., ECCV 2024).

    Samples need gt_instances with pseudo boxes, labels (clusters of the embeddings) and `embeddings` (M, dim). The
    features of the encoder and the embeddings enhance each other. Two branches share all weights of the detector: one
    on the enhanced features, with losses named p_<name>, and the plain detector ("siamese head"), which modes "predict"
    and "tensor" run, and which is fine-tuned. Both get the same denoising queries. In each, the last decoder layer's
    states of matched queries are aligned with the (enhanced) embeddings of their objects.

    `pretext` has the modules that only pre-training needs; StartFromPretraining leaves them out. Parts can be switched
    off for ablations: `enhancement=None` with EmbeddingRegression is a pre-training as in DETReg, and with `prompted`,
    `crop_size` and the boxes of RandomPatches as in UP-DETR.

    Args:
        enhancement: Arguments of MutualEnhancement. None: the plain branch only, aligned with the given embeddings.
        enhance_features: Also run the branch on enhanced features; otherwise only embeddings are enhanced.
        align_proposals: Also align the matched tokens of the first stage in the branch on enhanced features.
        siamese: Also run the plain branch; with enhancement=None or enhance_features=False it is the only one.
        alignment: ContrastiveAlignment or its arguments, or the config of another loss. None: its defaults. False: no
            alignment, which leaves the boxes and labels to learn from.
        proposal_score: Score by which tokens with enhanced features become queries, from their objectness logit x and
            largest cosine c: "monotone" for sigmoid(x) (1 + c) / 2, or "published" for x c, in which a higher cosine
            lowers the score where x is negative, as at the start.
        prompted: Add the embedding of object i mod M to query i, and let queries see those of the same object only.
        crop_size: Side of square crops of the objects' boxes, which the frozen backbone embeds: the average of its last
            map. Embeddings in the samples are not used. None: samples have embeddings.

    All other arguments are those of DeformableDETR.

    Attributes:
        find_unused_parameters: True for distributed training if some parameters have no gradient.
    """

    def __init__(
        self,
        *,
        backbone: Annotated[dict, TimmEncoder] | nn.Module,
        num_classes: int,
        enhancement: Annotated[dict, MutualEnhancement] | None = None,
        enhance_features: bool = True,
        align_proposals: bool = True,
        siamese: bool = True,
        alignment: Annotated[dict, ContrastiveAlignment] | nn.Module | Literal[False] | None = None,
        proposal_score: Literal["monotone", "published"] = "monotone",
        prompted: bool = False,
        crop_size: int | None = None,
        num_queries: int = 300,
        dim: int = 256,
        num_levels: int = 4,
        box_refine: bool = True,
        two_stage: bool = True,
        learned_content: bool = True,
        rotated: bool = True,
        neck: Annotated[dict, Neck] | None = None,
        encoder: Annotated[dict, DeformableEncoder] | None = None,
        decoder: Annotated[dict, DeformableDecoder] | None = None,
        proposals: Annotated[dict, ProposalHead] | None = None,
        denoising: Annotated[dict, Denoising] | None = None,
        loss: Annotated[dict, DetectionLoss] | nn.Module | None = None,
        inference: Annotated[dict, BoxInference] | BoxInference | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone, num_classes=num_classes, num_queries=num_queries, dim=dim, num_levels=num_levels,
            box_refine=box_refine, two_stage=two_stage, learned_content=learned_content, rotated=rotated, neck=neck,
            encoder=encoder, decoder=decoder, proposals=proposals, denoising=denoising, loss=loss,
            inference=inference, data_preprocessor=data_preprocessor,
        )  # fmt: skip
        if not two_stage:
            raise ConfigError("MutDet: two_stage=True is needed: the enhanced features choose the queries")
        check_choice("MutDet: proposal_score", proposal_score, ("monotone", "published"))
        if prompted and denoising is not None:
            raise ConfigError("MutDet: prompted=True tells the queries their objects already: set denoising=None")
        if crop_size is not None:
            self._check_crops(crop_size, enhancement)
        self.enhanced = enhancement is not None and enhance_features
        self.siamese = siamese or not self.enhanced
        self.align_proposals = align_proposals and self.enhanced and alignment is not False
        self.proposal_score, self.prompted, self.crop_size = proposal_score, prompted, crop_size
        self.embed_dim = dim if crop_size is None else self.backbone.channels[-1]
        self.pretext = nn.ModuleDict()
        if enhancement is not None:
            self.pretext["enhancement"] = MutualEnhancement(dim=dim, **enhancement)
        if alignment is not False:
            self.pretext["embed"] = MLP(dim=dim, hidden_dim=dim, out_dim=self.embed_dim, num_layers=2)
        if prompted:
            self.pretext["prompt"] = nn.Linear(self.embed_dim, dim)
        self.alignment = None if alignment is False else build_part(alignment, ContrastiveAlignment)
        self.find_unused_parameters = not self.siamese or (
            enhancement is not None and not (self.enhanced and self.align_proposals)
        )

    def _check_crops(self, crop_size: int, enhancement: dict | None) -> None:
        """Raise ConfigError if embeddings of crops of this size cannot be used."""
        if not isinstance(crop_size, int) or crop_size < 8:
            raise ConfigError(f"MutDet: crop_size={crop_size!r} must be an integer of at least 8")
        if enhancement is not None:
            raise ConfigError(
                "MutDet: the enhancement needs embeddings of the first stage: set enhancement=None, or crop_size=None"
            )
        if any(parameter.requires_grad for parameter in self.backbone.parameters()):
            raise ConfigError("MutDet: crop_size needs a frozen backbone: set backbone.frozen_stages=-1")

    def forward_loss(self, inputs: Tensor, data_samples: Sequence[DataSample] | None) -> dict[str, Tensor]:
        """Return the weighted losses of both branches; samples need gt_instances with embeddings."""
        targets = self.targets(data_samples, inputs)
        levels, memory = self.encode(inputs, data_samples)
        if self.crop_size is None:
            objects = collect_embeddings(data_samples, self.embed_dim).to(memory, non_blocking=True)  # (B, T, dim)
        else:
            objects = embed_crops(self.backbone, inputs, targets, self.crop_size).to(memory)  # (B, T, channels)
        filled, noised = targets.state > 0, self.noise(targets)
        prompt = self._prompt(objects, targets.counts) if self.prompted else None
        branches, features = {}, None
        if self.siamese:
            branches[""] = self._plain_branch(memory, levels, noised, prompt)
        if "enhancement" in self.pretext:
            anchors, valid = self.proposals.anchors(levels)
            objects, features = self.pretext["enhancement"](objects, filled, memory, valid, levels.mask)
            if self.enhanced:
                candidates = Candidates(features, anchors)
                branches["p_"] = self._enhanced_branch(candidates, objects, filled, levels, noised, prompt)
        losses = self._losses(branches, targets, noised, objects, features)
        return self.with_all_parameters(losses, noised)

    def _plain_branch(self, memory: Tensor, levels: Levels, noised: Noised | None, prompt: Prompt) -> Branch:
        """Return the outputs of the detector as it is fine-tuned."""
        candidates, proposals = self.propose(memory, levels)
        queries = self.first_queries(memory, levels, candidates, proposals)
        return proposals, *self._decode(queries, noised, memory, levels, prompt)

    def _enhanced_branch(
        self, candidates: Candidates, objects: Tensor, filled: Tensor, levels: Levels, noised: Noised | None, prompt
    ) -> Branch:
        """Return the outputs of the detector on enhanced features, which enter its heads directly."""
        features = candidates.tokens
        proposals = self.proposals(candidates)
        with torch.no_grad():
            cosine = similarity(self.pretext["enhancement"].embed(features), objects, filled)
            scores = proposal_scores(proposals.logits[..., 0].to(cosine.dtype), cosine, self.proposal_score)
        queries = self.first_queries(features, levels, candidates, proposals, scores)
        return proposals, *self._decode(queries, noised, features, levels, prompt)

    def _decode(
        self, queries: Queries, noised: Noised | None, memory: Tensor, levels: Levels, prompt: Prompt
    ) -> tuple[list[Detections], list[Detections]]:
        if prompt is not None:
            content, owner = (x[:, : queries.content.shape[1]] for x in prompt)
            mask = (owner[:, :, None] == owner[:, None])[:, None]  # (B, 1, Q, Q)
            queries = replace(queries, content=queries.content + content, mask=mask)
        return self.decode_both(queries, noised, memory, levels)

    def _prompt(self, objects: Tensor, counts: Sequence[int]) -> Prompt:
        """Return the embeddings (B, T, dim) of the objects 0, 1, ..., M - 1, 0, 1, ... of an image for its queries."""
        empty = objects.shape[1]  # index of a row of zeros, for images without objects
        turns = torch.arange(self.queries.num_queries)
        owner = torch.stack([turns % count if count else torch.full_like(turns, empty) for count in counts])
        owner = owner.to(objects.device, non_blocking=True)  # (B, Q)
        return self.pretext["prompt"](gather_rows(F.pad(objects, (0, 0, 0, 1)), owner)), owner

    def _losses(
        self,
        branches: Mapping[str, Branch],
        targets: Targets,
        noised: Noised | None,
        objects: Tensor,
        features: Tensor | None,
    ) -> dict[str, Tensor]:
        """Return the losses of the branches; all outputs are matched together, with one copy to the host."""
        groups = [layers for _, layers, _ in branches.values()] + [[proposals] for proposals, *_ in branches.values()]
        matched = self.criterion.match(groups, targets, proposals_from=len(branches))
        losses = {}
        for i, (prefix, (proposals, found, denoised)) in enumerate(branches.items()):
            own, own_proposals = matched[i], matched[len(branches) + i]
            values = self.criterion.output_losses(found, targets, own)
            values |= self.criterion.proposal_losses(proposals, targets, own_proposals)
            if noised is not None:
                values |= self.criterion.denoising_losses(denoised, targets, noised, own.images.shape[1])
            if self.alignment is not None:
                values["loss_align"] = self._align(found[-1].states, own[-1], objects, self.pretext["embed"])
                if noised is not None:
                    pairs = replace(own[-1], queries=own[-1].objects)  # positives of the first group
                    values["dn.loss_align"] = self._align(denoised[-1].states, pairs, objects, self.pretext["embed"])
            if prefix and self.align_proposals:
                embed = self.pretext["enhancement"].embed
                values["enc.loss_align"] = self._align(features, own_proposals[-1], objects, embed)
            losses |= {prefix + name: value for name, value in values.items()}
        return losses

    def _align(self, states: Tensor, pairs: Matches, objects: Tensor, embed: nn.Module) -> Tensor:
        """Return the alignment loss of the matched states (B, Q, dim) and objects (B, T, dim)."""
        return self.alignment(embed(states[pairs.images, pairs.queries]), objects[pairs.images, pairs.objects])
