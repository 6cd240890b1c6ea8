"""Decoder of Deformable DETR: queries attend to each other and to points of the memory around their references."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError
from vislab.layers.attention import MultiheadAttention
from vislab.layers.deformable_attention import MSDeformAttention, Shapes
from vislab.layers.mlp import MLP
from vislab.layers.position import encode_sine, sine_divisors
from vislab.layers.tables import Tables
from vislab.models.deformable_detr.angles import decode_angles
from vislab.models.deformable_detr.heads import DetectionHead, Detections
from vislab.models.deformable_detr.neck import Levels
from vislab.models.deformable_detr.refinement import refine, upright


@dataclass(frozen=True)
class Queries:
    """Input of the decoder.

    Attributes:
        content: (B, Q, dim).
        reference: Points (B, Q, 2), boxes (B, Q, 4) or rotated boxes (B, Q, 5) in relative coordinates.
        position: (B, Q, dim), added to the content for attention; None if the decoder computes it from the reference.
        mask: (B or 1, 1, Q, Q) bool, True where a query may attend to another one. Default: everywhere.
    """

    content: Tensor
    reference: Tensor
    position: Tensor | None = None
    mask: Tensor | None = None


class DeformableDecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention and feed-forward block, each with residual and post-norm."""

    def __init__(
        self, *, dim: int, num_heads: int, num_levels: int, num_points: int, ffn_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.self_attn = MultiheadAttention(dim=dim, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(dim)  # numbered as in the official project
        self.cross_attn = MSDeformAttention(dim=dim, num_heads=num_heads, num_levels=num_levels, num_points=num_points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm3 = nn.LayerNorm(dim)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self,
        queries: Tensor,
        position: Tensor,
        mask: Tensor | None,
        reference: Tensor,
        memory: Tensor,
        shapes: Shapes,
        memory_mask: Tensor | None,
    ) -> Tensor:
        """Update queries (B, Q, dim).

        Args:
            queries, position, mask: See Queries.
            reference: References on the maps; see MSDeformAttention.
            memory: (B, S, dim).
            shapes: (height, width) of each level.
            memory_mask: (B, S) bool, False at padding.
        """
        placed = queries + position
        queries = self.norm2(queries + self._drop(self.self_attn(placed, placed, queries, mask)))
        seen = self.cross_attn(queries, reference, memory, shapes, position=position, mask=memory_mask)
        queries = self.norm1(queries + self._drop(seen))
        return self.norm3(queries + self._drop(self.linear2(F.relu(self.linear1(queries)))))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class DeformableDecoder(nn.Module):
    """Stack of decoder layers with a head after each layer; with box refinement, each layer moves the references.

    Args:
        dim, num_classes: Channels and number of classes.
        num_levels: Number of levels of the memory.
        num_layers, num_heads, num_points, ffn_dim, dropout: Sizes, as in the encoder.
        rotated: Predict angles; references are rotated boxes.
        box_refine: Predict each layer's boxes relative to those of the layer before, with a head per layer. Otherwise
            all layers share a head and predict relative to the references of the queries.
        box_queries: The queries start from boxes, so that their heads start at 0.
        look_forward_twice: Let the loss of a layer reach the box head of the layer before (DINO).
        output_norm: Apply a LayerNorm to the states before the heads, except for the update of the references (DINO).
        box_position: Compute the query positions of each layer from its references (DAB-DETR).
        eps: Limit of the inverse sigmoid in the update of references; 1e-5 in predictions.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        num_classes: int,
        num_levels: int = 4,
        num_layers: int = 6,
        num_heads: int = 8,
        num_points: int = 4,
        ffn_dim: int = 1024,
        dropout: float = 0.1,
        rotated: bool = False,
        box_refine: bool = True,
        box_queries: bool = False,
        look_forward_twice: bool = False,
        output_norm: bool = False,
        box_position: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if not box_refine and (look_forward_twice or rotated):
            raise ConfigError("DeformableDecoder: look_forward_twice and rotated need box_refine=True")
        if box_position and not box_queries:
            raise ConfigError("DeformableDecoder: box_position=True needs queries with boxes: set two_stage=True")
        self.box_refine, self.look_forward_twice, self.eps = box_refine, look_forward_twice, eps
        self.layers = nn.ModuleList(
            DeformableDecoderLayer(
                dim=dim,
                num_heads=num_heads,
                num_levels=num_levels,
                num_points=num_points,
                ffn_dim=ffn_dim,
                dropout=dropout,
            )
            for _ in range(num_layers)
        )
        self.heads = nn.ModuleList(
            DetectionHead(
                dim=dim, num_classes=num_classes, rotated=rotated, size_bias=0.0 if box_queries or i else -2.0
            )
            for i in range(num_layers if box_refine else 1)
        )
        self.norm = nn.LayerNorm(dim) if output_norm else None
        self.tables = Tables()
        self.position = MLP(dim=2 * dim, hidden_dim=dim, out_dim=dim, num_layers=2) if box_position else None

    def forward(self, queries: Queries, memory: Tensor, levels: Levels) -> list[Detections]:
        """Return the predictions of each layer for a memory (B, S, dim) of `levels`."""
        states, reference = queries.content, queries.reference
        base = reference  # of predictions: with gradient to the layer before, if it looks forward twice
        found = []
        for i, layer in enumerate(self.layers):
            on_maps = levels.on_maps(reference)
            if reference.shape[-1] == 5:
                on_maps = upright(on_maps, levels.shapes)
            position = queries.position if self.position is None else self._position(on_maps, states.dtype)
            states = layer(states, position, queries.mask, on_maps, memory, levels.shapes, levels.mask)
            head = self.heads[i if self.box_refine else 0]
            seen = states if self.norm is None else self.norm(states)
            delta = head.boxes(seen)
            boxes = refine(delta, base if self.look_forward_twice else reference)
            found.append(Detections(seen, head.classes(seen), boxes, head.angle_logits(seen)))
            if self.box_refine and i + 1 < len(self.layers):
                moved = delta if self.norm is None else head.boxes(states)
                base = self._reference(refine(moved, reference, self.eps), head, states)
                reference = base.detach()
        return found

    def _position(self, reference: Tensor, dtype: torch.dtype) -> Tensor:
        """Return query positions (B, Q, dim) from references on the maps; those on the finest map are used."""
        box = reference[:, :, 0] if reference.ndim == 4 else reference
        cx, cy, w, h = box[..., :4].unbind(-1)
        boxes, dim = torch.stack((cy, cx, w, h), dim=-1), self.position.layers[0].in_features // 4
        encoded = encode_boxes(boxes, dim, self.tables)
        return self.position(encoded.to(self.position.layers[0].weight.dtype)).to(dtype)

    @staticmethod
    def _reference(boxes: Tensor, head: DetectionHead, states: Tensor) -> Tensor:
        if head.angles is None:
            return boxes
        with torch.no_grad():
            theta = decode_angles(head.angles(states))[..., None].to(boxes.dtype)
        return torch.cat((boxes, theta), dim=-1)


def encode_boxes(boxes: Tensor, dim: int, tables: Tables) -> Tensor:
    """Return sine encodings (..., 4 * dim) of boxes (..., 4) in relative coordinates, computed in float32."""
    divisors = tables.get(lambda: sine_divisors(dim, device=boxes.device), dim, boxes.device)
    with torch.autocast(boxes.device.type, enabled=False):
        return encode_sine(boxes.float() * (2 * math.pi), divisors).flatten(-2)
