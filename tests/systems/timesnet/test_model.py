"""Test timesNet: pre-trained weights in encoder and decoder, initial gates of 1, shapes, gradients."""

import pytest
import timm
import torch
from mmengine.structures import PixelData

from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError
from vislab.models.dense import DepthEstimator, SemanticSegmentor
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.structures import DataSample
from vislab.systems.timesnet import GateReShape, ReShape, TimesNet

ATTO = {"name": "convnext_atto", "model_args": {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 128)}}


def network(**changes) -> TimesNet:
    return TimesNet(**{"encoder": dict(ATTO), "decoder": dict(ATTO), "gate_width": 32, **changes})


class TestDepth(ModelBehavior):
    def build(self):
        return DepthEstimator(network=network(), max_depth=5.0)

    def inputs(self, count):
        return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))

    def samples(self, count):
        depth = torch.rand(count, 1, 64, 64, generator=torch.Generator().manual_seed(4)) * 4
        return [DataSample(gt_depth=PixelData(data=d)) for d in depth]


class TestSegmentation(ModelBehavior):
    def build(self):
        spec = {"type": "TimesNet", "encoder": ATTO, "decoder": ATTO, "gate_width": 32, "head": "bilinear"}
        return SemanticSegmentor(network=spec, num_classes=5)

    def inputs(self, count):
        return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))

    def samples(self, count):
        labels = torch.randint(0, 5, (count, 1, 64, 64), generator=torch.Generator().manual_seed(4))
        return [DataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


def test_pretrained_tensors_are_timms_own_bit_for_bit(tmp_path):
    """Acceptance 1: both models equal a fresh load; nothing of what they use is missing, nothing is left random."""
    torch.manual_seed(5)
    whole = timm.create_model("convnext_atto", **ATTO["model_args"])
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    torch.manual_seed(6)
    net = network(
        encoder={**ATTO, "pretrained": str(tmp_path / "weights.pth")},
        decoder={**ATTO, "pretrained": str(tmp_path / "weights.pth")},
    )
    expected = whole.state_dict()
    for model in (net.encoder.model, net.decoder.model):
        own = model.state_dict()
        assert {k for k in expected if not k.startswith("head.")} == set(own)
        assert all(torch.equal(value, expected[name]) for name, value in own.items())


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"gate_steps": 1}, {"reshape": "transposed"}, {"reshape": "bilinear"}])
def test_at_step_0_the_decoder_sees_the_plain_image(options):
    """Acceptance 2: the gate is 1 up to a little noise, so what the decoder does is what it was pre-trained to do."""
    torch.manual_seed(0)
    net = network(**options).eval()
    images = torch.rand(2, 3, 64, 96)
    gate = net.gate(images)
    assert gate.shape == images.shape and 0 < (gate - 1).abs().max() < 0.1
    plain = (images - net.decoder_mean.view(1, 3, 1, 1)) / net.decoder_std.view(1, 3, 1, 1)
    for seen, ideal in zip(net.decoder(net.mixed(images)), net.decoder(plain), strict=True):
        assert (seen - ideal).norm() < 0.03 * ideal.norm()


LITE = {"name": "tf_efficientnet_lite0"}
SWIN = {"name": "swin_tiny_patch4_window7_224", "model_args": {"depths": (1, 1, 1, 1), "embed_dim": 24}}
VIT = {"name": "vit_tiny_patch16_224", "model_args": {"depth": 4, "embed_dim": 48, "num_heads": 2}}
PAIRS = [(ATTO, ATTO), (LITE, LITE), (SWIN, ATTO), (VIT, ATTO), (ATTO, VIT)]


@torch.no_grad()
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: " x ".join(spec["name"].split("_")[0] for spec in pair))
def test_any_size_in_same_size_out(pair):
    """Acceptance 3: rectangular and odd sizes, hierarchical models and plain transformers on both sides."""
    net = network(encoder=pair[0], decoder=pair[1], out_channels=2).eval()
    for size in ((64, 96), (75, 101), (20, 33)):
        output = net(torch.rand(1, 3, *size))
        assert output.shape == (1, 2, *size) and output.isfinite().all()


@torch.no_grad()
def test_patch_size_14_of_the_encoder():
    """DINOv2's patches: a gate of stride 14 beside a decoder of stride 32."""
    args = {"depth": 2, "embed_dim": 48, "num_heads": 2, "patch_size": 14}
    encoder = {"name": "vit_tiny_patch16_224", "model_args": args}
    net = network(encoder=encoder).eval()
    assert net.encoder.strides == (14,) and net(torch.rand(1, 3, 60, 90)).shape == (1, 1, 60, 90)
    with pytest.raises(ConfigError, match="patch_size=16"):
        network(decoder=encoder)


def test_every_part_gets_a_gradient_at_the_first_step():
    """Acceptance 4: the encoder too, although the gate starts out constant."""
    torch.manual_seed(0)
    net = network()
    net(torch.rand(1, 3, 64, 64)).square().mean().backward()
    for part in (net.encoder, net.reshape_in, net.decoder, net.to_finest, net.reshape_out):
        assert sum(p.grad.abs().sum() for p in part.parameters()) > 0


def test_share_of_new_parameters():
    """Acceptance 5: only Re-Shape modules are new. For two ConvNeXtV2-T: 3.5M of 59M."""
    with torch.device("meta"):
        gate = GateReShape(in_channels=768, stride=32)
        assert sum(p.numel() for p in gate.parameters()) == pytest.approx(2.36e6 + 0.33e6, rel=0.01)
        steps = [ReShape(in_channels=96 * r, out_channels=96 // r, factor=r) for r in (2, 4, 8)]
    assert [sum(p.numel() for p in s.parameters()) // 1000 for s in steps] == [37, 148, 592]
    net = network()
    total = sum(p.numel() for p in net.parameters())
    print(f"new: {net.new_parameters():,} of {total:,}")
    assert 0 < net.new_parameters() < total - 2 * sum(p.numel() for p in net.decoder.parameters()) + 1


@pytest.mark.slow
def test_overfits_eight_images():
    """Acceptance 6."""
    torch.manual_seed(0)
    model = DepthEstimator(
        network={"type": "TimesNet", "encoder": ATTO, "decoder": {"name": "resnet18"}}, max_depth=5.0
    )
    images, depth = torch.rand(8, 3, 32, 32), 1 + 3 * torch.rand(8, 1, 4, 4)
    depth = torch.nn.functional.interpolate(depth, size=32, mode="bilinear")
    samples = [DataSample(gt_depth=PixelData(data=d)) for d in depth]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    for _ in range(200):
        optimizer.zero_grad()
        model(images, samples, mode="loss")["loss_depth"].backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        error = (model.activate(model.network(images)) / depth - 1).abs().mean()
    assert error < 0.02


@torch.no_grad()
def test_multiplication_and_the_other_mixes():
    """Acceptance 7: where the normalized image is zero the product is, whatever the encoder says."""
    gray = network().decoder_mean.view(1, 3, 1, 1).expand(1, 3, 64, 64)
    images = torch.rand(1, 3, 64, 64)
    assert network(mix="multiply").eval().mixed(gray).abs().max() == 0
    assert network(mix="add").eval().mixed(gray).abs().max() > 0
    for mix in ("add", "concat"):  # both start as the image
        net = network(mix=mix).eval()
        plain = (images - net.decoder_mean.view(1, 3, 1, 1)) / net.decoder_std.view(1, 3, 1, 1)
        assert 0 < (net.mixed(images) - plain).abs().max() < 0.1
    feature = network(mix="feature").eval().mixed(images)
    assert 0.3 < feature.std() < 3  # nothing of the image itself, but of the size that the decoder expects
    alone = network(mix="image")
    assert alone.encoder is None and not any("reshape_in" in name for name in alone.state_dict())


def test_frozen_decoder_still_passes_gradients_to_the_encoder():
    net = network(decoder={**LITE, "frozen_stages": -1}).train()
    before = {k: v.clone() for k, v in net.decoder.state_dict().items()}
    net(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is None for p in net.decoder.parameters())
    assert sum(p.grad.abs().sum() for p in net.encoder.parameters()) > 0
    assert all(torch.equal(v, before[k]) for k, v in net.decoder.state_dict().items())  # batch statistics too


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {"pyramid": "finest"},
        {"pyramid": "coarsest"},
        {"pyramid_width": 5},
        {"encoder_skips": True},
        {"head": "bilinear"},
    ],
    ids=str,
)
def test_ablations(options):
    net = network(out_channels=3, **options).eval()
    assert net(torch.rand(1, 3, 70, 64)).shape == (1, 3, 70, 64)
    assert len(net.to_finest) == {"finest": 1, "coarsest": 1}.get(options.get("pyramid"), 4) * (
        2 if "encoder_skips" in options else 1
    )


def test_each_model_gets_its_own_mean_and_std():
    net = network(encoder=LITE)
    assert net.encoder_mean.tolist() == [0.5] * 3 and net.decoder_mean[0].item() == pytest.approx(0.485)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": "product"}, "mix='product'"),
        ({"encoder": None}, "needs an encoder"),
        ({"pyramid": "none"}, "pyramid='none'"),
        ({"reshape": "nearest"}, "kind='nearest'"),
        ({"head": "deep"}, "head='deep'"),
        ({"gate_steps": 3}, "gate_steps=3"),
        ({"mix": "image", "encoder_skips": True}, "encoder_skips"),
        ({"decoder": {**ATTO, "normalize": True}}, "twice"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        network(**options)


@pytest.mark.data
def test_real_weights_on_both_sides(data_root):
    file = str(data_root / "weights" / "tf_efficientnet_lite0_timm.safetensors")
    spec = {"name": "tf_efficientnet_lite0", "pretrained": file}
    net = TimesNet(encoder=spec, decoder=spec)
    whole = timm.create_model("tf_efficientnet_lite0", checkpoint_path=file).state_dict()
    fresh = TimmEncoder(**spec).model.state_dict()
    for own in (net.encoder.model.state_dict(), net.decoder.model.state_dict()):
        assert all(torch.equal(v, whole[k]) for k, v in own.items()) and set(own) == set(fresh)
