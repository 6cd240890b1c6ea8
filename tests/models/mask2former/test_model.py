"""Test Mask2Former: exits, losses, postprocessing, memory, sizes, invalid labels, parity with transformers (peer)."""

import pytest
import torch
from mmengine.structures import InstanceData

from tests.helpers.mask2former_peer import TINY, build_pair, random_labels
from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError, DataError
from vislab.models.mask2former import Mask2Former, Target
from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample

CLASSES = 5
SMALL = {
    "num_classes": CLASSES,
    "thing_classes": 3,
    "num_queries": 6,
    "pixel_decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 64, "num_layers": 3},
    "decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 64, "num_layers": 3},
    "loss": {"num_points": 60},
    "inference": {"tasks": ("panoptic", "instance", "semantic")},
    "data_preprocessor": {"type": ImagePreprocessor, "size_divisor": 32},
}


def small(**changes) -> Mask2Former:
    model = Mask2Former(backbone={"name": "resnet10t", "model_args": {"zero_init_last": False}}, **(SMALL | changes))
    for layer in model.pixel_decoder.layers:  # which start at zero, and would hide what hangs on positions
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.05)
    return model


def labeled(count: int, size=(64, 64)) -> list[DataSample]:
    labels, masks = random_labels(*size, CLASSES, counts=[2 + i % 2 for i in range(count)])
    samples = []
    for label, mask in zip(labels, masks, strict=True):
        sample = DataSample(metainfo={"img_shape": size, "ori_shape": size})
        sample.gt_instances = InstanceData(labels=label, masks=mask)
        samples.append(sample)
    return samples


class TestBehavior(ModelBehavior):
    batch_tolerance = 1e-4

    def build(self):
        return small()

    def inputs(self, count):
        return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))

    def samples(self, count):
        return labeled(count)


def test_skipped_layers_get_no_gradient():
    model = small()
    sum(model(torch.rand(1, 3, 64, 64), labeled(1), mode="loss", num_layers=2).values()).backward()
    layers = model.pixel_decoder.layers
    assert all(p.grad is None for p in layers[2].parameters())
    assert all(p.grad is not None for p in layers[1].parameters())


@pytest.mark.parametrize("depth", [0, 4, torch.tensor([1, 9])])
def test_impossible_exits_are_refused(depth):
    with pytest.raises(ConfigError, match="1..3"):
        small()(torch.rand(2, 3, 64, 64), num_layers=depth)


@pytest.mark.parametrize("size", [(70, 90), (33, 64)])
def test_sizes_that_are_no_multiple_of_32(size):
    outputs = small()(torch.rand(1, 3, *size))
    assert outputs["class_logits"].shape == (1, 6, CLASSES + 1)
    assert outputs["mask_logits"].shape == (1, 6, -(-size[0] // 4), -(-size[1] // 4))


def test_backbone_must_give_four_strides():
    with pytest.raises(ConfigError, match="strides"):
        Mask2Former(backbone={"name": "resnet10t", "out_indices": (2, 3, 4)}, num_classes=2)


# ------------------------------------------------------------------------------------------------------------ losses


def test_no_target_at_all_is_learned_as_no_object():
    model = small()
    samples = labeled(2)
    for sample in samples:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model(torch.rand(2, 3, 64, 64), samples, mode="loss")
    sum(losses.values()).backward()
    assert losses["loss_mask"] == 0 and losses["loss_dice"] == 0 and losses["loss_cls"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.decoder.mask_embed.parameters())


def test_crowds_are_no_targets():
    model, samples = small(), labeled(1)
    samples[0].gt_instances.ignore = torch.tensor([True, True])
    assert len(model.targets(samples, torch.rand(1, 3, 64, 64))[0].labels) == 0


def test_more_targets_than_queries():
    model = small(num_queries=2)
    losses = model(torch.rand(1, 3, 64, 64), labeled(2)[1:], mode="loss")
    assert all(v.isfinite() for v in losses.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("gt_instances"), "gt_instances"),
        (lambda s: s.gt_instances.pop("masks"), "masks"),
        (lambda s: s.gt_instances.set_field(s.gt_instances.labels + 9, "labels"), "num_classes"),
        (lambda s: s.set_field(InstanceData(labels=s.gt_instances.labels, masks=torch.ones(2, 9, 9)), "gt_instances"),
         "9, 9"),
    ],
)  # fmt: skip
def test_bad_labels_are_named(change, message):
    samples = labeled(1)
    change(samples[0])
    with pytest.raises(DataError, match=message):
        small()(torch.rand(1, 3, 64, 64), samples, mode="loss")


def test_large_logits_keep_the_cost_finite():
    model, samples = small(), labeled(1)
    target = model.targets(samples, torch.rand(1, 3, 64, 64))[0]
    cost = model.criterion.costs(
        torch.randn(2, 1, 6, 6) * 1e4, torch.randn(2, 1, 6, 32) * 1e3, torch.randn(1, 32, 16, 16) * 1e3, [target]
    )
    assert cost.isfinite().all()


# ------------------------------------------------------------------------------------------------------------- parity


@pytest.fixture(scope="module")
def pair():
    pytest.importorskip("transformers")
    peer, ours = build_pair(TINY)
    return peer.eval(), ours.eval()


@pytest.mark.peer
@pytest.mark.parametrize("size", [(224, 448), (200, 232)])
def test_outputs_equal_those_of_transformers(pair, size, monkeypatch):
    peer, ours = pair
    torch.manual_seed(5)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        theirs = peer(images, output_hidden_states=True, output_auxiliary_logits=True)
        found = ours(images)
        maps_ = ours.backbone(images)
    for a, b in zip(theirs.encoder_hidden_states, maps_, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    torch.testing.assert_close(theirs.pixel_decoder_last_hidden_state, found["mask_features"], rtol=0, atol=1e-5)
    # one pixel of an attention mask whose logit is 0 up to rounding may fall either way, hence 1e-3 and not 1e-4
    torch.testing.assert_close(theirs.class_queries_logits, found["class_logits"], rtol=0, atol=1e-3)
    torch.testing.assert_close(theirs.masks_queries_logits, found["mask_logits"], rtol=0, atol=1e-3)


@pytest.mark.peer
def test_all_losses_equal_those_of_transformers(pair, monkeypatch):
    peer, ours = pair
    torch.manual_seed(6)
    images = torch.randn(2, 3, 224, 256)
    labels, masks = random_labels(224, 256, TINY["classes"])
    points = torch.rand(1, 3 * TINY["points"], 2)

    def fixed(*shape, **_):
        return points[:, : shape[1]].expand(shape).clone()

    monkeypatch.setattr(torch, "rand", fixed)
    real = [m.float() for m in masks]
    with torch.no_grad():
        theirs = peer(images, mask_labels=real, class_labels=labels, output_auxiliary_logits=True)
        expected = peer.get_loss_dict(
            theirs.masks_queries_logits, theirs.class_queries_logits, real, labels, theirs.auxiliary_logits
        )
        features = ours.backbone(images)
        state = ours.pixel_decoder.encode(ours.pixel_decoder.project(features))
        found = ours.loss(features[0], state, [Target(a, b) for a, b in zip(labels, masks, strict=True)])
    assert len(expected) == len(found) == 3 * (TINY["decoder_layers"] + 1)
    names = {"cross_entropy": "cls", "mask": "mask", "dice": "dice"}
    for key, value in expected.items():
        kind, _, index = key.removeprefix("loss_").partition("_") if key[-1].isdigit() else (key[5:], "", "")
        if kind == "cross":
            kind, index = "cross_entropy", key.rsplit("_", 1)[1]
        ours_key = f"{f'd{index}.' if index else ''}loss_{names[kind]}"
        torch.testing.assert_close(found[ours_key], value, rtol=1e-4, atol=1e-4)
