"""A Deformable DETR of transformers and one of vislab with equal sizes and weights, for parity and speed tests."""

import copy

import torch

from vislab.models.deformable_detr import DeformableDETR
from vislab.zoo import load_foreign

VARIANTS = {"plain": (False, False), "box_refine": (True, False), "two_stage": (True, True)}
TINY = {
    "backbone": "resnet10t", "dim": 64, "heads": 4, "ffn": 96, "layers": 2, "queries": 20, "classes": 7,
}  # fmt: skip
R50 = {"backbone": "resnet50", "dim": 256, "heads": 8, "ffn": 1024, "layers": 6, "queries": 300, "classes": 91}


def build_peer(size: dict, variant: str):
    """transformers' model with random weights; what starts at zero is random too, and heads are not shared."""
    from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, TimmBackboneConfig

    refine, two_stage = VARIANTS[variant]
    torch.manual_seed(0)
    backbone = TimmBackboneConfig(backbone=size["backbone"], use_pretrained_backbone=False, out_indices=[2, 3, 4])
    config = DeformableDetrConfig(
        backbone_config=backbone,
        d_model=size["dim"], encoder_layers=size["layers"], decoder_layers=size["layers"], num_labels=size["classes"],
        encoder_ffn_dim=size["ffn"], decoder_ffn_dim=size["ffn"], encoder_attention_heads=size["heads"],
        decoder_attention_heads=size["heads"], num_queries=size["queries"], two_stage_num_proposals=size["queries"],
        with_box_refine=refine, two_stage=two_stage, auxiliary_loss=True, dropout=0.0, class_cost=2,
        disable_custom_kernels=True, attn_implementation="sdpa",
    )  # fmt: skip
    peer = DeformableDetrForObjectDetection(config)
    if refine:
        peer.class_embed = torch.nn.ModuleList(copy.deepcopy(x) for x in peer.class_embed)
        peer.model.decoder.bbox_embed = peer.bbox_embed
        if two_stage:
            peer.model.decoder.class_embed = peer.class_embed
    for name, parameter in peer.named_parameters():
        if "sampling_offsets" in name or "attention_weights" in name:
            parameter.data.add_(torch.randn_like(parameter) * (0.05 if name.endswith("weight") else 0.5))
        elif name.endswith("bias") or "embed" in name:
            parameter.data.add_(torch.randn_like(parameter) * 0.02)
    for name, buffer in peer.named_buffers():
        if "running_mean" in name:
            buffer.normal_(std=0.1)
        elif "running_var" in name:
            buffer.uniform_(0.5, 1.5)
    return peer.eval()


def build_ours(size: dict, variant: str) -> DeformableDETR:
    """This project's, with random weights of its own."""
    refine, two_stage = VARIANTS[variant]
    layers = {"num_layers": size["layers"], "num_heads": size["heads"], "ffn_dim": size["ffn"], "dropout": 0.0}
    return DeformableDETR(
        backbone={"name": size["backbone"], "out_indices": (2, 3, 4), "frozen_norms": True, "frozen_stages": 2},
        num_classes=size["classes"], num_queries=size["queries"], dim=size["dim"], box_refine=refine,
        two_stage=two_stage, encoder=layers, decoder=layers,
    ).eval()  # fmt: skip


def build_pair(size: dict, variant: str):
    """(transformers' model, ours) with equal random weights."""
    peer, ours = build_peer(size, variant), build_ours(size, variant)
    report = load_foreign(ours, peer.state_dict(), layout="hf")
    assert not report.missing and not report.unexpected and not report.mismatched, str(report)
    return peer, ours


def random_objects(counts: tuple[int, ...], classes: int, seed: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Labels (T,) and boxes (T, 4), cx, cy, w, h in relative coordinates, of each image."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for count in counts:
        sides = 0.1 + 0.3 * torch.rand(count, 2, generator=generator)
        centers = sides / 2 + (1 - sides) * torch.rand(count, 2, generator=generator)
        labels = torch.randint(0, classes, (count,), generator=generator)
        found.append((labels, torch.cat((centers, sides), dim=1)))
    return found
