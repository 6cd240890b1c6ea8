"""Test the exported graph of every system: it computes what the model predicts; and, slow, its file does."""

import onnxruntime
import pytest
import torch

from tests.helpers import cae, deformable_detr, eco_m2f, mutdet
from tests.helpers.dense import ATTO
from vislab.apis.exporting import export_graph, export_model
from vislab.errors import ConfigError
from vislab.models.classifier import ImageClassifier
from vislab.models.dense import DepthEstimator, SemanticSegmentor
from vislab.models.encoder_classifier import EncoderClassifier
from vislab.models.encoders.vit import ViT
from vislab.models.fpn import FPNNetwork
from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample
from vislab.systems.hnerv import HNeRV
from vislab.systems.timesnet import TimesNet

SIZE = (64, 96)
STATS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}


def timesnet(**changes) -> TimesNet:
    return TimesNet(encoder=dict(ATTO), decoder=dict(ATTO), gate_width=16, **changes)


def vit_classifier(**settings) -> EncoderClassifier:
    encoder = ViT(img_size=SIZE, patch_size=16, dim=32, depth=2, num_heads=2, init_values=0.3, **settings)
    return EncoderClassifier(encoder=encoder, num_classes=5, data_preprocessor=ImagePreprocessor(**STATS))


MODELS = {  # name: how it is built, and the (height, width) of its images
    "depth": (lambda: DepthEstimator(network=timesnet()), SIZE),
    "segmentation": (lambda: SemanticSegmentor(network=timesnet(out_channels=4), num_classes=4), SIZE),
    "fpn": (lambda: DepthEstimator(network=FPNNetwork(encoder=ATTO, width=16)), SIZE),
    "timm classifier": (lambda: ImageClassifier(name="test_vit", num_classes=5, img_size=SIZE), SIZE),
    "fine-tuned ViT": (lambda: vit_classifier(rel_pos_bias=True), SIZE),
    "eco_m2f": (lambda: eco_m2f.build_model(), SIZE),
    "plain detr": (lambda: deformable_detr.small("plain"), SIZE),
    "two-stage detr": (lambda: deformable_detr.small("two_stage"), SIZE),
    "rotated detr": (lambda: deformable_detr.small("rotated"), SIZE),
    "mutdet": (lambda: mutdet.small_mutdet(), SIZE),
    "cae": (lambda: cae.small_cae(), (12, 20)),
    "hnerv": (lambda: HNeRV(strides=(5, 2, 2), embed_dim=8, decoder_width=16), (40, 60)),
}
FREE = ("depth", "segmentation", "fpn", "hnerv")  # models whose files can have free sizes


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS[name][0]().eval()


def predicted(model: torch.nn.Module, images: torch.Tensor) -> list[DataSample]:
    """Predictions for images with values from 0 to 255, through the data preprocessor."""
    shape = {"img_shape": tuple(images.shape[-2:]), "ori_shape": tuple(images.shape[-2:])}
    samples = [DataSample(metainfo=dict(shape)) for _ in images]
    with torch.no_grad():
        return model.test_step({"inputs": list(images.to(torch.uint8)), "data_samples": samples})


def run_graph(model: torch.nn.Module, size: tuple[int, int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Outputs of the exported graph by name, and its input."""
    graph = export_graph(model).eval()
    inputs = graph.example(2, size, seed=0)
    with torch.no_grad():
        return dict(zip(graph.outputs, graph(inputs), strict=True)), inputs


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("name", ["depth", "fpn"])
def test_depth(name):
    model = build(name)
    outputs, images = run_graph(model, SIZE)
    close(outputs["depth"], torch.stack([sample.pred_depth.data for sample in predicted(model, images)]))
    assert outputs["depth"].std() > 1e-3


def test_segmentation():
    model = build("segmentation")
    outputs, images = run_graph(model, SIZE)
    expected = torch.cat([sample.pred_sem_seg.data for sample in predicted(model, images)])
    assert (outputs["labels"] == expected).float().mean() > 0.999
    assert torch.equal(outputs["logits"].argmax(1), outputs["labels"])


@pytest.mark.parametrize("name", ["timm classifier", "fine-tuned ViT"])
def test_classes(name):
    model = build(name)
    outputs, images = run_graph(model, SIZE)
    close(outputs["scores"], torch.stack([sample.pred_label.score for sample in predicted(model, images)]))
    close(outputs["logits"].softmax(1), outputs["scores"])


@pytest.mark.parametrize("name", ["plain detr", "two-stage detr", "rotated detr", "mutdet"])
def test_boxes(name):
    model = build(name)
    outputs, images = run_graph(model, SIZE)
    for i, sample in enumerate(predicted(model, images)):
        found = sample.pred_instances
        close(outputs["boxes"][i], found.rbboxes if model.rotated else found.bboxes, 1e-3)
        close(outputs["scores"][i], found.scores)
        assert torch.equal(outputs["labels"][i], found.labels)
    if model.rotated:
        assert (outputs["boxes"][..., 2] >= outputs["boxes"][..., 3]).all()


def test_masks_of_each_exit():
    model = build("eco_m2f")
    images = eco_m2f.random_images(2) * 255
    seen = []
    for exit in (None, 3, 1):
        graph = export_graph(model, exit)
        with torch.no_grad():
            logits, masks = graph(images)
            expected = model(images / 255, mode="tensor", num_layers=exit or 3)
        close(logits, expected["class_logits"])
        close(masks, expected["mask_logits"], 1e-3)
        seen.append(masks)
    assert torch.equal(seen[0], seen[1]) and not torch.allclose(seen[0], seen[2], atol=1e-2)


def test_exits_that_cannot_be():
    model = build("eco_m2f")
    with pytest.raises(ConfigError, match=r"--exit 4 is not one of the exits \[1, 2, 3\]"):
        export_graph(model, 4)
    model.set_policy("gate")
    with pytest.raises(ConfigError, match="policy='gate' chooses an exit for each image"):
        export_graph(model)
    model.set_policy(2)
    logits = [export_graph(model, exit)(eco_m2f.random_images(1))[0] for exit in (None, 2, 3)]
    assert torch.equal(logits[0], logits[1]) and not torch.equal(logits[0], logits[2])


def test_tokens():
    model = build("cae")
    outputs, images = run_graph(model, (12, 20))
    batch = model.data_preprocessor({"inputs": list(images.to(torch.uint8))})
    with torch.no_grad():
        tokens = model.encoder(batch["inputs"])
    close(torch.cat((outputs["class_token"][:, None], outputs["patch_tokens"]), 1), tokens)


def test_frames():
    model = build("hnerv")
    outputs, embeddings = run_graph(model, (40, 60))
    assert embeddings.shape == (2, 8, 2, 3) and outputs["image"].shape == (2, 3, 40, 60)
    with torch.no_grad():
        close(outputs["image"], model.decode(embeddings))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
@pytest.mark.parametrize("name", MODELS)
def test_files(name, format, tmp_path):
    """Checked by `export_model` itself on three inputs; with free sizes where the model allows them."""
    model, size = build(name), MODELS[name][1]
    free = ("batch", "size") if name in FREE else ("batch",)
    out = tmp_path / f"model{'.onnx' if format == 'onnx' else '.pt2'}"
    done = export_model(model, out, format=format, size=size, dynamic=free)
    assert done.largest.relative <= 1e-4 and len({d.size for d in done.differences}) == (3 if name in FREE else 1)
    choices = {"segmentation": 1, "eco_m2f": 3, "plain detr": 1, "two-stage detr": 2, "rotated detr": 6, "mutdet": 6}
    assert done.choices == choices.get(name, 0)
    if format == "onnx":
        session = onnxruntime.InferenceSession(out)
        graph = export_graph(model)
        inputs = graph.example(3, size, seed=7)
        found = session.run(None, {graph.input_name: inputs.numpy()})
        assert [x.name for x in session.get_outputs()] == list(graph.outputs)
        assert [value.shape[0] for value in found] == [3] * len(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eco_m2f", "plain detr", "two-stage detr", "rotated detr", "mutdet"])
def test_a_file_for_each_size(name, tmp_path):
    """Tables of positions and sampling points are those of the size."""
    model = build(name)
    for size in ((64, 96), (96, 64), (128, 128)):
        done = export_model(model, tmp_path / f"{size[0]}x{size[1]}.onnx", size=size)
        assert done.largest.relative <= 1e-4 and {found.size for found in done.differences} == {size}


@pytest.mark.slow
def test_a_file_for_each_exit(tmp_path):
    model, sizes = build("eco_m2f"), []
    for exit in (1, 2, 3):
        done = export_model(model, tmp_path / f"{exit}.onnx", size=SIZE, exit=exit)
        assert done.largest.relative <= 1e-4 and done.metadata["exit"] == str(exit)
        sizes.append(done.path.stat().st_size)
    assert sizes == sorted(set(sizes))  # later layers are not in the files of earlier exits
