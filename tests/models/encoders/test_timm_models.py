"""timm models from files: other layouts are converted, and what does not fit is refused."""

import hashlib

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from tests.helpers.local_hub import serving_hub
from tests.helpers.local_server import serving
from vislab.errors import CheckpointError, ConfigError
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.encoders.timm_models import (
    ARCHITECTURE_KEY,
    create_model,
    enable_grad_checkpointing,
    exported_facts,
    layer_groups,
    load_weights,
)


def test_pretrained_file_of_timm_and_of_a_whole_model(tmp_path):
    whole = timm.create_model("vit_tiny_patch16_224", img_size=64)
    torch.save(whole.state_dict(), tmp_path / "timm.pth")
    encoder = TimmEncoder(name="vit_tiny_patch16_224", pretrained=str(tmp_path / "timm.pth"))
    assert torch.equal(encoder.model.blocks[3].attn.qkv.weight, whole.blocks[3].attn.qkv.weight)
    assert encoder.model.pos_embed.shape[1] == 197  # interpolated from 17

    state = {f"encoder.{k}": v for k, v in encoder.state_dict().items()} | {"head.weight": torch.zeros(1)}
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "run.pth")
    again = TimmEncoder(name="vit_tiny_patch16_224", pretrained=str(tmp_path / "run.pth"))
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in encoder.state_dict().items())

    with pytest.raises(CheckpointError, match="shapes differ: cls_token"):
        TimmEncoder(name="vit_small_patch16_224", pretrained=str(tmp_path / "timm.pth"))
    with pytest.raises(CheckpointError, match="does not fit"):
        TimmEncoder(name="resnet18", pretrained=str(tmp_path / "timm.pth"))
    torch.save({k: v for k, v in whole.state_dict().items() if "blocks.5" not in k}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="12 parameters are not in it, e.g. blocks.5.norm1.weight"):
        TimmEncoder(name="vit_tiny_patch16_224", pretrained=str(tmp_path / "part.pth"))
    with pytest.raises(CheckpointError, match="nowhere.pth"):
        TimmEncoder(name="resnet18", pretrained=str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize(
    "text",
    ['{"num_heads": 3, "depth"', "[]", "3", '{"num_heads": 3}', '{"num_heads": 3, "depth": 2, "mean": 1, "std": [1]}',
     '{"num_heads": 3, "depth": 2, "mean": ["x"], "std": [1]}', "[" * 100_000],
)  # fmt: skip
def test_damaged_facts_of_an_exported_encoder_are_one_message(tmp_path, text):
    path = str(tmp_path / "a.safetensors")
    save_file({"conv1.weight": torch.zeros(1)}, path, {ARCHITECTURE_KEY: text})
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged: its entry 'vislab_encoder'.*export"):
        exported_facts(path)
    with pytest.raises(CheckpointError, match="is damaged"):
        TimmEncoder(name="vit_tiny_patch16_224", pretrained=path)


def test_models_that_do_not_exist():
    with pytest.raises(ConfigError, match=r"Owner: timm .* has no model 'resnt18'; nearest: resnet18"):
        create_model("resnt18", {}, owner="Owner", download=False)
    with pytest.raises(ConfigError, match=r"has no model 'qqqq'; timm.list_models"):
        create_model("qqqq", {}, owner="Owner", download=False)
    with pytest.raises(ConfigError, match="Owner: timm model 'resnet18': .*depht"):
        create_model("resnet18", {"depht": 3}, owner="Owner", download=False)


def test_the_first_alternative_that_a_model_knows_is_used():
    vit = {"embed_dim": 24, "depth": 1, "num_heads": 2}
    alternatives = ({"nothing_like_it": 1}, {"img_size": 64}, {})
    model = create_model("vit_tiny_patch16_224", vit, owner="X", download=False, alternatives=alternatives)
    assert model.patch_embed.img_size == (64, 64)
    with pytest.raises(ConfigError, match="takes none of .*nothing_like_it"):
        create_model("resnet18", {}, owner="X", download=False, alternatives=({"nothing_like_it": 1},))


def test_weights_that_are_not_in_a_file_are_listed(tmp_path):
    args = {"layers": (1, 1, 1, 1), "channels": (4, 4, 8, 8)}
    source, target = (create_model("resnet18", args, owner="X", download=False) for _ in range(2))
    state = {f"encoder.model.{k}": v for k, v in source.state_dict().items() if k != "layer2.0.conv1.weight"}
    state["encoder.model.fc.weight"] = torch.zeros(7, 8)
    torch.save(state, tmp_path / "a.pth")
    missing = load_weights(target, str(tmp_path / "a.pth"), optional={"fc.weight"})
    assert missing == ["layer2.0.conv1.weight", "fc.weight"]
    assert torch.equal(target.conv1.weight, source.conv1.weight) and target.fc.weight.shape == (1000, 8)
    with pytest.raises(CheckpointError, match=r"shapes differ: fc.weight \(7, 8\) instead of \(1000, 8\)"):
        load_weights(target, str(tmp_path / "a.pth"))
    torch.save(source.state_dict(), tmp_path / "bare.pth")  # conv1.weight is the end of other names, too
    assert load_weights(target, str(tmp_path / "bare.pth")) == []
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in target.state_dict().items())
    torch.save({k: v.to(torch.int8) for k, v in source.state_dict().items()}, tmp_path / "packed.pth")
    with pytest.raises(CheckpointError, match="another number type"):
        load_weights(target, str(tmp_path / "packed.pth"))


def test_layers_are_numbered_from_the_stem_on():
    model = create_model(
        "vit_tiny_patch16_224", {"embed_dim": 24, "depth": 3, "num_heads": 2}, owner="X", download=False
    )
    layers = layer_groups(model, coarse=False)
    assert layers["patch_embed.proj.weight"] == layers["pos_embed"] == 0
    assert [layers[f"blocks.{i}.norm1.weight"] for i in range(3)] == [1, 2, 3]
    assert layers["norm.weight"] >= 3 and set(layers) == set(dict(model.named_parameters()))


def test_models_that_cannot_checkpoint_gradients():
    model = create_model("resnet18", {"layers": (1, 1, 1, 1), "channels": (4, 4, 8, 8)}, owner="X", download=False)
    enable_grad_checkpointing(model, "resnet18", owner="X")
    assert model.grad_checkpointing
    with pytest.raises(ConfigError, match="X: timm model 'other' does not support grad_checkpointing"):
        enable_grad_checkpointing(torch.nn.Linear(1, 1), "other", owner="X")


@pytest.fixture
def tiny_cfg(monkeypatch):
    """Where timm says that the weights of a tiny model are."""
    from timm.models import _registry

    name = "test_vit.r160_in1k"
    cfg = timm.get_pretrained_cfg(name)
    monkeypatch.setitem(_registry._model_pretrained_cfgs, name, cfg)
    return cfg


TEMPLATE = "/{repo_id}/resolve/{revision}/{filename}"  # of addresses of the hub


def tiny(**given):
    return create_model("test_vit.r160_in1k", {}, owner="X", **given)


def test_weights_at_plain_addresses_come_by_our_download(tmp_path, monkeypatch, tiny_cfg):
    """Resumed, checked by the digits in the name, found again; refused without a connection by VISLAB_OFFLINE."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    source = tiny(download=False)
    torch.save(source.state_dict(), tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    name = f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    with serving() as site:
        tiny_cfg.url, tiny_cfg.hf_hub_id = f"{site.address}/{name}", None
        site.files[f"/{name}"], site.faults = content[:-1] + b"?", [1000]
        monkeypatch.setattr("vislab.io.download._PAUSE", 0.0)
        with pytest.raises(CheckpointError, match=r"weights of timm's 'test_vit.*is not the expected file: its SHA256"):
            tiny(download=True)
        assert [wanted for _, wanted in site.requests] == [None, "bytes=1000-"]
        monkeypatch.setenv("VISLAB_OFFLINE", "1")
        with pytest.raises(CheckpointError, match=r"VISLAB_OFFLINE is set.*download http.*and use pretrained=PATH"):
            tiny(download=True)
        assert len(site.requests) == 2 and not [p for p in (tmp_path / "hub").rglob("*") if p.is_file()]
        monkeypatch.delenv("VISLAB_OFFLINE")
        site.files[f"/{name}"] = content
        assert torch.equal(tiny(download=True).cls_token, source.cls_token)
        monkeypatch.setenv("VISLAB_OFFLINE", "1")
        assert torch.equal(tiny(download=True).cls_token, source.cls_token)
        assert len(site.requests) == 3


def test_weights_of_the_hub_obey_vislab_offline(tmp_path, monkeypatch, tiny_cfg):
    """Also if it is set after huggingface_hub is imported."""
    source = tiny(download=False)
    (tmp_path / "hub/timm/tiny").mkdir(parents=True)
    save_file(source.state_dict(), str(tmp_path / "hub/timm/tiny/model.safetensors"))
    tiny_cfg.hf_hub_id = "timm/tiny"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serving_hub(tmp_path / "hub") as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setenv("VISLAB_OFFLINE", "1")
        for _ in range(2):
            with pytest.raises(CheckpointError, match=r"VISLAB_OFFLINE is set.*hf download timm/tiny.*pretrained=PATH"):
                tiny(download=True)
        assert not (tmp_path / "cache").exists() and not constants.HF_HUB_OFFLINE
        monkeypatch.delenv("VISLAB_OFFLINE")
        assert torch.equal(tiny(download=True).cls_token, source.cls_token)
        monkeypatch.setenv("VISLAB_OFFLINE", "1")
        assert torch.equal(tiny(download=True).cls_token, source.cls_token)  # from the cache


def test_a_tag_that_timm_does_not_have_is_named():
    with pytest.raises(ConfigError, match=r"X: Invalid pretrained tag \(no\).*Expected resnet18\.a1_in1k or "):
        create_model("resnet18.no", {}, owner="X", download=False)
