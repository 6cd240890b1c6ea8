"""Mask2Former: exits, losses, inference rules, memory, sizes; bad labels; parity with transformers (peer)."""

import pytest
import torch
from mmengine.structures import InstanceData

from tests.helpers.mask2former_peer import TINY, build_pair, random_labels
from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError, DataError
from vislab.models.mask2former import Mask2Former, Target, inference
from vislab.models.mask2former.pixel_decoder import PixelDecoder
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
    "tasks": ("panoptic", "instance", "semantic"),
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


# ------------------------------------------------------------------------------------------------------------- exits


def pixel_decoder(layers: int, **options) -> PixelDecoder:
    torch.manual_seed(0)
    decoder = PixelDecoder(
        in_channels=(8, 8, 8, 8), dim=32, mask_dim=16, num_heads=4, ffn_dim=48, num_layers=layers, **options
    )
    for layer in decoder.layers:
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.3)
        torch.nn.init.normal_(layer.self_attn.attention_weights.weight, std=0.3)
    return decoder.eval()


def maps(count=2, side=64):
    torch.manual_seed(1)
    return [torch.randn(count, 8, side // s, side // s) for s in (4, 8, 16, 32)]


@torch.no_grad()
def test_an_exit_equals_a_model_of_that_many_layers():
    full, features = pixel_decoder(4), maps()
    for k in range(1, 5):
        other = pixel_decoder(k)
        other.load_state_dict({n: v for n, v in full.state_dict().items() if n in other.state_dict()})
        found, state = full(features, k)
        expected, expected_state = other(features)
        assert torch.equal(found, expected) and torch.equal(state.tokens, expected_state.tokens)


@torch.no_grad()
def test_one_walk_equals_single_exits():
    decoder, features = pixel_decoder(4), maps()
    walked = dict(decoder.walk(decoder.project(features), (1, 3, 4)))
    assert list(walked) == [1, 3, 4]
    for k, state in walked.items():
        assert torch.equal(state.tokens, decoder.encode(decoder.project(features), k).tokens)


@torch.no_grad()
def test_mixed_depths_in_a_batch_equal_each_image_alone():
    decoder, features = pixel_decoder(4), maps(4)
    together, _ = decoder(features, torch.tensor([3, 1, 4, 3]))
    for i, k in enumerate((3, 1, 4, 3)):
        alone, _ = decoder([x[i : i + 1] for x in features], k)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-5)


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


@torch.no_grad()
def test_pro_scale_leaves_fine_tokens_alone_in_early_layers():
    decoder = pixel_decoder(0, stages=(2, 1, 1), recalibrate=True, light=True)
    start = decoder.project(maps())
    coarse = start.count(1)
    early = decoder.encode(start, 2)
    assert torch.equal(early.tokens[:, coarse:], start.tokens[:, coarse:])
    assert not torch.equal(early.tokens[:, :coarse], start.tokens[:, :coarse])
    assert not torch.equal(decoder.encode(start, 4).tokens[:, start.count(2) :], start.tokens[:, start.count(2) :])
    assert decoder.layers[0].self_attn.sampling_offsets.out_features == 4 * 1 * 4 * 2
    assert not any(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in decoder.modules())


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
    cost = model.criterion._cost(
        torch.randn(6, 6) * 1e4, torch.randn(6, 32) * 1e3, torch.randn(32, 16, 16) * 1e3, target
    )
    assert cost.isfinite().all()


# --------------------------------------------------------------------------------------------------------- inference


def logits_of(labels, scores, classes=CLASSES):
    """(Q, classes + 1) logits whose best class is `labels` with probability `scores`."""
    out = torch.zeros(len(labels), classes + 1)
    for row, (label, score) in enumerate(zip(labels, scores, strict=True)):
        out[row] = torch.log(torch.full((classes + 1,), (1 - score) / classes))
        out[row, label] = torch.log(torch.tensor(score))
    return out


def bars(*columns, side=8):
    """Mask logits, sure inside the given column ranges."""
    masks = torch.full((len(columns), side, side), -9.0)
    for mask, (a, b) in zip(masks, columns, strict=True):
        mask[:, a:b] = 9.0
    return masks


FRAME = inference.Frames((8, 8), (8, 8), (8, 8))
THINGS = torch.tensor([True, True, True, False, False])


def panoptic(labels, scores, masks, frames=FRAME, **options):
    ids, segments = inference.panoptic(logits_of(labels, scores), masks, frames, THINGS, **options)
    return ids, [(s["id"], s["category"]) for s in segments]


def test_stuff_is_merged_and_ids_stay_unique():
    """The sequence that gives two segments one id elsewhere."""
    ids, segments = panoptic([3, 0, 3, 1], [0.99] * 4, bars((0, 2), (2, 4), (4, 6), (6, 8)))
    assert segments == [(1, 3), (2, 0), (3, 1)]
    assert ids[0].tolist() == [1, 1, 2, 2, 1, 1, 3, 3]


def test_things_are_not_merged():
    assert panoptic([0, 0], [0.99] * 2, bars((0, 4), (4, 8)))[1] == [(1, 0), (2, 0)]


def test_no_object_and_unsure_queries_give_nothing():
    assert panoptic([CLASSES, 0], [0.99, 0.79], bars((0, 4), (4, 8)))[1] == []
    ids, _ = panoptic([CLASSES, 0], [0.99, 0.79], bars((0, 4), (4, 8)))
    assert ids.sum() == 0 and ids.dtype == torch.int32
    assert panoptic([0], [0.9], bars((0, 4)))[1] == [(1, 0)]


def test_a_segment_mostly_taken_by_others_is_dropped_at_less_than_the_ratio():
    # the weaker query keeps 4 of its 5 columns: exactly 0.8, which is kept; with 3 of 4 it is not
    assert panoptic([0, 1], [0.99, 0.9], bars((0, 1), (0, 5)))[1] == [(1, 0), (2, 1)]
    assert panoptic([0, 1], [0.99, 0.9], bars((0, 1), (0, 4)))[1] == [(1, 0)]


def test_probability_of_exactly_a_half_is_inside():
    masks = bars((0, 4))
    masks[0, :, 2] = 0.0
    assert panoptic([0], [0.99], masks)[0][0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    masks[0, :, 2] = -1e-3
    assert panoptic([0], [0.99], masks)[0][0].tolist() == [1, 1, 0, 1, 0, 0, 0, 0]


def test_semantic_takes_the_largest_sum():
    labels = inference.semantic(logits_of([3, 0], [0.9, 0.8]), bars((0, 5), (5, 8)), FRAME)
    assert labels[0].tolist() == [3] * 5 + [0] * 3


def test_instances_are_things_with_boxes_around_their_masks():
    found = inference.instances(logits_of([3, 0], [0.9, 0.8]), bars((0, 5), (5, 8)), FRAME, THINGS, max_instances=4)
    assert set(found["labels"].tolist()) <= {0, 1, 2}
    best = found["scores"].argmax()
    assert found["labels"][best] == 0 and found["bboxes"][best].tolist() == [5, 0, 8, 8]
    assert found["scores"][best] == pytest.approx(0.8, abs=1e-3)
    coded = inference.instances(
        logits_of([3, 0], [0.9, 0.8]), bars((0, 5), (5, 8)), FRAME, THINGS, max_instances=4, rle_masks=True
    )
    from pycocotools import mask as coco

    assert (torch.from_numpy(coco.decode(coded["masks"][best])).bool() == found["masks"][best]).all()


@pytest.mark.parametrize("elements", [1, 700, 1 << 20])
@pytest.mark.parametrize("original", [(51, 45), (17, 60), (29, 37), (29, 50), (40, 37)])
def test_strips_equal_two_whole_resizes(elements, original):
    torch.manual_seed(0)
    masks = torch.randn(3, 8, 10)
    frames = inference.Frames((32, 40), (29, 37), original)
    whole = torch.nn.functional.interpolate(masks[None], size=(32, 40), mode="bilinear")[..., :29, :37]
    for between in (None, torch.sigmoid):
        middle = whole if between is None else between(whole)
        expected = torch.nn.functional.interpolate(middle, size=original, mode="bilinear")[0]
        strips = [strip for _, strip in inference.enlarge(masks, frames, between, elements)]
        torch.testing.assert_close(torch.cat(strips, 1), expected, rtol=1e-5, atol=1e-5)


def test_a_strip_is_bounded_whatever_the_number_of_queries():
    frames = inference.Frames((256, 256), (256, 256), (800, 1333))
    largest = max(strip.numel() for _, strip in inference.enlarge(torch.zeros(100, 64, 64), frames))
    assert largest <= inference._ELEMENTS < 100 * 800 * 1333 / 20


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
