"""A frozen segmentation or depth model as a differentiable function of images: how differently it sees two of them."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor
from torch.nn import functional as F

from vislab.apis.predictor import Predictor
from vislab.errors import ConfigError
from vislab.evaluation.frame import require_original_frame
from vislab.models.dense import DepthEstimator, SemanticSegmentor


class FrozenDense:
    """Distance between what a model sees in decoded and in original images; images are resized as for `predict`.

    Args:
        config: As in `Predictor`; the model is a SemanticSegmentor or a DepthEstimator.
        checkpoint: Its weights.

    Raises:
        ConfigError: Another kind of model.
        DataError: At the first image of a size: the test pipeline crops, flips or pads it.
        CheckpointError: The weights are missing or do not fit.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path):
        self.predictor = Predictor(config, checkpoint, device="cpu")
        self.model = self.predictor.model.eval().requires_grad_(False)
        if not isinstance(self.model, SemanticSegmentor | DepthEstimator):
            raise ConfigError(
                f"{config} is a {type(self.model).__name__}; a task is a SemanticSegmentor or a DepthEstimator"
            )
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}

    def identity(self) -> str:
        """Return a hash of the kind of model and of all its weights."""
        digest = sha256(type(self.model).__name__.encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def outputs(self, images: Tensor) -> Tensor:
        """Return raw maps (B, K, h, w) of images (B, 3, H, W) in [0, 1], with gradients."""
        size = self._input_size(tuple(images.shape[-2:]))
        if size != tuple(images.shape[-2:]):
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        inputs = self.model.data_preprocessor({"inputs": images * 255})["inputs"]
        return self.model.forward_tensor(inputs)["output"].float()

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        """Return the distance as a scalar with gradients for `images`.

        Segmentation: KL divergence of the class probabilities from those of the originals, mean over pixels.
        Depth: squared difference of the logarithms, mean over pixels.
        """
        with torch.no_grad():
            expected = self.outputs(originals)
        found = self.outputs(images)
        if isinstance(self.model, DepthEstimator):
            return (self._depth(found).log() - self._depth(expected).log()).square().mean()
        logs = found.log_softmax(dim=1)
        return F.kl_div(logs, expected.log_softmax(dim=1), log_target=True, reduction="none").sum(dim=1).mean()

    @torch.no_grad()
    def measure(self, images: Tensor, originals: Tensor) -> dict[str, float]:
        """Return "same_class", the share of pixels with the class of the originals, or "abs_rel" of their depth."""
        found, expected = self.outputs(images), self.outputs(originals)
        if isinstance(self.model, DepthEstimator):
            found, expected = self._depth(found), self._depth(expected)
            return {"abs_rel": ((found - expected).abs() / expected).mean().item()}
        return {"same_class": (found.argmax(dim=1) == expected.argmax(dim=1)).float().mean().item()}

    def _depth(self, raw: Tensor) -> Tensor:
        return self.model.activate(raw).clamp(self.model.min_depth, self.model.max_depth)

    def _input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size to which the test pipeline brings images of a size."""
        if size not in self._sizes:
            record = {"img": np.zeros((*size, 3), np.uint8), "img_path": "frame", "ori_shape": size, "img_shape": size,
                      "scale_factor": (1.0, 1.0), "sample_idx": 0}  # fmt: skip
            packed = self.predictor.pipeline(record)
            require_original_frame(packed["data_samples"], "task")
            self._sizes[size] = tuple(packed["inputs"].shape[-2:])
        return self._sizes[size]
