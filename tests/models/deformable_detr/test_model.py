"""Test DeformableDETR: behavior, parity with transformers (peer), padding, small images, wrong labels and settings."""

import pytest
import torch
from mmengine.structures import InstanceData

from tests.helpers.deformable_detr import CLASSES, KINDS, LAYERS, images, labeled, small
from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError, DataError
from vislab.structures import DataSample
from vislab.structures.boxes import cxcywh_to_xyxy


class TestPlain(ModelBehavior):
    kind = "plain"

    def build(self):
        return small(self.kind)

    def inputs(self, count):
        return images(count)

    def samples(self, count):
        return labeled(count)


class TestTwoStage(TestPlain):
    kind = "two_stage"


class TestRotated(TestPlain):
    kind = "rotated"


# ------------------------------------------------------------------------------------------------- against transformers


@pytest.mark.peer
@pytest.mark.parametrize("variant", ["plain", "box_refine", "two_stage"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_parity_with_transformers(variant, dtype, tolerance):
    """Memory, states of all layers, logits, boxes and losses, for images of different sizes in a padded batch."""
    pytest.importorskip("transformers")
    from tests.helpers.deformable_detr_peer import TINY, build_pair, random_objects

    peer, ours = build_pair(TINY, variant)
    peer.to(dtype), ours.to(dtype)
    generator = torch.Generator().manual_seed(3)
    sizes, labels, samples = [(128, 160), (100, 131)], [], []
    inputs = torch.randn(2, 3, 128, 160, dtype=dtype, generator=generator)
    mask = torch.zeros(2, 128, 160, dtype=torch.long)
    for i, ((h, w), (label, boxes)) in enumerate(zip(sizes, random_objects((3, 5), TINY["classes"]), strict=True)):
        mask[i, :h, :w] = 1
        inputs[i] *= mask[i]
        labels.append({"class_labels": label, "boxes": boxes.to(dtype)})
        sample = DataSample(metainfo={"img_shape": (h, w), "ori_shape": (h, w)})
        pixels = cxcywh_to_xyxy(boxes.to(dtype)) * torch.tensor((w, h, w, h))
        sample.gt_instances = InstanceData(labels=label, bboxes=pixels)
        samples.append(sample)
    with torch.no_grad():
        expected = peer(inputs, pixel_mask=mask, labels=labels)
        found = ours(inputs, samples)
        losses = ours(inputs, samples, mode="loss")
        valid = ours.encode(inputs, samples)[0].mask[..., None]
    states = expected.intermediate_hidden_states.transpose(0, 1)
    pairs = [
        (found["memory"] * valid, expected.encoder_last_hidden_state * valid),
        (found["layer_states"], states),
        (found["layer_logits"][0], expected.auxiliary_outputs[0]["logits"]),
        (found["layer_boxes"][0], expected.auxiliary_outputs[0]["pred_boxes"]),
        (found["logits"], expected.logits),
        (found["boxes"], expected.pred_boxes),
    ]
    for name, theirs, weight in (("cls", "ce", 2), ("bbox", "bbox", 5), ("iou", "giou", 2)):
        for ours_at, theirs_at in (("", ""), ("d0.", "_0")):
            wanted = weight * expected.loss_dict[f"loss_{theirs}{theirs_at}"]
            pairs.append((losses[f"{ours_at}loss_{name}"], wanted.to(dtype)))
    for ours_value, theirs_value in pairs:
        torch.testing.assert_close(ours_value, theirs_value, rtol=tolerance, atol=tolerance)


# -------------------------------------------------------------------------------------------------- sizes and padding


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_the_padding_do_not_matter(kind):
    """With a backbone of single cells and without group norms, which see the whole map."""
    model = small(kind, backbone=Maps(), num_levels=3).eval()
    for projection in model.neck.input_proj:
        projection[1] = torch.nn.Identity()
    sample = labeled(1, (64, 96))
    first, second = torch.zeros(1, 3, 128, 128), torch.zeros(1, 3, 128, 128)
    first[..., :64, :96] = second[..., :64, :96] = images(1)
    second[..., 64:, :] = 1
    with torch.no_grad():
        a, b = model(first, sample), model(second, sample)
    assert (a["memory"] - b["memory"]).abs().max() > 1e-3  # at padding
    torch.testing.assert_close(a["logits"], b["logits"])
    torch.testing.assert_close(a["boxes"], b["boxes"])


class Maps(torch.nn.Module):
    """A backbone without context: mean colors of cells."""

    channels = (3, 3, 3)

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return [self.scale * torch.nn.functional.avg_pool2d(x, s) for s in (8, 16, 32)]


def test_images_smaller_than_the_queries():
    model = small("two_stage", num_queries=500).eval()
    outputs = model(images(1, (32, 32)))
    assert outputs["logits"].shape == (1, 16 + 4 + 1 + 1, CLASSES)
    sum(model(images(1, (32, 32)), labeled(1, (32, 32)), mode="loss").values()).backward()


# ------------------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objects", [(0,), (0, 2), (9, 1)])
def test_no_object_and_more_objects_than_queries(kind, objects):
    model = small(kind)
    losses = model(images(2), labeled(2, objects=objects), mode="loss")
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    if objects == (0,):
        assert losses["loss_bbox"] == 0 and losses["loss_cls"] > 0
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert not without


def test_crowds_are_no_targets():
    model = small("rotated")
    samples = labeled(2)
    whole = model.targets(samples, images(2))
    for sample in samples:
        sample.gt_instances.ignore = torch.arange(len(sample.gt_instances)) == 0
    targets = model.targets(samples, images(2))
    assert (targets.state == 1).sum() == (whole.state == 1).sum() - 2
    outputs = model.decode(*_decoder_input(model))
    (matched,) = model.criterion.match([outputs], targets)
    assert matched[-1].objects.tolist() and 0 not in matched[-1].objects.tolist()


def _decoder_input(model):
    levels, memory = model.encode(images(2), None)
    return model.first_queries(memory, levels), memory, levels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("gt_instances"), "gt_instances"),
        (lambda s: s.gt_instances.pop("rbboxes"), "rbboxes"),
        (lambda s: s.gt_instances.labels.add_(9), "num_classes"),
        (lambda s: s.gt_instances.rbboxes[:, 4].mul_(57.3), "radians"),
        (lambda s: s.gt_instances.rbboxes[:, 3].zero_(), "positive"),
    ],
)
def test_bad_labels_are_named(change, message):
    samples = labeled(1)
    change(samples[0])
    with pytest.raises(DataError, match=message):
        small("rotated")(images(1), samples, mode="loss")


@pytest.mark.parametrize(
    "settings",
    [
        {"rotated": True},
        {"denoising": {}},
        {"learned_content": True},
        {"two_stage": True, "box_refine": True, "learned_content": True},
        {"decoder": {"look_forward_twice": True}},
        {"num_levels": 2},
        {"neck": {"norm_groups": 7}},
    ],
)
def test_settings_that_do_not_fit(settings):
    with pytest.raises(ConfigError):
        small("plain", **settings)


def test_proposals_of_prediction_are_those_of_training():
    """Prediction computes the boxes of chosen tokens only."""
    model = small("two_stage").eval()
    levels, memory = model.encode(images(2), None)
    few = model.first_queries(memory, levels)
    all_tokens = model.first_queries(memory, levels, *model.propose(memory, levels))
    torch.testing.assert_close(few.reference, all_tokens.reference)


def test_layers_share_a_head_without_refinement_only():
    assert len(small("plain").decoder.heads) == 1
    assert len(small("box_refine").decoder.heads) == LAYERS["num_layers"]
