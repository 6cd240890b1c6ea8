"""Test the target of features: which features, grids, projections; the frozen teacher; real weights."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from vislab.errors import CheckpointError, ConfigError
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.encoders.vit import ViT
from vislab.ops.patches import patchify
from vislab.systems.cae.features import FeatureTarget
from vislab.systems.cae.targets import MaskedBatch

LITE = "tf_efficientnet_lite0"
TINY = "vit_tiny_patch16_224"


def encoder(grid: tuple[int, int] = (2, 3)) -> ViT:
    return ViT(img_size=(4 * grid[0], 4 * grid[1]), patch_size=4, dim=8, depth=1, num_heads=2)


def batch(height: int = 32, width: int = 48) -> MaskedBatch:
    """Six patches, of which the second sample has others masked."""
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    masked, visible = torch.tensor([[0, 5], [2, 3]]), torch.tensor([[1, 2, 3, 4], [0, 1, 4, 5]])
    return MaskedBatch(images=images, patches=patchify(images, 16), ids_visible=visible, ids_masked=masked)


def target(**settings) -> FeatureTarget:
    torch.manual_seed(0)
    return FeatureTarget(**{"teacher": TINY, "pretrained": False, "img_size": (32, 48), **settings})


def test_tokens_are_those_of_the_whole_image_after_the_final_norm():
    found = target()
    assert found.fit(encoder(), latent_dim=8) == 192
    data = batch()
    with torch.no_grad():
        labels, expected = found.labels(data), found.network((data.images - 0.5) / 0.5)
        tokens = found.network.network.forward_features((data.images - 0.5) / 0.5)
    assert labels.shape == (2, 7, 192)
    torch.testing.assert_close(labels[:, 0], tokens[:, 0])
    torch.testing.assert_close(labels[:, 0], expected)
    for sample, order in enumerate(([1, 2, 3, 4, 0, 5], [0, 1, 4, 5, 2, 3])):  # visible, then masked
        torch.testing.assert_close(labels[sample, 1:], tokens[sample, 1:][order])


def test_masked_tokens_only_and_another_block():
    found = target(tokens="masked", out_index=3)
    found.fit(encoder(), latent_dim=8)
    data = batch()
    with torch.no_grad():
        maps = found.network.network.forward_intermediates((data.images - 0.5) / 0.5, intermediates_only=True)[3]
        labels = found.labels(data)
    torch.testing.assert_close(labels[1], maps[1].flatten(1).T[[2, 3]])


def test_projection_of_every_token():
    found = target(project=True)
    assert found.fit(encoder(), latent_dim=8) == 1000
    data = batch()
    with torch.no_grad():
        labels, network = found.labels(data), found.network.network
        tokens = network.head(network.forward_features((data.images - 0.5) / 0.5))
    torch.testing.assert_close(labels[0, 0], tokens[0, 0])
    torch.testing.assert_close(labels[0, 1], tokens[0, 1 + 1])


def test_convolutional_teacher_and_a_finer_grid():
    """A map of 4x6 for a grid of 2x3: means of 2x2; without a class token, the mean of the map is its label."""
    found = target(teacher=LITE, img_size=(64, 96), out_index=3)
    assert found.fit(encoder(), latent_dim=8) == 112
    data = batch()
    large = F.interpolate(data.images, (64, 96), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        maps = found.network.network.forward_intermediates((large - 0.5) / 0.5, intermediates_only=True)[3]
        labels = found.labels(data)
    torch.testing.assert_close(labels[:, 0], maps.mean(dim=(2, 3)))
    torch.testing.assert_close(labels[1, 6], maps[1, :, 2:4, 0:2].mean(dim=(1, 2)))  # patch 3: second row, first column


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"img_size": (48, 48)}, "has 3x3 features for images of 48x48, the encoder 2x3 patches: choose img_size"),
        ({"img_size": (16, 48)}, "has 1x3 features"),
        ({"img_size": 50}, "'vit_tiny_patch16_224' cannot encode images of 50x50 .*: choose another img_size"),
        ({"teacher": LITE, "img_size": 64}, "has 2x2 features for images of 64x64"),
    ],
)
def test_teachers_with_another_grid_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        target(**settings).fit(encoder(), latent_dim=8)


def test_gray_images_are_refused():
    gray = ViT(img_size=(8, 12), patch_size=4, in_channels=1, dim=8, depth=1, num_heads=2)
    with pytest.raises(ConfigError, match="in_channels=1"):
        target().fit(gray, latent_dim=8)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"teacher": "vit_tinny_patch16_224"}, "no model 'vit_tinny_patch16_224'; nearest"),
        ({"out_index": 12}, "out_index=12, 'vit_tiny_patch16_224' has 12"),
        ({"teacher": LITE, "project": True}, "project=True needs a transformer"),
        ({"tokens": "visible"}, "tokens='visible'"),
        ({"img_size": 0}, "img_size=0 is no size"),
        ({"img_size": (48, 80, 3)}, r"img_size=\(48, 80, 3\) is no size"),
    ],
)
def test_refused_settings(settings, words):
    with pytest.raises(ConfigError, match=words):
        target(**settings)


def test_the_teacher_is_neither_trained_nor_saved():
    found = target().train()
    found.fit(encoder(), latent_dim=8)
    assert not list(found.parameters()) and not found.state_dict() and not found.network.network.training
    assert found.double().network.network.pos_embed.dtype == torch.float64


def test_loss_is_one_minus_the_cosine():
    found, labels = target(), torch.randn(2, 3, 8)
    assert found.loss(5 * labels, labels).abs().max() < 1e-6
    torch.testing.assert_close(found.loss(-labels, labels), torch.full((2, 3), 2.0))
    assert found.loss(torch.zeros(1, 1, 8, dtype=torch.bfloat16), labels[:1, :1]).item() == 1.0


def test_weights_from_a_file(tmp_path):
    path = tmp_path / "teacher.safetensors"
    state = timm.create_model(TINY).state_dict()
    save_file(state, str(path))
    assert torch.equal(target(pretrained=str(path)).network.network.cls_token, state["cls_token"])
    del state["norm.weight"]
    save_file(state, str(path))
    with pytest.raises(CheckpointError, match="lacks 1 weights of 'vit_tiny_patch16_224', e.g. norm.weight"):
        target(pretrained=str(path))


@pytest.mark.data
def test_real_weights(data_root):
    """The map of the real EfficientNet-Lite0, as TimmEncoder gives it from the same file."""
    path = str(data_root / "weights/tf_efficientnet_lite0_timm.safetensors")
    found = target(teacher=LITE, pretrained=path, img_size=128, out_index=3)
    assert found.fit(encoder((8, 8)), latent_dim=8) == 112
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    visible, masked = torch.arange(32)[None], torch.arange(32, 64)[None]
    data = MaskedBatch(images=images, patches=images, ids_visible=visible, ids_masked=masked)
    other = TimmEncoder(name=LITE, pretrained=path, out_indices=[3], normalize=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(found.labels(data)[0, 1:], other(images)[0][0].flatten(1).T, rtol=1e-4, atol=1e-4)
