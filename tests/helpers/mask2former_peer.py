"""A Mask2Former of transformers and one of vislab with equal sizes and weights, for parity and speed tests."""

import torch

from vislab.models.mask2former import Mask2Former
from vislab.zoo import load_foreign

TINY = {
    "embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (2, 2, 4, 4), "dim": 32, "heads": 4, "ffn": 64,
    "decoder_ffn": 64, "decoder_layers": 4, "encoder_layers": 3, "queries": 12, "classes": 7, "points": 200,
}  # fmt: skip
SWIN_T = {
    "embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "dim": 256, "heads": 8, "ffn": 1024,
    "decoder_ffn": 2048, "decoder_layers": 9, "encoder_layers": 6, "queries": 100, "classes": 133, "points": 12544,
}  # fmt: skip


def build_peer(size: dict, drop_path_rate: float = 0.0):
    """transformers' model with random weights; what starts at zero is random too."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=224, patch_size=4, embed_dim=size["embed_dim"], depths=list(size["depths"]),
        num_heads=list(size["num_heads"]), window_size=7, drop_path_rate=drop_path_rate,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=swin, hidden_dim=size["dim"], feature_size=size["dim"], mask_feature_size=size["dim"],
        encoder_feedforward_dim=size["ffn"], dim_feedforward=size["decoder_ffn"],
        decoder_layers=size["decoder_layers"] + 1, encoder_layers=size["encoder_layers"],
        num_attention_heads=size["heads"], num_queries=size["queries"], num_labels=size["classes"],
        train_num_points=size["points"],
    )  # fmt: skip
    peer = Mask2FormerForUniversalSegmentation(config)
    for name, parameter in peer.named_parameters():
        if "sampling_offsets" in name or "attention_weights" in name or "relative_position" in name:
            parameter.data.add_(torch.randn_like(parameter) * (0.05 if name.endswith("weight") else 0.5))
        elif name.endswith("bias"):
            parameter.data.add_(torch.randn_like(parameter) * 0.02)
    return peer


def build_ours(size: dict, drop_path_rate: float = 0.0) -> Mask2Former:
    """This project's, with random weights of its own."""
    return Mask2Former(
        backbone={
            "name": "swin_tiny_patch4_window7_224", "out_norm": "layer", "drop_path_rate": drop_path_rate,
            "model_args": {
                "embed_dim": size["embed_dim"], "depths": size["depths"], "num_heads": size["num_heads"]
            },
        },
        num_classes=size["classes"], num_queries=size["queries"],
        pixel_decoder={
            "dim": size["dim"], "mask_dim": size["dim"], "num_heads": size["heads"], "ffn_dim": size["ffn"],
            "num_layers": size["encoder_layers"], "norm_groups": 32,
        },
        decoder={
            "dim": size["dim"], "mask_dim": size["dim"], "num_heads": size["heads"], "ffn_dim": size["decoder_ffn"],
            "num_layers": size["decoder_layers"],
        },
        loss={"num_points": size["points"]},
    )  # fmt: skip


def build_pair(size: dict, drop_path_rate: float = 0.0):
    """(transformers' model, ours) with equal random weights."""
    peer, ours = build_peer(size, drop_path_rate), build_ours(size, drop_path_rate)
    report = load_foreign(ours, peer.state_dict(), layout="hf")
    assert not report.missing and not report.unexpected and not report.mismatched, str(report)
    return peer, ours


def random_labels(height: int, width: int, classes: int, counts=(4, 3), seed: int = 1):
    """Class labels and masks of a batch: [(T,) int64], [(T, height, width) uint8]."""
    generator = torch.Generator().manual_seed(seed)
    labels, masks = [], []
    for count in counts:
        labels.append(torch.randint(0, classes, (count,), generator=generator))
        boxes = torch.rand(count, 4, generator=generator)
        mask = torch.zeros(count, height, width, dtype=torch.uint8)
        for m, (x, y, w, h) in zip(mask, boxes.tolist(), strict=True):
            top, left = int(y * height * 0.6), int(x * width * 0.6)
            m[top : top + max(8, int(h * height)), left : left + max(8, int(w * width))] = 1
        masks.append(mask)
    return labels, masks
