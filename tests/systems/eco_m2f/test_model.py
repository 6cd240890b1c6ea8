"""EcoM2F: step A's draws, step B's data set, step C's gate, policies in a batch, costs."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from torch import nn

from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError, DataError
from vislab.layers.deformable_attention import DeformableEncoderLayer
from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample
from vislab.systems.eco_m2f import (
    Derived,
    EcoM2F,
    best_exits,
    derive,
    exit_costs,
    fit_gate,
    frontier,
    image_quality,
    layer_macs,
)
from vislab.systems.eco_m2f.gate import gate_choice, policies
from vislab.systems.eco_m2f.hooks import SampleExitHook, draw_exit

CLASSES, EXITS = 4, (1, 2, 3)


def build(**changes) -> EcoM2F:
    settings = {
        "num_classes": CLASSES,
        "thing_classes": 2,
        "exits": EXITS,
        "num_queries": 6,
        "pixel_decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 48, "num_layers": 3},
        "decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 48, "num_layers": 3},
        "loss": {"num_points": 50},
        "score_threshold": 0.0,
        "overlap_threshold": 0.0,
        "data_preprocessor": {"type": ImagePreprocessor, "size_divisor": 32},
    } | changes
    model = EcoM2F(backbone={"name": "resnet10t", "model_args": {"zero_init_last": False}}, **settings)
    for layer in model.pixel_decoder.layers:
        nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.05)
    return model


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def labeled(count: int) -> list[DataSample]:
    found = []
    for i in range(count):
        sample = DataSample(metainfo={"img_path": f"{i}.png", "img_shape": (64, 64), "ori_shape": (64, 64)})
        ids = torch.ones(64, 64, dtype=torch.int32)
        ids[10 + i : 40, 5:30] = 2
        segments = [{"id": 1, "category": 3, "iscrowd": 0}, {"id": 2, "category": i % 2, "iscrowd": 0}]
        masks = torch.stack([ids == 1, ids == 2]).to(torch.uint8)
        sample.gt_instances = InstanceData(labels=torch.tensor([3, i % 2]), masks=masks)
        sample.gt_panoptic = PixelData(data=ids[None], metainfo={"segments_info": segments})
        sample.gt_sem_seg = PixelData(data=torch.where(ids == 1, 3, i % 2)[None].long())
        found.append(sample)
    return found


class TestBehavior(ModelBehavior):
    without_gradient = ("gate.",)
    batch_tolerance = 1e-4

    def build(self):
        return build()

    def inputs(self, count):
        return images(count)

    def samples(self, count):
        return labeled(count)


# ------------------------------------------------------------------------------------------------------------- step A


def test_draws_depend_on_seed_and_step_alone_and_cover_all_exits():
    draws = [draw_exit((2, 3, 4, 5, 6), 7, step) for step in range(500)]
    assert draws == [draw_exit((2, 3, 4, 5, 6), 7, step) for step in range(500)]
    assert draws != [draw_exit((2, 3, 4, 5, 6), 8, step) for step in range(500)]
    assert all(60 < draws.count(k) < 140 for k in (2, 3, 4, 5, 6))
    assert {draw_exit((2, 3), 0, step, (0, 1)) for step in range(20)} == {3}


def test_hook_draws_once_for_each_accumulated_step_and_the_same_for_all_processes():
    from types import SimpleNamespace

    model = build()
    runner = SimpleNamespace(
        model=model, seed=5, iter=0, optim_wrapper=SimpleNamespace(_accumulative_counts=4),
        message_hub=SimpleNamespace(update_scalar=lambda *a: None),
    )  # fmt: skip
    hook, drawn = SampleExitHook(), []
    hook.before_train(runner)
    for runner.iter in range(32):
        hook.before_train_iter(runner, 0)
        drawn.append(model.train_exit)
    assert all(len(set(drawn[i : i + 4])) == 1 for i in range(0, 32, 4)) and len(set(drawn)) > 1
    with pytest.raises(ConfigError, match="weights"):
        SampleExitHook(weights=(1, 2)).before_train(runner)


def test_loss_at_an_exit_is_weighted_and_leaves_deeper_layers_alone():
    sample = labeled(1)

    def losses(model, exit):
        torch.manual_seed(1)
        return model(images(1), sample, mode="loss", num_layers=exit)

    torch.manual_seed(0)
    linear = build(alpha="linear")
    constant = build(alpha="constant")
    constant.load_state_dict(linear.state_dict())
    linear.train(), constant.train()
    for module in (*linear.modules(), *constant.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    torch.testing.assert_close(losses(linear, 2)["loss_cls"], 2 * losses(constant, 2)["loss_cls"])
    linear.train_exit = 1
    sum(losses(linear, None).values()).backward()
    layers = linear.pixel_decoder.layers
    assert all(p.grad is None for p in (*layers[1].parameters(), *layers[2].parameters()))
    assert all(p.grad is not None for p in layers[0].parameters())
    everything = build(exit_mode="all")(images(1), sample, mode="loss")
    assert {key.split(".")[0] for key in everything} == {"e1", "e2", "e3"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exits": (1, 9)}, "deeper"),
        ({"exits": (3, 2)}, "rising"),
        ({"exit_mode": "some"}, "sample, all, full"),
        ({"alpha": "cubic"}, "constant"),
        ({"policy": 7}, "among the exits"),
        ({"policy": "guess"}, "gate, full"),
        ({"policy": "random", "histogram": (1.0,)}, "histogram"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        build(**change)


# ----------------------------------------------------------------------------------------------------------- policies


@torch.no_grad()
def test_the_gate_decides_for_each_image_whatever_its_batch():
    torch.manual_seed(0)
    model = build(policy="gate").eval()
    inputs = torch.cat([images(3), 1 - images(3)[:1] * 3])
    features = model.gate_features(model.pixel_decoder.project(model.backbone(inputs)))
    model.gate.weight.copy_(1e5 * (features[:3] - features.mean(0)))  # each row answers to an image
    model.gate.bias.copy_(-(model.gate.weight @ features.mean(0)))
    together = model(inputs)
    assert len(set(together["num_layers"].tolist())) > 1
    for i in range(4):
        alone = model(inputs[i : i + 1])
        assert alone["num_layers"].item() == together["num_layers"][i].item()
        torch.testing.assert_close(alone["mask_logits"], together["mask_logits"][i : i + 1], rtol=1e-3, atol=1e-3)
        fixed = model(inputs[i : i + 1], num_layers=int(together["num_layers"][i]))
        assert torch.equal(fixed["class_logits"], alone["class_logits"])


@torch.no_grad()
def test_the_dial_trades_depth_for_cost():
    model = build(policy="gate").eval()
    means = []
    for model.depth_penalty in (-100.0, 0.0, 100.0):
        means.append(model(images(3))["num_layers"].float().mean().item())
    assert means[0] == 3 and means[2] == 1 and means[0] >= means[1] >= means[2]


@torch.no_grad()
def test_fixed_oracle_and_random():
    model = build(policy=2).eval()
    assert model(images(2))["num_layers"].tolist() == [2, 2]
    model.set_policy("oracle")
    samples = labeled(2)
    with pytest.raises(ConfigError, match="best_exit"):
        model(images(2), samples)
    for sample, k in zip(samples, (3, 1), strict=True):
        sample.set_metainfo({"best_exit": k})
    predicted = model(images(2), samples, mode="predict")
    assert [s.num_layers for s in predicted] == [3, 1]
    model.set_policy("random", (0, 0, 1))
    assert model(images(4))["num_layers"].tolist() == [3] * 4


@torch.no_grad()
def test_costs_reach_to_the_masks():
    """Whatever all exits share is counted: the same as running the model without its encoder layers, masks included."""
    from torch.utils.flop_counter import FlopCounterMode

    model = build().eval()
    costs = exit_costs(model, 64, 96, EXITS)
    with FlopCounterMode(display=False) as counter:
        maps = model.backbone(torch.zeros(1, 3, 64, 96))
        masks = model.outputs(maps[0], model.pixel_decoder.project(maps))["mask_logits"]
    layers = model.pixel_decoder.layers
    for k in EXITS:
        expected = counter.get_total_flops() / 2 + sum(layer_macs(layer, 64, 96) for layer in layers[:k])
        assert 1e9 * costs[k] == pytest.approx(expected, rel=1e-12)
    assert masks.shape[1:] == (6, 16, 24)


# ------------------------------------------------------------------------------------------------------------- step B


def batches(count: int, size: int = 2) -> list[dict]:
    pixels = (images(count) * 255).to(torch.uint8)
    samples = labeled(count)
    return [
        {"inputs": list(pixels[i : i + size]), "data_samples": samples[i : i + size]} for i in range(0, count, size)
    ]


def test_derived_qualities_are_those_of_single_exits(tmp_path):
    torch.manual_seed(0)
    model = build(tasks=("panoptic", "semantic"))
    derived = derive(model, batches(3), tmp_path / "d.npz")
    assert derived.quality.shape == (3, 3) and derived.features.shape == (3, 32) and derived.exits == EXITS
    model.eval()
    for i, batch in enumerate(batches(3, 1)):
        for column, k in enumerate(EXITS):
            with torch.no_grad():
                data = model.data_preprocessor(batch)
                sample = model(**data, mode="predict", num_layers=k)[0]
            assert image_quality(sample, "pq", CLASSES)[0] == pytest.approx(derived.quality[i, column])
    same = Derived.load(tmp_path / "d.npz")
    assert same.names == derived.names and np.array_equal(same.counts, derived.counts)
    other = derive(model, batches(3), tmp_path / "m.npz", measure="miou")
    assert ((other.quality >= 0) & (other.quality <= 1)).all() and other.counts.shape == (3, 3, CLASSES, 3)


def test_deriving_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    model, path = build(), tmp_path / "d.npz"
    whole = derive(model, batches(5), tmp_path / "whole.npz")

    def interrupted():
        for i, batch in enumerate(batches(5)):
            if i == 2:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        derive(model, interrupted(), path, save_every=2)
    assert len(Derived.load(path).names) == 4
    seen = []
    project = model.pixel_decoder.project
    monkeypatch.setattr(model.pixel_decoder, "project", lambda m: seen.append(len(m[0])) or project(m))
    again = derive(model, batches(5), path)
    assert seen == [1] and again.names == whole.names
    np.testing.assert_allclose(again.quality, whole.quality)
    with pytest.raises(DataError, match="another file"):
        derive(model, batches(5), path, measure="miou")
    path.write_bytes(b"cut off")
    with pytest.raises(DataError, match="Run derive again"):
        derive(model, batches(5), path)


def test_average_precision_of_an_image():
    sample = labeled(1)[0]
    truth = sample.gt_instances
    sample.pred_instances = InstanceData(labels=truth.labels, masks=truth.masks, scores=torch.tensor([0.9, 0.8]))
    assert image_quality(sample, "ap", CLASSES) == (pytest.approx(1.0), None)
    with pytest.raises(DataError, match="pred_panoptic"):
        image_quality(sample, "pq", CLASSES)


# ------------------------------------------------------------------------------------------------------------- step C


def toy(count=300, seed=0) -> Derived:
    """Hard images (a positive first feature) gain from depth, easy ones do not."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 2, (count, 8)).astype(np.float32) + 5
    hard = features[:, :1] > 5
    quality = np.where(hard, 0.4 + 0.05 * np.arange(3), 0.6) + rng.normal(0, 0.01, (count, 3))
    return Derived(quality, features, EXITS, [str(i) for i in range(count)], None, "pq")


def test_labels_follow_beta():
    quality = np.random.default_rng(0).random((200, 3))
    assert np.array_equal(best_exits(quality, EXITS, 0), quality.argmax(1))
    assert (best_exits(quality, EXITS, 10) == 0).all()
    assert best_exits(np.ones((1, 3)), EXITS, 0)[0] == 0  # of equals the shallowest
    depth = [best_exits(quality, EXITS, beta).mean() for beta in np.linspace(0, 1, 40)]
    assert all(a >= b for a, b in zip(depth, depth[1:], strict=False)) and depth[0] > depth[-1]


@pytest.mark.parametrize("loss", ["regress", "expected", "soft", "hard"])
def test_a_fitted_gate_beats_chance_at_the_same_cost(loss):
    gate = nn.Linear(8, 3)
    fit_gate(gate, toy(), 0.02, loss=loss)
    gated, chance, oracle = policies(gate, toy(seed=1), 0.02)
    assert gated["cost"] == pytest.approx(chance["cost"])
    assert gated["quality"] > chance["quality"] + 0.015
    assert gated["over_random"] == pytest.approx(gated["quality"] - chance["quality"])
    assert 0 < gated["error"] < gated["over_random"] / 5
    assert gated["over_fixed"] > 0.015
    assert oracle["quality"] - 0.02 * oracle["depth"] >= gated["quality"] - 0.02 * gated["depth"]
    chosen = gate_choice(gate, toy(seed=1), depth_penalty=100.0)
    assert (chosen == 0).all()


def test_a_regressing_gate_knows_every_beta():
    gate, other = nn.Linear(8, 3), nn.Linear(8, 3)
    fit_gate(gate, toy(), 0.0, loss="regress", weight_decay=0.1)
    fit_gate(other, toy(), 0.02, loss="regress", weight_decay=0.1)
    chosen = gate_choice(gate, toy(seed=1), depth_penalty=0.02)
    assert 0 < chosen.mean() < 2
    assert np.array_equal(chosen, gate_choice(other, toy(seed=1)))


def test_without_anything_to_learn_the_gate_gives_one_exit_to_all():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (60, 40)).astype(np.float32)
    quality = np.array([0.5, 0.6, 0.55]) + rng.normal(0, 0.05, (60, 3))
    derived = Derived(quality, noise, EXITS, [""] * 60, None, "pq")
    gate = nn.Linear(40, 3)
    fit_gate(gate, derived, 0.0)
    assert (gate_choice(gate, derived) == 1).mean() > 0.9


def test_published_fit_moves_the_gate_and_frontier_lists_everything():
    gate = nn.Linear(8, 3)
    before = gate.weight.detach().clone()
    fit_gate(gate, toy(), 0.02, loss="soft", published=True, steps=20)
    assert not torch.equal(before, gate.weight)
    rows = frontier(toy(), toy(seed=1), betas=(0.0, 0.02, 1.0), costs={1: 10.0, 2: 20.0, 3: 30.0})
    assert [r["policy"] for r in rows] == ["exit 1", "exit 2", "exit 3"] + ["gate", "random", "oracle"] * 3
    assert rows[0]["cost"] == 10 and rows[-3]["depth"] == 1


# --------------------------------------------------------------------------------------------------------------- cost


def test_layer_costs_are_the_published_ones():
    layer = DeformableEncoderLayer(dim=256, num_heads=8, num_levels=3, num_points=4, ffn_dim=1024)
    assert sum(p.numel() for p in layer.parameters()) == 732_192
    assert layer_macs(layer, 1024, 2048) / 1e9 == pytest.approx(31.467, abs=5e-4)
    assert layer_macs(layer, 800, 1344) / 1e9 == pytest.approx(16.133, abs=5e-4)
    tokens = 1024 * 2048 // 32**2 * (1 + 4 + 16)
    sampled = layer_macs(layer, 1024, 2048, sampling=True) - layer_macs(layer, 1024, 2048)
    assert sampled == tokens * 256 * 3 * 4 * 4  # levels, points, corners
    published = (411.981, 443.448, 474.914, 506.381, 537.848)
    for shallow, deep in zip(published, published[1:], strict=False):
        assert deep - shallow == pytest.approx(layer_macs(layer, 1024, 2048) / 1e9, abs=1.1e-3)


def test_an_exit_more_costs_a_layer_more():
    model = build()
    costs = exit_costs(model, 64, 96, EXITS)
    step = layer_macs(model.pixel_decoder.layers[0], 64, 96) / 1e9
    assert costs[2] - costs[1] == pytest.approx(step) and costs[3] - costs[2] == pytest.approx(step)
    assert costs[1] > step
