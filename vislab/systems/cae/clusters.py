"""Target of clusters: soft assignments of the latents of a slowly moving teacher to trained prototypes (CAPI).

The teacher is the model's moving average of the encoder and sees the whole image. Its latents are assigned to
prototypes by Sinkhorn's algorithm for each position on its own, across the images of the batch: otherwise the position
itself would be the easiest cluster. The prototypes learn to predict the assignments from the same latents, the model
from the visible patches. In a config:

    model = dict(ema_decay=0.999, target_context="full", alignment_weight=0.0, target=dict(type=ClusterTarget))
    custom_hooks = [dict(type=TeacherDecayHook)]
    optim_wrapper = dict(paramwise_cfg=dict(lr_mult={"target.prototypes": 0.5}))

Paper: Darcet et al., "Cluster and Predict Latent Patches for Improved Masked Image Modeling", arXiv 2502.08769.
"""

import math

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError, DataError
from vislab.models.encoders.vit import ViT
from vislab.ops.patches import take_rows
from vislab.registry import HOOKS, MODELS
from vislab.systems.cae.targets import MaskedBatch, Target, wide

_FLOOR = -80.0  # exp(-80) is a normal float32, also after division by a batch
_NORM_EPS = 1e-7


@torch.no_grad()
def sinkhorn(scores: Tensor, iterations: int = 3) -> Tensor:
    """Return soft assignments of scores (..., n, K), n samples to K clusters: each row sums to 1.

    Each iteration scales the columns of exp(scores) to equal sums, over the samples of all processes, then the rows to
    sums of 1. With many iterations all clusters get n / K. Scores more than 80 below the best sample of their cluster
    count as 80 below it, so that a sample far from all clusters still has a finite assignment.
    """
    scores = wide(scores)
    best = scores.amax(dim=-2, keepdim=True)
    dist.all_reduce(best, op="max")
    plan = (scores - best).clamp_(min=_FLOOR).exp_()
    rows = plan.new_ones(*plan.shape[:-1], 1)
    # only factors of rows and columns change: the matrix is read twice an iteration, and written once at the end
    for _ in range(iterations):
        totals = rows.mT @ plan  # (..., 1, K)
        dist.all_reduce(totals, op="sum")
        columns = totals.mean(dim=-1, keepdim=True) / totals  # to equal sums, keeping the total
        rows = 1 / (plan @ columns.mT)  # (..., n, 1)
    return plan.mul_(rows).mul_(columns)


@MODELS.register_module()
class ClusterTarget(Target):
    """Assignments of the teacher's latents to prototypes; the loss is the cross-entropy of the prediction.

    If the mask transform has `num_predicted`, only these patches count. In evaluation the assignments are the softmax
    of each patch on its own, so that they do not depend on the other images of the batch.

    Args:
        num_clusters: Number of prototypes. Published: 16,384 for ImageNet-22k; 512 to 2,048 suit small sets.
        target_temperature: Temperature of the assignments.
        prediction_temperature: Temperature of the predictions.
        iterations: Iterations of Sinkhorn's algorithm.

    Logs `cluster_perplexity`, the effective number of clusters in use, and adds `loss_prototypes`.
    """

    name = "clusters"
    needs_latents = True

    def __init__(
        self,
        *,
        num_clusters: int = 1024,
        target_temperature: float = 0.06,
        prediction_temperature: float = 0.12,
        iterations: int = 3,
    ) -> None:
        super().__init__()
        if num_clusters < 2 or iterations < 1:
            raise ConfigError(
                f"ClusterTarget: num_clusters={num_clusters}, iterations={iterations}: expected at least 2 and 1"
            )
        if min(target_temperature, prediction_temperature) <= 0:
            raise ConfigError(
                f"ClusterTarget: target_temperature={target_temperature}, prediction_temperature="
                f"{prediction_temperature} must be above 0"
            )
        self.num_clusters, self.iterations = num_clusters, iterations
        self.target_temperature, self.prediction_temperature = target_temperature, prediction_temperature

    def fit(self, encoder: ViT, latent_dim: int) -> int:
        """Create the prototypes of the teacher and those of the prediction; a prediction has the latents' channels."""
        self.prototypes = nn.Linear(latent_dim, self.num_clusters)
        nn.init.normal_(self.prototypes.weight)
        nn.init.zeros_(self.prototypes.bias)
        head = nn.Linear(latent_dim, self.num_clusters, bias=False)
        nn.init.trunc_normal_(head.weight, std=0.02)
        self.head = nn.utils.parametrizations.weight_norm(head)
        with torch.no_grad():
            self.head.parametrizations.weight.original0.fill_(1)  # lengths of the rows
        return latent_dim

    def labels(self, batch: MaskedBatch) -> dict[str, Tensor]:
        """Return the assignments and what the loss of the prototypes needs.

        Returns:
            "assignments": (B, M, K) of the masked patches; "weights": (B, M), mean 1, 0 for patches that do not count;
            "all": (N, B, K), assignments of all patches; "logits": (N, B, K), of the prototypes, with gradient.
        """
        if batch.all_latents is None:
            raise ConfigError('ClusterTarget: the teacher sees whole images: set target_context="full" of the model')
        if self.training and len(batch.images) * dist.get_world_size() < 2:
            raise DataError("ClusterTarget: a batch of one image has no clusters across images: use a larger batch")
        latents = wide(batch.all_latents).transpose(0, 1)  # (N, B, D)
        with torch.enable_grad(), torch.autocast(latents.device.type, enabled=False):
            logits = self.prototypes(F.normalize(latents, dim=2, eps=_NORM_EPS))
        scores = logits.detach() / self.target_temperature
        every = sinkhorn(scores, self.iterations) if self.training else scores.softmax(dim=2)
        masked = take_rows(every.transpose(0, 1), batch.ids_masked)
        return {"assignments": masked, "weights": _weights(batch), "all": every, "logits": logits}

    def loss(self, prediction: Tensor, labels: dict[str, Tensor]) -> Tensor:
        with torch.autocast(prediction.device.type, enabled=False):
            logits = self.head(F.normalize(wide(prediction), dim=2))
        return self._cross_entropy(labels["assignments"], logits) * labels["weights"]

    def extras(self, prediction: Tensor, labels: dict[str, Tensor]) -> dict[str, Tensor]:
        share = labels["all"].mean(dim=(0, 1))
        return {
            "loss_prototypes": self._cross_entropy(labels["all"], labels["logits"]).mean(),
            "cluster_perplexity": torch.special.entr(share).sum().exp(),
        }

    def _cross_entropy(self, assignments: Tensor, logits: Tensor) -> Tensor:
        return -(assignments * (logits / self.prediction_temperature).log_softmax(dim=-1)).sum(dim=-1)


def _weights(batch: MaskedBatch) -> Tensor:
    """Return weights (B, M) of the masked patches: mean 1, 0 for those that are not to be predicted."""
    marks = [sample.get("predict_mask") for sample in batch.samples or ()]
    if not marks or any(mark is None for mark in marks):
        return torch.ones_like(batch.ids_masked, dtype=torch.float32)
    chosen = torch.stack(marks).flatten(1).to(batch.images.device, torch.float32, non_blocking=True)  # (B, N)
    weights = chosen.gather(1, batch.ids_masked)
    return weights / weights.mean()


@HOOKS.register_module()
class TeacherDecayHook(Hook):
    """Moves the decay of the model's teacher from its configured value to 1 along a half cosine, once per iteration.

    Args:
        last: Decay at the end of training.
    """

    def __init__(self, *, last: float = 1.0) -> None:
        if not 0 < last <= 1:
            raise ConfigError(f"TeacherDecayHook: last={last} must be above 0 and at most 1")
        self.last = last
        self.first: float | None = None

    def before_run(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not getattr(model, "ema_decay", 0):
            raise ConfigError("TeacherDecayHook: the model has no teacher: set ema_decay, such as 0.999")
        self.first = model.ema_decay

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        done = runner.iter / max(runner.max_iters, 1)
        model.ema_decay = self.last - (self.last - self.first) * 0.5 * (1 + math.cos(math.pi * done))
