"""Test parity with the official model (CAE_REPO, a checkout of Atten4Vis/CAE): outputs, gradients, training steps."""

import copy

import pytest
import torch
from torch.nn import functional as F

from tests.helpers.cae_peer import build_peer, copy_weights, our_name, repository, run_peer
from vislab.models.encoders.vit import ViT
from vislab.structures import DataSample
from vislab.systems.cae import CAE, Target

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(repository() is None, reason="CAE_REPO is no checkout of Atten4Vis/CAE"),
]
CLASSES = 50
SIZES = {  # width, depth, heads, layer scale, width of regressor and decoder, their depth, image, patch, masked
    "wide regressor": (48, 3, 12, 0.1, 96, 2, 64, 16, 8),
    "narrow regressor": (96, 2, 12, 0.1, 48, 1, 56, 8, 25),
    "one width": (192, 2, 12, 1e-5, 192, 2, 48, 16, 5),
}


class Codes(Target):
    """Codes (B, N) in the order of the image; the loss is the cross-entropy."""

    def __init__(self, codes):
        super().__init__()
        self.codes = codes

    def fit(self, encoder, latent_dim):
        return CLASSES

    def labels(self, batch):
        return self.codes.gather(1, batch.ids_masked)

    def loss(self, prediction, labels):
        return F.cross_entropy(prediction.transpose(1, 2), labels, reduction="none")


class Features(Codes):
    """Features (B, 1 + N, C) of class token, visible and masked patches; the loss is 1 - cosine."""

    tokens = "all"

    def labels(self, batch):
        return self.codes

    def loss(self, prediction, labels):
        return 1 - F.cosine_similarity(prediction, labels, dim=2)


class Pair:
    """The official model and ours with the same random weights, images and masks."""

    def __init__(self, size: str, form: str, dtype: torch.dtype, batch: int = 3) -> None:
        dim, depth, heads, scale, width, small, image, patch, masked = SIZES[size]
        torch.manual_seed(0)
        self.form, self.depth = form, small
        self.peer = build_peer(
            form=form,
            classes=CLASSES,
            img_size=image,
            patch_size=patch,
            embed_dim=dim,
            depth=depth,
            num_heads=heads,
            init_values=scale,
            regressor_dim=width,
            regressor_depth=small,
            decoder_depth=small,
        )
        for parameter in self.peer.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.05 * torch.randn_like(parameter))
        count = (image // patch) ** 2
        self.masks = torch.rand(batch, count).argsort(dim=1).argsort(dim=1) < masked
        self.images = torch.randn(batch, 3, image, image, dtype=dtype)
        if form == "cae":
            self.target = Codes(torch.randint(CLASSES, (batch, count)))
        else:
            self.target = Features(torch.randn(batch, 1 + count, CLASSES, dtype=dtype))
        self.ours = CAE(
            encoder=ViT(img_size=image, patch_size=patch, dim=dim, depth=depth, num_heads=heads, init_values=scale),
            regressor={"dim": width, "depth": small, "num_heads": 12},
            decoder={"depth": small if form == "cae" else 0, "num_heads": 12},
            target=self.target,
            alignment_weight=2.0 if form == "cae" else 0.0,
        )
        copy_weights(self.ours, self.peer)
        self.ours.to(dtype), self.peer.to(dtype)
        if form == "cae":
            self.peer.alignment_parameter_update()  # as after its first step, its target has the encoder's weights
        grid = (image // patch, image // patch)
        self.samples = [DataSample(patch_mask=mask.view(grid)) for mask in self.masks]

    def our_loss(self) -> torch.Tensor:
        losses = self.ours(self.images, self.samples, mode="loss")
        return sum(value for name, value in losses.items() if "loss" in name)

    def their_loss(self) -> torch.Tensor:
        """The loss of the official training script."""
        logits, latents, target = run_peer(self.peer, self.images, self.masks)
        if self.form == "cae":
            return F.cross_entropy(logits, self.target.codes[self.masks]) + 2 * F.mse_loss(latents, target.detach())
        return (1 - F.cosine_similarity(logits, self.target.codes, dim=2)).mean()

    def compared(self, attribute: str) -> dict[str, float]:
        """Largest difference of each parameter, or of its gradient, by its name in ours."""
        ours = dict(self.ours.named_parameters())
        found = {}
        for name, parameter in self.peer.named_parameters():
            if parameter.requires_grad:
                pair = [getattr(p, attribute) for p in (ours.pop(our_name(name)), parameter)]
                found[our_name(name)] = (pair[0] - pair[1]).abs().max().item()
        assert not ours, "parameters of ours without a counterpart"
        return found


CASES = [
    pytest.param(size, form, dtype, tolerance, id=f"{size}, {form}, {str(dtype)[-7:]}")
    for size in SIZES
    for form in ("cae", "caev2")
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10))
]


@pytest.mark.parametrize(("size", "form", "dtype", "tolerance"), CASES)
def test_outputs_and_gradients(size, form, dtype, tolerance):
    pair = Pair(size, form, dtype)
    logits, latents, target = run_peer(pair.peer, pair.images, pair.masks)
    batch = pair.ours._batch(pair.images, pair.samples, None)
    outputs = pair.ours(pair.images, pair.samples)
    if form == "cae":
        assert (outputs["prediction"].flatten(0, 1) - logits).abs().max() <= tolerance
        assert (outputs["latents"] - latents).abs().max() <= tolerance
        assert (pair.ours.align_target(batch) - target).abs().max() <= tolerance
        assert target.std() > 0.5 and latents.std() > 0.5
    else:
        prediction = F.normalize(outputs["prediction"], dim=2)
        assert (prediction - logits).abs().max() <= tolerance
        assert (pair.ours.decoder.norm(outputs["latents"]) - latents).abs().max() <= tolerance
    losses = pair.our_loss(), pair.their_loss()
    assert abs(losses[0] - losses[1]) <= tolerance
    for loss in losses:
        loss.backward()
    differences = pair.compared("grad")
    assert max(differences.values()) <= tolerance, max(differences, key=differences.get)


@pytest.mark.parametrize("form", ["cae", "caev2"])
@pytest.mark.parametrize("size", SIZES)
def test_weights_after_20_steps(size, form):
    """In double precision: Adam divides by the root of the squared gradient, and that of norm_k.bias is 0 but for
    rounding (softmax ignores a shift of all keys), so that in single precision its sign is chance.
    """
    pair = Pair(size, form, torch.float64)
    before = copy.deepcopy(pair.ours)
    steps = []
    for model, loss in ((pair.ours, pair.our_loss), (pair.peer, pair.their_loss)):
        parameters = [p for p in model.parameters() if p.requires_grad]
        steps.append((torch.optim.AdamW(parameters, lr=1.5e-3, weight_decay=0.05), loss))
    for _ in range(20):
        for optimizer, loss in steps:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    differences = pair.compared("data")
    assert max(differences.values()) <= 1e-5, max(differences, key=differences.get)
    moved = [(a - b).abs().max() for a, b in zip(before.parameters(), pair.ours.parameters(), strict=True)]
    assert sorted(moved)[len(moved) // 2] > 0.01
