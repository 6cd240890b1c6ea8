"""Test EcoDETR: behavior, exits and gate as in EcoM2F, padding, and the derived dataset."""

import numpy as np
import pytest
import torch

from tests.helpers.deformable_detr import CLASSES, LAYERS, images, labeled, small
from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError
from vislab.systems.eco_m2f import EcoDETR, derive, exit_costs, image_quality, layer_macs

EXITS = (1, 2, 3)


def build(kind: str = "rotated", **changes) -> EcoDETR:
    settings = {"exits": EXITS, "encoder": LAYERS | {"num_layers": 3}, "inference": {"score_threshold": 0.0}}
    model = small(kind, EcoDETR, **(settings | changes))
    for layer in model.encoder.layers:
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.05)
    return model


def batches(count: int) -> list[dict]:
    """Batches of two images with rotated boxes."""
    pixels = (images(count) * 255).to(torch.uint8)
    samples = labeled(count)
    for i, sample in enumerate(samples):
        sample.set_metainfo({"img_path": f"{i}.png"})
    return [{"inputs": list(pixels[i : i + 2]), "data_samples": samples[i : i + 2]} for i in range(0, count, 2)]


class TestPlain(ModelBehavior):
    kind = "plain"
    without_gradient = ("gate.",)

    def build(self):
        return build(self.kind)

    def inputs(self, count):
        return images(count)

    def samples(self, count):
        return labeled(count)


class TestRotated(TestPlain):
    kind = "rotated"


def test_loss_at_an_exit_is_weighted_and_leaves_deeper_layers_alone():
    torch.manual_seed(0)
    model = build("two_stage").train()
    model.train_exit = 1
    losses = model(images(2), labeled(2), mode="loss")
    sum(losses.values()).backward()
    layers = model.encoder.layers
    assert all(p.grad is None for p in (*layers[1].parameters(), *layers[2].parameters()))
    assert all(p.grad is not None for p in layers[0].parameters())
    model.eval()
    with torch.no_grad():
        at_two = model(images(2), labeled(2), mode="loss", num_layers=2)
        model.alpha = lambda k: 1.0
        for name, value in model(images(2), labeled(2), mode="loss", num_layers=2).items():
            torch.testing.assert_close(at_two[name], 2 * value)
    everything = build("two_stage", exit_mode="all")(images(2), labeled(2), mode="loss")
    assert {key.split(".")[0] for key in everything} == {"e1", "e2", "e3"}


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True])
def test_images_of_a_batch_stop_after_their_own_number_of_layers(padded):
    """The same as with one number for the batch, also where a smaller image has padding."""
    torch.manual_seed(0)
    model, inputs, samples = build().eval(), images(3), labeled(3)
    if padded:
        samples[1].set_metainfo({"img_shape": (40, 70)})
        inputs[1, :, 40:], inputs[1, :, :, 70:] = 0, 0
    mixed = model(inputs, samples, num_layers=[3, 1, 2])
    assert mixed["num_layers"].tolist() == [3, 1, 2]
    for i, k in enumerate([3, 1, 2]):
        alone = model(inputs, samples, num_layers=k)
        torch.testing.assert_close(mixed["logits"][i], alone["logits"][i], rtol=1e-4, atol=1e-5)
        others = [model(inputs, samples, num_layers=other)["logits"][i] for other in EXITS if other != k]
        assert all((alone["logits"][i] - other).abs().max() > 1e-3 for other in others)


@torch.no_grad()
def test_all_layers_are_the_detector_itself():
    torch.manual_seed(0)
    model = build("rotated").eval()
    plain = small("rotated", encoder=LAYERS | {"num_layers": 3}).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("gate.")})
    ours, theirs = model(images(2)), plain(images(2))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@torch.no_grad()
def test_the_gate_does_not_see_the_padding():
    torch.manual_seed(0)
    model, inputs, samples = build("two_stage").eval(), images(2), labeled(2)
    samples[1].set_metainfo({"img_shape": (32, 48)})
    levels = model.project(inputs, samples)
    features = model.gate_features(levels)
    assert features.shape == (2, 32)
    levels.tokens.masked_fill_(~levels.mask[..., None], 1e4)
    torch.testing.assert_close(model.gate_features(levels), features)


def test_derived_qualities_are_those_of_single_exits(tmp_path):
    torch.manual_seed(0)
    model = build()
    found = derive(model, batches(4), tmp_path / "d.npz", measure="rotated_ap")
    assert found.quality.shape == (4, 3) and found.features.shape == (4, 32) and found.counts is None
    for i, batch in enumerate(batches(4)):
        for column, k in enumerate(EXITS):
            with torch.no_grad():
                data = model.eval().data_preprocessor(batch)
                samples = model(**data, mode="predict", num_layers=k)
            expected = [image_quality(s, "rotated_ap", CLASSES)[0] for s in samples]
            np.testing.assert_allclose(found.quality[2 * i : 2 * i + 2, column], expected)
    assert model.forward_predict(images(2), labeled(2), num_layers=[1, 3])[0].num_layers == 1


@torch.no_grad()
@pytest.mark.parametrize("kind", ["plain", "two_stage", "rotated"])
def test_an_exit_more_costs_a_layer_more(kind):
    model = build(kind)
    trained = [p.requires_grad for p in model.parameters()]
    costs = exit_costs(model, 64, 96, EXITS)
    step = layer_macs(model.encoder.layers[0], model.project(images(1), None).shapes) / 1e9
    assert costs[2] - costs[1] == pytest.approx(step) and costs[3] - costs[2] == pytest.approx(step)
    assert costs[1] > step and [p.requires_grad for p in model.parameters()] == trained


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exits": (1, 4)}, "EcoDETR: exit 4 is deeper than the encoder, which has 3 layers"),
        ({"policy": 7}, "EcoDETR: policy=7 is not among the exits"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        build(**change)


def test_graphs_have_one_exit():
    with pytest.raises(ConfigError, match="chooses an exit for each image"):
        build(policy="gate").export_graph()
    with pytest.raises(ConfigError, match="--exit 5 is not one of the exits"):
        build().export_graph(5)
    assert build(policy=2).export_graph().task == "rotated detection"
