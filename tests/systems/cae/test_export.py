"""Test the export to timm: equal features, strict loading, use in the dense systems, refusals."""

import json

import pytest
import timm
import torch
from safetensors import safe_open

from tests.helpers.cae import small_cae
from tests.helpers.mask2former_names import small_model
from vislab.errors import CheckpointError, ConfigError
from vislab.io.checkpoint import load_checkpoint
from vislab.io.weights import load_state
from vislab.models.encoders.pyramid import PyramidEncoder
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.encoders.vit import ViT
from vislab.models.fpn import FPNNetwork
from vislab.systems.cae import export
from vislab.systems.cae.export import timm_arguments, timm_state
from vislab.systems.timesnet import TimesNet

SIZES = {
    "tiny": {"img_size": 64, "patch_size": 16, "dim": 192, "depth": 12, "num_heads": 12, "init_values": 0.1},
    "small images": {"img_size": (16, 24), "patch_size": 4, "dim": 32, "depth": 3, "num_heads": 4, "init_values": 0.1},
    "without scales": {"img_size": 16, "patch_size": 4, "dim": 32, "depth": 2, "num_heads": 4, "mlp_ratio": 2.0},
}


def encoder(size: str = "small images") -> ViT:
    """With biases and scales as training leaves them: not 0, not constant."""
    torch.manual_seed(0)
    vit = ViT(**SIZES[size])
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return vit.eval()


MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def export_encoder(*args, **settings) -> dict:
    return export.export_encoder(*args, mean=MEAN, std=STD, **settings)


def images(vit: ViT, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *vit.img_size, generator=torch.Generator().manual_seed(1))


def created(arguments: dict, path) -> torch.nn.Module:
    """As a user of timm would: strict loading is timm's default."""
    return timm.create_model(arguments["model_name"], checkpoint_path=str(path), **_rest(arguments)).eval()


def _rest(arguments: dict) -> dict:
    return {key: value for key, value in arguments.items() if key != "model_name"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fold", [False, True])
def test_equal_features(tmp_path, size, fold):
    vit, path = encoder(size), tmp_path / "encoder.safetensors"
    arguments = export_encoder(vit, path, fold=fold)
    model = created(arguments, path)
    with torch.no_grad():
        expected = vit(images(vit))
        single = (model.forward_features(images(vit)) - expected) / expected.abs().max()
        # folded again in double precision: a product rounded to float32 is no other model, but other numbers
        model.double().load_state_dict(timm_state(vit.double(), fold=fold))
        double = model.forward_features(images(vit).double()) - vit(images(vit).double())
    assert double.abs().max() < 1e-9
    assert single.abs().max() < 2e-6 and single.square().mean().sqrt() < 1e-6


def test_published_sizes_have_timms_names():
    with torch.device("meta"):
        for dim, depth, heads, name in (
            (192, 12, 12, "tiny"),
            (384, 12, 12, "small"),
            (768, 12, 12, "base"),
            (1024, 24, 16, "large"),
        ):
            arguments = timm_arguments(ViT(dim=dim, depth=depth, num_heads=heads, init_values=0.1))
            usual = {} if name in ("base", "large") else {"num_heads": 12}
            expected = {"model_name": f"vit_{name}_patch16_224", "num_classes": 0, "init_values": 1e-5, **usual}
            assert arguments == expected


def test_what_is_written():
    vit = encoder()
    state = timm_state(vit)
    attn = vit.blocks[1].attn
    bias = state["blocks.1.attn.qkv.bias"]
    assert torch.equal(bias, torch.cat((attn.q_bias, torch.zeros(32), attn.v_bias)))
    assert state["pos_embed"].shape == (1, 1 + 4 * 6, 32) and not state["pos_embed"][0, 0].any()
    folded = timm_state(vit, fold=True)
    gamma = vit.blocks[0].ls2.gamma
    torch.testing.assert_close(folded["blocks.0.mlp.fc2.weight"], gamma[:, None] * vit.blocks[0].mlp.fc2.weight)
    torch.testing.assert_close(folded["blocks.0.mlp.fc2.bias"], gamma * vit.blocks[0].mlp.fc2.bias)
    assert not any(".ls" in name for name in folded)


def test_mean_pooling_moves_the_norm(tmp_path):
    """The norm of the mean of the last block's patch tokens, as in the published fine-tuning."""
    vit, path = encoder(), tmp_path / "encoder.safetensors"
    model = created(export_encoder(vit, path, pool="avg"), path)
    with torch.no_grad():
        tokens = vit.encode(vit.patches(images(vit)))[:, 1:]
        torch.testing.assert_close(model(images(vit)), vit.norm(tokens.mean(dim=1)), rtol=1e-4, atol=1e-5)


def small_timm(path, **changes) -> TimmEncoder:
    arguments = _rest(timm_arguments(encoder()))
    args = {"name": "vit_base_patch16_224", "pretrained": str(path), "img_size": arguments.pop("img_size")}
    arguments = {key: value for key, value in arguments.items() if key != "num_classes"} | changes
    return TimmEncoder(**args, out_indices=[0, 1, 2], out_norm="final", model_args=arguments).eval()


def test_in_timm_encoder(tmp_path):
    vit, path = encoder(), tmp_path / "encoder.safetensors"
    export_encoder(vit, path)
    found = small_timm(path)
    with torch.no_grad():
        last = found(images(vit))[-1]
        expected = vit(images(vit))[:, 1:].transpose(1, 2).unflatten(2, (4, 6))
    torch.testing.assert_close(last, expected, rtol=0, atol=1e-5)
    assert found.channels == (32, 32, 32) and found.strides == (4, 4, 4)
    assert tuple(found.mean) == MEAN and tuple(found.std) == STD  # not those of timm's model of that name


def test_relative_positions_of_fine_tuning_are_refused():
    with pytest.raises(ConfigError, match="no relative position bias"):
        timm_state(ViT(img_size=16, patch_size=4, dim=16, depth=1, num_heads=2, rel_pos_bias=True))


PLAIN = {"img_size": 32, "patch_size": 4, "dim": 32, "depth": 4, "num_heads": 4, "init_values": 0.1}


def in_systems(path) -> dict:
    """An exported encoder of four blocks as arguments of TimmEncoder."""
    vit = ViT(**PLAIN)
    export_encoder(vit, path)
    arguments = {
        key: value for key, value in _rest(timm_arguments(vit)).items() if key not in ("num_classes", "img_size")
    }
    return {"name": "vit_base_patch16_224", "pretrained": str(path), "img_size": 32, "model_args": arguments}


def test_in_the_dense_systems(tmp_path):
    """FPN, timesNet and, with a pyramid, Mask2Former: gradients reach the exported weights."""
    encoder = in_systems(tmp_path / "encoder.safetensors")
    decoder = {"name": "resnet18"}
    networks = [
        FPNNetwork(encoder=encoder, out_channels=3),
        TimesNet(encoder=encoder, decoder=decoder, out_channels=3),
        small_model(backbone={"type": PyramidEncoder, "encoder": encoder}),
    ]
    for network in networks:
        output = network(torch.rand(1, 3, 64, 64))
        total = output.square().mean() if isinstance(output, torch.Tensor) else sum(
            x.float().square().mean() for x in output.values() if isinstance(x, torch.Tensor) and x.requires_grad
        )  # fmt: skip
        total.backward()
        name, weight = next(
            (n, p) for n, p in network.named_parameters() if n.endswith("model.blocks.0.attn.qkv.weight")
        )
        assert weight.grad.abs().max() > 0, name


def test_checkpoints_must_be_exported_first(tmp_path):
    path = tmp_path / "cae.pth"
    torch.save({"state_dict": small_cae(encoder=encoder()).state_dict()}, path)
    with pytest.raises(CheckpointError, match="export it with tools/export_encoder.py"):
        small_timm(path)


def test_encoders_cannot_predict_or_resume(tmp_path):
    """The message of a file with the encoder only says why, whatever its names."""
    cae = small_cae(encoder=encoder())
    export_encoder(cae.encoder, tmp_path / "exported.safetensors")
    published = {name: value for name, value in cae.state_dict().items() if name.startswith("encoder.")}
    torch.save({"model": published}, tmp_path / "published.pth")
    for name in ("exported.safetensors", "published.pth"):
        words = "The file holds the encoder alone.*CAE cannot predict, draw or resume without its other parts"
        with pytest.raises(CheckpointError, match=words):
            load_state(cae, load_checkpoint(tmp_path / name), name)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"num_heads": 8}, r"an encoder with 4 heads, the timm model has 8.*model_args=dict\(num_heads=4\)"),
        ({"init_values": None}, "has layer scales, the timm model has none.*init_values"),
        ({"embed_dim": 64}, "does not fit this timm model: shapes differ"),
        ({"depth": 4}, "an encoder with 3 blocks, the timm model has 4"),
        ({"depth": 3, "mlp_ratio": 2}, "does not fit this timm model: shapes differ"),
    ],
)
def test_other_architectures_are_refused(tmp_path, changes, words):
    path = tmp_path / "encoder.safetensors"
    export_encoder(encoder(), path)
    with pytest.raises(CheckpointError, match=words):
        small_timm(path, **changes)


def test_fewer_blocks_are_refused(tmp_path):
    path = tmp_path / "encoder.safetensors"
    export_encoder(encoder(), path)
    with pytest.raises(CheckpointError, match="3 blocks, the timm model has 2"):
        TimmEncoder(
            name="vit_base_patch16_224", pretrained=str(path), img_size=(16, 24), out_indices=[1],
            model_args={"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 4, "init_values": 1e-5},
        )  # fmt: skip


def test_the_file_says_what_its_tensors_do_not(tmp_path):
    path = tmp_path / "encoder.safetensors"
    arguments = export_encoder(encoder(), path)
    with safe_open(str(path), "pt") as content:
        facts = json.loads(content.metadata()["vislab_encoder"])
    expected = {"num_heads": 4, "depth": 3, "mean": list(MEAN), "std": list(STD)}
    assert facts == expected | {"timm": json.loads(json.dumps(arguments))}


def test_refusals(tmp_path):
    with pytest.raises(ConfigError, match="name it \\*.safetensors"):
        export_encoder(encoder(), tmp_path / "encoder.pth")
    with pytest.raises(ConfigError, match="pool='max'"):
        export_encoder(encoder(), tmp_path / "encoder.safetensors", pool="max")
    assert not list(tmp_path.iterdir())
