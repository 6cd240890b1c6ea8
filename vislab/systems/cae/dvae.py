"""Target of image tokens: the codes of DALL-E's discrete VAE, as in the published CAE and BEiT.

An image of values in [0, 1] becomes one of 8192 codes for each 8x8 pixels. Names of the parameters are those of the
published weights (w and b), which are loaded from safetensors or from a file of tensors; the published `encoder.pkl`
pickles classes of a package, and is converted once, where it is trusted:

    encoder = torch.load("encoder.pkl", weights_only=False)
    torch.save({name: value.float() for name, value in encoder.state_dict().items()}, "dalle_encoder.pth")

Paper: Ramesh et al., "Zero-Shot Text-to-Image Generation", arXiv 2102.12092, appendix A.
"""

import math
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.io.paths import expand_path
from vislab.io.weights import check_types, read_weights
from vislab.models.encoders.vit import ViT
from vislab.models.meta_device import meta_device
from vislab.registry import MODELS
from vislab.systems.cae.frozen import Frozen
from vislab.systems.cae.targets import MaskedBatch, Target

STRIDE = 8
NUM_CODES = 8192
_WIDTH, _GROUPS, _BLOCKS = 256, 4, 2
_MARK, _HEAD = "blocks.input.w", "blocks.output.conv.w"


class Conv(nn.Module):
    """Convolution of odd kernel with zero padding; parameters are called w and b."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.b = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.w, std=1 / math.sqrt(in_channels * kernel**2))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.w, self.b, padding=self.w.shape[-1] // 2)


class DvaeBlock(nn.Module):
    """Residual bottleneck with activations before the convolutions: 3x3 three times, then 1x1, times 1/64."""

    gain = 1 / (_GROUPS * _BLOCKS) ** 2

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = out_channels // 4
        self.id_path = Conv(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        sizes = [(in_channels, hidden, 3), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, out_channels, 1)]
        layers = (
            (f"relu_{i}", nn.ReLU()) if kind == "relu" else (f"conv_{i}", Conv(*size))
            for i, size in enumerate(sizes, 1)
            for kind in ("relu", "conv")
        )
        self.res_path = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        return self.id_path(x) + self.gain * self.res_path(x)


class DvaeEncoder(nn.Module):
    """Maps images (B, 3, H, W) in [0, 1] to logits of the codes (B, 8192, H / 8, W / 8), in float32; 53.8 M parameters.

    Args:
        width: Channels of the stem and the first group, doubled by each of the other three. Published: 256.
        num_codes: Number of codes. Published: 8192.
    """

    def __init__(self, *, width: int = _WIDTH, num_codes: int = NUM_CODES) -> None:
        super().__init__()
        widths = [width, *(width * 2**i for i in range(_GROUPS))]
        groups = [self._group(widths[i], widths[i + 1], pool=i + 1 < _GROUPS) for i in range(_GROUPS)]
        output = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=Conv(widths[-1], num_codes, 1)))
        named = {f"group_{i}": group for i, group in enumerate(groups, 1)}
        self.blocks = nn.Sequential(OrderedDict(input=Conv(3, width, 7), **named, output=output))

    @staticmethod
    def _group(in_channels: int, out_channels: int, *, pool: bool) -> nn.Sequential:
        blocks = {f"block_{i}": DvaeBlock(out_channels if i > 1 else in_channels, out_channels) for i in (1, 2)}
        return nn.Sequential(OrderedDict(blocks, **({"pool": nn.MaxPool2d(2)} if pool else {})))

    def forward(self, images: Tensor) -> Tensor:
        # codes are an argmax: in float32, so that they do not depend on the precision of training
        with torch.autocast(images.device.type, enabled=False):
            return self.blocks(0.8 * images.float() + 0.1)

    def codes(self, images: Tensor) -> Tensor:
        """Return the codes (B, H / 8 * W / 8) int64 of images (B, 3, H, W) in [0, 1], in raster order."""
        return self(images).argmax(dim=1).flatten(1)


def load_dvae(path: str | Path) -> DvaeEncoder:
    """Return the encoder with the published weights in a .safetensors file or a file of tensors; `$VISLAB_DATA` works.

    The size is that of the weights. Names may have a prefix, such as `target_generator.` in mmpretrain's files.

    Raises:
        CheckpointError: The file is missing, is no file of weights (a log, a pickle of classes), or has others.
    """
    path = expand_path(str(path), "weights")
    try:
        state = read_weights(path, "weights")
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}\nExpected: the tensors of DALL-E's dVAE encoder in a .safetensors or .pth file. The published "
            "encoder.pkl is a pickle of classes: where it is trusted, load it with its package and save the tensors "
            "alone, torch.save(encoder.state_dict(), 'dalle_encoder.pth')"
        ) from error
    prefix = next((key.removesuffix(_MARK) for key in state if key.endswith(_MARK)), None)
    if prefix is None:
        raise CheckpointError(
            f"{path} holds no dVAE encoder: {_MARK} is not among its {len(state)} tensors, e.g. {next(iter(state))}"
        )
    state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    width, codes = (state[key].shape[0] if key in state and state[key].ndim else 0 for key in (_MARK, _HEAD))
    if width < 4 or not codes:
        raise CheckpointError(f"{path} is no dVAE encoder: {_MARK} or {_HEAD} is missing or has no channels")
    with meta_device():  # compares the shapes before memory is allocated for them
        model = DvaeEncoder(width=width, num_codes=codes)
    own = model.state_dict()
    wrong = sorted(
        {key for key in own if key not in state or state[key].shape != own[key].shape} | (state.keys() - own)
    )
    if wrong:
        raise CheckpointError(
            f"{path} is no dVAE encoder of width {width}: {len(wrong)} tensors are missing, unknown or of "
            f"another shape, e.g. {', '.join(wrong[:3])}"
        )
    check_types(own, state, path)
    broken = [key for key, value in state.items() if not value.isfinite().all()]
    if broken:  # the largest of NaNs is the first code, everywhere
        raise CheckpointError(f"{path} is damaged: NaN or infinity in {', '.join(broken[:3])}. Download it again")
    model.to_empty(device="cpu").load_state_dict(state)
    return model.requires_grad_(False).eval()


@MODELS.register_module()
class DalleTarget(Target):
    """The codes of the masked patches, from a second view of the image (RandomResizedCropTwice); cross-entropy.

    The second view has 8 pixels for each patch: 112x112 for 14x14 patches. The encoder is neither trained nor saved:
    its weights come from the file, also on resuming.

    Args:
        pretrained: File with the tensors of the encoder; see `load_dvae`. False for random weights, for tests: random
            codes teach nothing.

    Raises:
        CheckpointError: The file is missing or no dVAE encoder.
    """

    name = "codes of the DALL-E dVAE"

    def __init__(self, *, pretrained: str | Literal[False]) -> None:
        super().__init__()
        if pretrained is not False and (not isinstance(pretrained, str) or not pretrained):
            raise ConfigError(f"DalleTarget: pretrained={pretrained!r} is neither the path of a file nor False")
        encoder = load_dvae(pretrained) if pretrained else DvaeEncoder()
        self.dvae = Frozen(encoder)
        self.num_codes = len(encoder.blocks.output.conv.b)
        self.view = (0, 0)

    def fit(self, encoder: ViT, latent_dim: int) -> int:
        if encoder.in_channels != 3:
            raise ConfigError(
                f"DalleTarget: the dVAE sees RGB images, the encoder has in_channels={encoder.in_channels}"
            )
        self.view = (STRIDE * encoder.grid[0], STRIDE * encoder.grid[1])
        return self.num_codes

    def labels(self, batch: MaskedBatch) -> Tensor:
        """Return the codes (B, M) int64."""
        views = [sample.get("target_img") for sample in batch.samples or ()]
        if not views or any(view is None or tuple(view.shape[1:]) != self.view for view in views):
            shape = next((tuple(view.shape[1:]) for view in views if view is not None), "none")
            raise DataError(
                f"DalleTarget: the second view of a sample is {shape}, expected {self.view} pixels (h, w), 8 for each "
                f"patch: use RandomResizedCropTwice(target_size={self.view}) in the pipeline"
            )
        images = torch.stack(views).to(batch.images.device, non_blocking=True).float() / 255
        return self.dvae.network.codes(images).gather(1, batch.ids_masked)

    def loss(self, prediction: Tensor, labels: Tensor) -> Tensor:
        # classes stay last: (B * M, codes), without a copy
        return F.cross_entropy(prediction.float().flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)

    def extras(self, prediction: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"token_accuracy": (prediction.detach().argmax(dim=2) == labels).float().mean()}
