"""The official CAE model (Atten4Vis/CAE on GitHub, without a license) beside ours, for tests and the benchmark.
CAE_REPO is a checkout. Its imports for data and logs are replaced by empty modules.
"""

import os
import sys
import types
import warnings
from argparse import Namespace
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import torch
from torch import nn

from vislab.systems.cae import CAE

PARTS = {  # beginnings of names, theirs -> ours
    "encoder.": "encoder.",
    "regresser.regressor_blocks.": "regressor.blocks.",
    "regresser.norm.": "regressor.norm.",
    "encoder_to_regresser_norm.": "regressor.adapter.1.",
    "encoder_to_regresser.": "regressor.adapter.0.",
    "mask_token": "regressor.mask_token",
    "decoder.decoder_blocks.": "decoder.blocks.",
    "decoder.": "decoder.",
}
LAYERS = {
    "norm1_q": "norm_q",
    "norm1_k": "norm_k",
    "norm1_v": "norm_v",
    "norm2_cross": "norm2",
    "cross_attn": "attn",
    "mlp_cross": "mlp",
    "gamma_1_cross": "ls1.gamma",
    "gamma_2_cross": "ls2.gamma",
    "gamma_1": "ls1.gamma",
    "gamma_2": "ls2.gamma",
}


def repository() -> str | None:
    """The checkout of the official repository; None if CAE_REPO is not set or not one."""
    folder = os.environ.get("CAE_REPO")
    return folder if folder and Path(folder, "models/modeling_cae.py").is_file() else None


def build_peer(
    *, form: str = "cae", classes: int = 64, regressor_dim: int, regressor_depth: int, decoder_depth: int, **settings
) -> nn.Module:
    """The official model; `form` is cae or caev2."""
    utils = sys.modules.setdefault("furnace.utils", types.ModuleType("furnace.utils"))
    sys.modules.setdefault("furnace", types.ModuleType("furnace")).utils = utils
    if repository() not in sys.path:
        sys.path.insert(0, repository())
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        from models.modeling_cae import ContextAutoencoderViT

        widths = {"decoder_embed_dim": regressor_dim, "regressor_depth": regressor_depth}
        depths = {"decoder_depth": decoder_depth, "num_out_dim": classes}
        norm = partial(nn.LayerNorm, eps=1e-6)
        model = ContextAutoencoderViT(
            qkv_bias=True,
            norm_layer=norm,
            decoder_num_classes=classes,
            args=Namespace(model_type=form, **widths, **depths),
            **settings,
        )
    for name, parameter in model.named_parameters():
        if name.startswith(("alignment_encoder", "regresser.norm") if form == "caev2" else "alignment_encoder"):
            parameter.requires_grad_(False)
    return model


def run_peer(model: nn.Module, images: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Its logits, latents and alignment target for masks (B, N), on the CPU, where it calls `cuda` too."""
    cuda = torch.Tensor.cuda
    torch.Tensor.cuda = lambda self, *args, **kwargs: self
    try:
        return model(images, masks)
    finally:
        torch.Tensor.cuda = cuda


def our_name(name: str) -> str | None:
    """The name in ours of a tensor of theirs; None if ours has no such tensor."""
    if name.startswith("alignment_encoder.") or name.endswith("pos_embed"):
        return None
    for start, other in PARTS.items():
        if name.startswith(start):
            rest = [LAYERS.get(part, part) for part in name.removeprefix(start).split(".")]
            return other + ".".join(rest) if rest != [""] else other
    raise KeyError(name)


def copy_weights(ours: CAE, peer: nn.Module) -> None:
    """Load all weights of the official model into ours, with no tensor left over."""
    state = {our_name(name): tensor for name, tensor in peer.state_dict().items()}
    state.pop(None, None)
    if not any(name.startswith("regressor.norm.") for name, _ in ours.named_parameters()):
        state = {name: tensor for name, tensor in state.items() if not name.startswith("regressor.norm.")}
    ours.load_state_dict(state, strict=True)
