"""Test TimmEncoder: maps match the declared channels and strides for each family; invalid files raise an error."""

import pytest
import timm
import torch

from vislab.errors import ConfigError
from vislab.models.encoders.timm_encoder import TimmEncoder

FAMILIES = {  # name: (channels, strides)
    "resnet18": ((64, 128, 256, 512), (4, 8, 16, 32)),
    "convnext_atto": ((40, 80, 160, 320), (4, 8, 16, 32)),
    "swin_tiny_patch4_window7_224": ((96, 192, 384, 768), (4, 8, 16, 32)),
    "tf_efficientnet_lite0": ((24, 40, 112, 320), (4, 8, 16, 32)),
    "mobilenetv2_100": ((24, 32, 96, 320), (4, 8, 16, 32)),
    "vit_tiny_patch16_224": ((192,) * 4, (16,) * 4),
}


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request):
    torch.manual_seed(0)
    return TimmEncoder(name=request.param).eval()


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (75, 101)])
def test_maps_are_as_declared(encoder, size):
    channels, strides = FAMILIES[encoder.name]
    assert (encoder.channels, encoder.strides) == (channels, strides)
    maps = encoder(torch.rand(2, 3, *size))
    assert len(maps) == len(channels)
    for m, c, s in zip(maps, channels, strides, strict=True):
        assert m.shape[:2] == (2, c) and m.isfinite().all()
        for side, whole in zip(m.shape[2:], size, strict=True):
            assert whole // s <= side <= -(-whole // s), (m.shape, s)


def test_checkpointing_changes_no_output_and_no_gradient(encoder):
    images = torch.rand(1, 3, 64, 64)
    results = []
    for checkpointing in (False, True):
        other = TimmEncoder(name=encoder.name, grad_checkpointing=checkpointing).eval()  # eval: no random depth
        other.load_state_dict(encoder.state_dict())
        assert any(getattr(m, "grad_checkpointing", False) for m in other.modules()) == checkpointing
        maps = other(images)
        sum(m.square().mean() for m in maps).backward()
        results.append((maps, {n: p.grad for n, p in other.named_parameters() if p.grad is not None}))
    (maps_a, grads_a), (maps_b, grads_b) = results
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(maps_a, maps_b, strict=True))
    assert len(grads_a) == len(grads_b) > 20
    assert all(torch.allclose(grads_a[n], grads_b[n], rtol=1e-3, atol=1e-6) for n in grads_a)


def test_every_parameter_gets_a_gradient(encoder):
    sum(m.mean() for m in encoder(torch.rand(1, 3, 64, 64))).backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []
    encoder.zero_grad()


def test_outputs_match_timm(encoder):
    """The maps are those that timm's own whole model computes."""
    whole = timm.create_model(encoder.name, num_classes=0).eval()
    whole.load_state_dict(encoder.model.state_dict(), strict=False)
    size = whole.pretrained_cfg["input_size"][-1] if "patch_embed" in dict(whole.named_children()) else 64
    images = torch.rand(1, 3, size, size)
    with torch.no_grad():
        expected = whole.forward_intermediates(images, indices=list(encoder.out_indices), intermediates_only=True)
        for ours, theirs in zip(encoder(images), expected, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_options():
    encoder = TimmEncoder(
        name="resnet18",
        out_indices=(1, -2),
        in_channels=4,
        frozen_stages=2,
        norm_eval=True,
        out_norm="layer",
        drop_path_rate=0.1,
    )
    assert encoder.channels == (64, 256) and not any(k.startswith("model.layer4") for k in encoder.state_dict())
    maps = encoder.train()(torch.rand(1, 4, 64, 64))
    assert torch.allclose(maps[0].mean(1), torch.zeros(1, 16, 16), atol=1e-5)
    assert not encoder.model.conv1.weight.requires_grad and not encoder.model.layer1[0].conv1.weight.requires_grad
    assert encoder.model.layer2[0].conv1.weight.requires_grad
    assert not encoder.model.layer1.training and encoder.model.layer2.training
    assert not encoder.model.layer2[0].bn1.training

    plain = TimmEncoder(name="resnet18").eval()
    scaled = TimmEncoder(name="resnet18", normalize=True).eval()
    scaled.load_state_dict(plain.state_dict())
    images, mean, std = torch.rand(1, 3, 64, 64), torch.tensor(plain.mean), torch.tensor(plain.std)
    by_hand = (images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    assert plain.mean == (0.485, 0.456, 0.406)
    with torch.no_grad():
        assert torch.allclose(scaled(images)[-1], plain(by_hand)[-1], atol=1e-5)


def test_final_norm_of_a_plain_transformer():
    raw = TimmEncoder(name="vit_tiny_patch16_224", out_norm="final", img_size=64).eval()
    with torch.no_grad():
        last = raw(torch.rand(1, 3, 64, 32))[-1]
    assert last.shape == (1, 192, 4, 2) and torch.allclose(last.mean(1), torch.zeros(1, 4, 2), atol=1e-4)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"name": "resnet81"}, "no model 'resnet81'; nearest: resnet"),
        ({"name": "resnet18", "out_indices": (0, 7)}, "rising indices below 5"),
        ({"name": "resnet18", "frozen_stages": 9}, "frozen_stages=9"),
        ({"name": "resnet18", "out_norm": "batch"}, "out_norm='batch'"),
        ({"name": "resnet18", "model_args": {"widht": 3}}, "widht"),
    ],
)
def test_mistakes_are_named(args, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        TimmEncoder(**args)


@pytest.mark.data
def test_real_weights(data_root):
    file = data_root / "weights" / "tf_efficientnet_lite0_timm.safetensors"
    encoder = TimmEncoder(name="tf_efficientnet_lite0", pretrained=str(file)).eval()
    whole = timm.create_model("tf_efficientnet_lite0", checkpoint_path=str(file)).eval()
    assert encoder.mean == encoder.std == (0.5, 0.5, 0.5)
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        expected = whole.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(encoder(images), expected, strict=True))


def test_frozen_norms_keep_weight_bias_and_statistics():
    encoder = TimmEncoder(name="resnet18", frozen_norms=True, normalize=True).train()
    norms = [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [(m.running_mean.clone(), m.weight.clone()) for m in norms]
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    encoder(torch.rand(2, 3, 64, 64))[-1].square().mean().backward()
    optimizer.step()
    assert all(
        torch.equal(m.running_mean, a) and torch.equal(m.weight, b) for m, (a, b) in zip(norms, before, strict=True)
    )
    assert encoder.model.conv1.weight.grad is not None and all(m.weight.grad is None for m in norms)
