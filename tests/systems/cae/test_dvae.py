"""Test the dVAE encoder: published size and names, slow reference of a block, files that are refused, the target."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.models.encoders.vit import ViT
from vislab.structures import DataSample
from vislab.systems.cae.dvae import DalleTarget, DvaeBlock, DvaeEncoder, load_dvae
from vislab.systems.cae.targets import MaskedBatch


def small(seed: int = 0) -> DvaeEncoder:
    torch.manual_seed(seed)
    return DvaeEncoder(width=8, num_codes=50)


@pytest.fixture
def weights(tmp_path):
    torch.save(small().state_dict(), tmp_path / "dalle_encoder.pth")
    return tmp_path / "dalle_encoder.pth"


def published_names() -> set[str]:
    layers = {"blocks.input", "blocks.output.conv"}
    for group in (1, 2, 3, 4):
        for block in (1, 2):
            layers |= {f"blocks.group_{group}.block_{block}.res_path.conv_{i}" for i in (1, 2, 3, 4)}
        if group > 1:
            layers.add(f"blocks.group_{group}.block_1.id_path")
    return {f"{layer}.{kind}" for layer in layers for kind in "wb"}


def test_published_size():
    with torch.device("meta"):
        model = DvaeEncoder()
    assert sum(p.numel() for p in model.parameters()) == 53_786_240
    assert set(model.state_dict()) == published_names()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["blocks.input.w"] == (256, 3, 7, 7) and shapes["blocks.output.conv.w"] == (8192, 2048, 1, 1)
    assert shapes["blocks.group_3.block_1.id_path.w"] == (1024, 512, 1, 1)
    assert shapes["blocks.group_4.block_2.res_path.conv_1.w"] == (512, 2048, 3, 3)
    assert small()(torch.zeros(1, 3, 112, 56)).shape == (1, 50, 14, 7)


def test_a_block_step_by_step():
    torch.manual_seed(0)
    block = DvaeBlock(8, 16).double()
    for p in block.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    y = x
    for i, padding in ((1, 1), (2, 1), (3, 1), (4, 0)):
        conv = getattr(block.res_path, f"conv_{i}")
        y = F.conv2d(y.clamp(min=0), conv.w, conv.b, padding=padding)
    expected = F.conv2d(x, block.id_path.w, block.id_path.b) + y / 64
    torch.testing.assert_close(block(x), expected)


def test_pixels_are_mapped_and_codes_are_in_raster_order():
    model = small()
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    torch.testing.assert_close(logits, model.blocks(0.8 * images + 0.1))
    assert logits.shape == (2, 50, 2, 3)
    assert model.codes(images)[1, 1 * 3 + 2] == logits[1, :, 1, 2].argmax()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(images), logits)


@pytest.mark.parametrize("form", ["pth", "wrapped", "prefixed", "safetensors"])
def test_files_of_tensors(tmp_path, form):
    model, path = small(), tmp_path / "weights.pth"
    state = model.state_dict()
    if form == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(state, str(path))
    elif form == "prefixed":  # a whole mmpretrain model
        state = {f"target_generator.{k}": v for k, v in state.items()} | {"backbone.cls_token": torch.ones(1)}
        torch.save({"state_dict": state}, path)
    else:
        torch.save({"state_dict": state} if form == "wrapped" else state, path)
    found = load_dvae(path)
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(found(images), model(images)) and not found.training
    assert not any(p.requires_grad for p in found.parameters())


class Pickled:
    """Stands for the published file, a pickled module."""


def test_files_that_are_no_weights(tmp_path):
    log = tmp_path / "encoder.pkl"  # wget -o writes its log there
    log.write_text("--2021-06-01 12:00:00--  https://cdn.openai.com/dall-e/encoder.pkl\nResolving cdn.openai.com...\n")
    module, plain = tmp_path / "module.pkl", tmp_path / "plain.pkl"
    torch.save(Pickled(), module)
    plain.write_bytes(pickle.dumps(Pickled()))
    for path, words in (
        (log, "a text file"),
        (module, "Pickled"),
        (plain, "plain.pkl"),
        (tmp_path / "none.pth", "not exist"),
    ):
        with pytest.raises(CheckpointError, match=words) as caught:
            load_dvae(path)
        assert path.name in str(caught.value) and "Expected: the tensors of DALL-E's dVAE encoder" in str(caught.value)


def test_other_weights(tmp_path):
    path = tmp_path / "other.pth"
    state = small().state_dict()
    changes = {
        "holds no dVAE encoder": {"fc.weight": torch.ones(3)},
        "1 tensors are missing.*group_2.block_1.id_path.w": {
            k: v for k, v in state.items() if k != "blocks.group_2.block_1.id_path.w"
        },
        "blocks.more": state | {"blocks.more": torch.ones(1)},
        "of another shape, e.g. blocks.group_1.block_1.res_path.conv_1.w": state
        | {"blocks.group_1.block_1.res_path.conv_1.w": torch.ones(1)},
        "no dVAE encoder: blocks.input.w or": state | {"blocks.input.w": torch.ones(3, 3, 7, 7)},
        "is missing or has no channels": state | {"blocks.output.conv.w": torch.tensor(1.0)},
        "no dVAE encoder of width 200000": state | {"blocks.input.w": torch.ones(1).expand(200_000, 1, 1, 1)},
        "damaged: NaN or infinity in blocks.input.b": state | {"blocks.input.b": torch.full((8,), torch.nan)},
        "another number type": state | {"blocks.input.b": torch.ones(8, dtype=torch.int8)},
    }
    for words, content in changes.items():
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=words):
            load_dvae(path)


@pytest.mark.data
def test_published_weights(data_root):
    """The codes of a noise image are many, of a flat one few. There are no published codes to compare with."""
    path = data_root / "weights/dalle_encoder.pth"
    if not path.is_file():
        pytest.skip("weights/dalle_encoder.pth is not in VISLAB_DATA: the dVAE's weights are not at hand")
    model = load_dvae(path)
    assert sum(p.numel() for p in model.parameters()) == 53_786_240
    with torch.no_grad():
        noise, flat = (
            model.codes(x).unique().numel() for x in (torch.rand(1, 3, 112, 112), torch.ones(1, 3, 112, 112))
        )
    assert noise > 50 > flat


def batch(size: tuple[int, int] = (16, 24)) -> MaskedBatch:
    generator = torch.Generator().manual_seed(0)
    views = torch.randint(0, 256, (2, 3, *size), generator=generator, dtype=torch.uint8)
    ids = torch.tensor([[0, 5], [2, 3]])
    samples = [DataSample(target_img=view) for view in views]
    images = torch.zeros(2, 3, 8, 12)
    return MaskedBatch(images=images, patches=images, ids_visible=ids, ids_masked=ids, samples=samples)


def encoder(**settings) -> ViT:
    return ViT(**{"img_size": (8, 12), "patch_size": 4, "dim": 8, "depth": 1, "num_heads": 2, **settings})


def test_labels_are_the_codes_of_the_second_view(weights):
    target = DalleTarget(pretrained=str(weights))
    assert target.fit(encoder(), latent_dim=8) == 50 and not list(target.parameters()) and not target.state_dict()
    data = batch()
    labels = target.labels(data)
    views = torch.stack([sample.target_img for sample in data.samples]).float() / 255
    codes = small()(views).argmax(dim=1).flatten(1)
    assert torch.equal(labels, torch.stack([codes[0, [0, 5]], codes[1, [2, 3]]]))


def test_loss_is_the_cross_entropy_of_each_patch(weights):
    target = DalleTarget(pretrained=str(weights))
    target.fit(encoder(), latent_dim=8)
    labels, prediction = torch.tensor([[3, 0], [49, 7]]), torch.randn(2, 2, 50)
    expected = -prediction.log_softmax(dim=2).gather(2, labels[..., None])[..., 0]
    torch.testing.assert_close(target.loss(prediction, labels), expected)
    assert target.loss(prediction.bfloat16(), labels).dtype == torch.float32
    prediction[0, 0, 3] = prediction[1, 1, 7] = 99
    assert target.extras(prediction, labels) == {"token_accuracy": torch.tensor(0.5)}


@pytest.mark.parametrize("pretrained", ["", True, None, 3])
def test_what_is_no_file_is_not_random_weights(pretrained):
    with pytest.raises(ConfigError, match="is neither the path of a file nor False"):
        DalleTarget(pretrained=pretrained)


def test_views_of_another_size_or_none(weights):
    target = DalleTarget(pretrained=str(weights))
    target.fit(encoder(), latent_dim=8)
    with pytest.raises(DataError, match=r"second view of a sample is \(8, 8\), expected \(16, 24\)"):
        target.labels(batch((8, 8)))
    data = batch()
    data.samples = [DataSample(), DataSample()]
    with pytest.raises(DataError, match=r"is none, expected .*RandomResizedCropTwice\(target_size=\(16, 24\)\)"):
        target.labels(data)
    with pytest.raises(ConfigError, match="in_channels=1"):
        target.fit(encoder(in_channels=1), latent_dim=8)
