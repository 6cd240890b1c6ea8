"""Test that a file of each layout goes through download, conversion and prediction with the outputs of its source.

The files have random weights of small models, and the names and the format in which their projects publish them. Where
the project's package runs, predictions are compared with its outputs (timm; transformers: peer), else with those of the
model whose weights were written.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import hf_hub_download
from torch import Tensor, nn
from torch.nn import functional as F

from tests.helpers.cae import perturb, small_cae
from tests.helpers.cae_names import foreign_state
from tests.helpers.deformable_detr import LAYERS
from tests.helpers.deformable_detr import small as small_detr
from tests.helpers.local_hub import serving_hub
from tests.helpers.local_server import serving
from tests.helpers.mask2former_names import PARTS, SWIN, mmdet_name, official_name, small_model
from tests.models.deformable_detr.test_convert import official_state
from tests.models.encoders.test_efficientnet_convert import published
from vislab.apis import Predictor, build_model
from vislab.apis.conversion import convert
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.io.checkpoint import load_checkpoint
from vislab.io.weights import load_state
from vislab.models.classifier import ImageClassifier
from vislab.models.deformable_detr import DeformableDETR
from vislab.models.encoder_classifier import EncoderClassifier
from vislab.models.encoders.vit import ViT
from vislab.models.mask2former import Mask2Former
from vislab.models.mask2former.convert import blocks_to_unfold
from vislab.models.preprocessor import ImagePreprocessor
from vislab.systems.cae import CAE
from vislab.zoo.catalogue import Entry, Weights, read_catalogue
from vislab.zoo.pretrained import _from_hub, download

PHOTO = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
PREPROCESSOR = {
    "type": ImagePreprocessor, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "size_divisor": 32,
}  # fmt: skip
MASKS = {"type": Mask2Former, "backbone": SWIN, "inference": {"tasks": ("semantic",)}, **PARTS}
BOXES = {
    "type": DeformableDETR, "num_classes": 5, "num_queries": 6, "dim": 32, "num_levels": 4,
    "backbone": {"name": "resnet10t", "out_indices": (2, 3, 4), "model_args": {"zero_init_last": False}},
    "neck": {"norm_groups": 8}, "encoder": LAYERS, "decoder": LAYERS,
}  # fmt: skip
ENCODER = {"img_size": 16, "patch_size": 4, "dim": 16, "depth": 2, "num_heads": 2, "init_values": 0.5}
LITE0 = {"type": ImageClassifier, "name": "tf_efficientnet_lite0", "num_classes": 1000}


def config_of(model: Mapping, folder: Path) -> Path:
    """Write a config of the model whose pipeline leaves images as they are."""
    pipeline = [{"type": LoadImage, "min_size": 8}, {"type": PackInputs}]
    model = {"data_preprocessor": PREPROCESSOR, **model}
    data = {"dataset": {"type": ImageFolder, "pipeline": pipeline}}
    path = folder / "small.py"
    path.write_text(f"model = {literal(model)}\ntest_dataloader = {literal(data)}\n")
    return path


def literal(value: object) -> str:
    """Return a value of a config as source code, with classes by their full names."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return repr(f"{value.__module__}.{value.__name__}" if isinstance(value, type) else value)


def converted(file: Path, layout: str, config: Path, **settings: str) -> Path:
    """Convert a downloaded file, whose layout must be detected and whose weights must all find their place."""
    out = config.with_name("ours.safetensors")
    report = convert(file, out, config, **settings)
    assert report.layout == layout and not (report.missing or report.unexpected or report.mismatched)
    return out


def fetched(content: bytes, name: str, folder: Path) -> Path:
    """Serve a file at a plain address and download it as the catalogue does."""
    with serving() as site:
        site.files[f"/{name}"] = content
        weights = Weights("", "", None, (f"{site.address}/{name}",), "", "official", "MIT")
        return download(Entry("small", "A", folder / "small.py", (), (weights,)))


def pickled(state: Mapping[str, Tensor]) -> bytes:
    """As in the model zoo of detectron2."""
    arrays = {name: value.numpy() for name, value in state.items()}
    return pickle.dumps({"model": arrays, "__author__": "third_party", "matching_heuristics": True})


def saved(content: object, folder: Path) -> bytes:
    torch.save(content, folder / "source.pth")
    return (folder / "source.pth").read_bytes()


def mmdet_state(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict().items()
    return {mmdet_name(name): blocks_to_unfold(v) if ".downsample." in name else v for name, v in state}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))


def test_the_layouts_of_the_catalogue_are_tested_here():
    entries = read_catalogue().values()
    listed = {(entry.config.parent.name, weights.layout) for entry in entries for weights in entry.weights}
    tested = {
        ("eco_m2f", "official"),
        ("eco_m2f", "hf"),
        ("mutdet", "hf"),
        ("classification", "efficientnet_pytorch"),
    }
    assert {pair for pair in listed if pair[1] != "vislab"} == tested


@pytest.mark.parametrize("layout", ["official", "mmdet"])
def test_masks(layout, tmp_path):
    source, config = small_model().eval(), config_of(MASKS, tmp_path)
    if layout == "official":
        state = {official_name(name): value for name, value in source.state_dict().items()}
        file = fetched(pickled(state), "model_final_0a1b2c.pkl", tmp_path)
    else:
        file = fetched(saved({"state_dict": mmdet_state(source), "meta": {}}, tmp_path), "epoch_50.pth", tmp_path)
    predictor = Predictor(config, converted(file, layout, config), device="cpu")
    found = predictor([PHOTO])[0].semantic
    np.testing.assert_array_equal(found, semantic_of(source, predictor.model))
    assert len(np.unique(found)) > 1


def semantic_of(source: nn.Module, prepares: nn.Module) -> np.ndarray:
    """The class of each pixel of PHOTO by the published rule, from the outputs of either Mask2Former."""
    inputs = prepares.data_preprocessor({"inputs": [torch.from_numpy(PHOTO).permute(2, 0, 1)]})["inputs"]
    with torch.inference_mode():
        outputs = source(inputs)
    classes = outputs["class_logits" if "class_logits" in outputs else "class_queries_logits"]
    masks = outputs["mask_logits" if "mask_logits" in outputs else "masks_queries_logits"]
    masks = F.interpolate(masks, PHOTO.shape[:2], mode="bilinear").sigmoid()
    return torch.einsum("qc,qhw->chw", classes[0].softmax(-1)[:, :-1], masks[0]).argmax(0).numpy()


@pytest.mark.parametrize("kind", ["plain", "box_refine", "two_stage"])
def test_boxes(kind, tmp_path):
    torch.manual_seed(0)
    source = small_detr(kind).eval()
    config = config_of(BOXES | {"box_refine": kind != "plain", "two_stage": kind == "two_stage"}, tmp_path)
    content = saved({"model": official_state(source, kind), "epoch": 49}, tmp_path)
    predictor = Predictor(config, converted(fetched(content, "r50.pth", tmp_path), "official", config), device="cpu")
    (found,) = predictor([PHOTO])
    source.data_preprocessor, predictor.model = predictor.model.data_preprocessor, source
    (expected,) = predictor([PHOTO])
    for field in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    assert len(np.unique(found.scores)) > 5


@pytest.mark.parametrize("layout", ["efficientnet_pytorch", "timm"])
def test_classes(layout, tmp_path):
    reference, state = published("tf_efficientnet_lite0")
    config = config_of(LITE0, tmp_path)
    state = state if layout == "efficientnet_pytorch" else reference.state_dict()
    weights = converted(fetched(saved(state, tmp_path), "lite0.pth", tmp_path), layout, config)
    predictor = Predictor(config, weights, device="cpu")
    inputs = predictor.model.data_preprocessor({"inputs": [torch.from_numpy(PHOTO).permute(2, 0, 1)]})["inputs"]
    with torch.inference_mode():
        expected = reference(inputs).softmax(dim=1)[0]
    np.testing.assert_allclose(predictor([PHOTO])[0].probabilities, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("part", ["", "encoder"])
@pytest.mark.parametrize("layout", ["official", "official_v1", "mmpretrain"])
def test_pretrained_encoders(layout, part, tmp_path):
    """Of a pre-trained model the features are compared: the whole model, and a classifier with its encoder."""
    width = 16 if layout == "mmpretrain" else 24  # of the regressor
    source = small_cae(regressor_dim=width, encoder=ViT(**ENCODER)).eval()
    perturb(source)
    parts = {
        "regressor": {"dim": width, "depth": 2, "num_heads": 4, "init_values": 0.5},
        "decoder": {"depth": 2, "num_heads": 2, "init_values": 0.5},
    }
    encoder = {"type": ViT, **ENCODER}
    config = config_of({"type": CAE, "encoder": encoder, **parts, "data_preprocessor": None}, tmp_path)
    content = saved({"model": foreign_state(source, layout), "epoch": 299}, tmp_path)
    weights = converted(fetched(content, "pretrained.pth", tmp_path), layout, config, part=part)
    if part:
        model = EncoderClassifier(encoder=encoder, num_classes=3, data_preprocessor=PREPROCESSOR).eval()
        load_state(model, load_checkpoint(weights), partial=True)  # as `vislab train --load-from`
    else:
        model = build_model(config, weights, "cpu")
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(model.encoder(images), source.encoder(images))


@pytest.mark.peer
def test_masks_of_the_hub_are_those_of_transformers(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    from tests.helpers.mask2former_peer import TINY, build_ours, build_peer

    peer, ours = build_peer(TINY).eval(), build_ours(TINY)
    peer.config.id2label = {i: f"thing {i}" for i in range(TINY["classes"])}
    peer.save_pretrained(tmp_path / "hub/owner/small")
    sizes = {"dim": 32, "num_heads": 4, "ffn_dim": 64}
    swin = {key: TINY[key] for key in ("embed_dim", "depths", "num_heads")}
    model = MASKS | {
        "backbone": {"name": "swin_tiny_patch4_window7_224", "out_norm": "layer", "model_args": swin},
        "num_classes": ours.num_classes,
        "num_queries": TINY["queries"],
        "pixel_decoder": {**sizes, "mask_dim": 32, "num_layers": TINY["encoder_layers"], "norm_groups": 32},
        "decoder": {**sizes, "mask_dim": 32, "num_layers": TINY["decoder_layers"]},
    }
    predictor = from_hub(tmp_path, model, monkeypatch)
    inputs = predictor.model.data_preprocessor({"inputs": [torch.from_numpy(PHOTO).permute(2, 0, 1)]})["inputs"]
    with torch.inference_mode():
        found, expected = predictor.model(inputs), peer(inputs)
    for key, name in (("class_logits", "class_queries_logits"), ("mask_logits", "masks_queries_logits")):
        torch.testing.assert_close(found[key], expected[name], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(predictor([PHOTO])[0].semantic, semantic_of(peer, predictor.model))
    assert predictor.metainfo["classes"][6] == "thing 6"


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["plain", "box_refine", "two_stage"])
def test_boxes_of_the_hub_are_those_of_transformers(kind, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    from tests.helpers.deformable_detr_peer import TINY, build_peer

    peer = build_peer(TINY, kind)
    peer.config.save_pretrained(tmp_path / "hub/owner/small")
    torch.save(peer.state_dict(), tmp_path / "hub/owner/small/pytorch_model.bin")
    layers = {"num_layers": TINY["layers"], "num_heads": TINY["heads"], "ffn_dim": TINY["ffn"], "dropout": 0.0}
    model = {
        "type": DeformableDETR, "num_classes": TINY["classes"], "num_queries": TINY["queries"], "dim": TINY["dim"],
        "backbone": {"name": TINY["backbone"], "out_indices": (2, 3, 4)}, "encoder": layers, "decoder": layers,
        "box_refine": kind != "plain", "two_stage": kind == "two_stage",
    }  # fmt: skip
    predictor = from_hub(tmp_path, model, monkeypatch)
    (found,) = predictor([PHOTO])
    inputs = predictor.model.data_preprocessor({"inputs": [torch.from_numpy(PHOTO).permute(2, 0, 1)]})["inputs"]
    with torch.inference_mode():
        outputs = peer(pixel_values=inputs)
    processor = transformers.DeformableDetrImageProcessor()
    sizes = [PHOTO.shape[:2]]
    (expected,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=sizes, top_k=100)
    np.testing.assert_allclose(found.scores, expected["scores"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found.labels[:10], expected["labels"][:10])
    np.testing.assert_allclose(found.boxes[:10], expected["boxes"][:10], rtol=0, atol=2e-2)


def from_hub(folder: Path, model: Mapping, monkeypatch) -> Predictor:
    """Download `owner/small` from a local hub, convert it, and return its predictor."""
    config = config_of(model, folder)
    with serving_hub(folder / "hub") as address:
        monkeypatch.setattr(
            "vislab.zoo.pretrained.hf_hub_download",
            lambda *names, **settings: hf_hub_download(*names, endpoint=address, cache_dir=folder / "home", **settings),
        )
        entry = Entry("small", "A", config, (), (Weights("owner/small", "", None, (), "", "hf", "MIT"),))
        file = download(entry)
        _from_hub(entry, ("config.json",))
    return Predictor(config, converted(file, "hf", config), device="cpu")
