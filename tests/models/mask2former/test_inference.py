"""From masks to segments, instances and classes: the rules by hand, and strips equal whole resizes."""

import pytest
import torch
from pycocotools import mask as coco

from tests.helpers import REPOSITORY
from vislab.engine.config.check import find_problems
from vislab.engine.config.load import load_config
from vislab.errors import ConfigError
from vislab.models.mask2former import Mask2FormerLoss, inference
from vislab.models.mask2former.inference import MaskInference
from vislab.structures import DataSample

CLASSES = 5


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


def test_only_the_tasks_asked_for_are_filled():
    masks = torch.full((1, 4, 4), -9.0)
    masks[0, :2] = 9.0
    fields = {"panoptic": "pred_panoptic", "instance": "pred_instances", "semantic": "pred_sem_seg"}
    for task, field in fields.items():
        sample = DataSample()
        MaskInference(tasks=(task,))(torch.tensor([[9.0, 0.0]]), masks, sample, (16, 16), torch.tensor([True]))
        assert [f for f in fields.values() if f in sample] == [field]
        assert tuple(sample.get(field).shape[-2:]) == (16, 16) if task != "instance" else len(sample.get(field)) == 1


@pytest.mark.parametrize("tasks", [(), ("panoptics",), "panoptic"])
def test_unknown_tasks_are_refused(tasks):
    with pytest.raises(ConfigError, match="expected one or more of panoptic, instance, semantic"):
        MaskInference(tasks=tasks)


@pytest.mark.parametrize(("name", "value"), [("tasks", ("panoptic",)), ("score_threshold", 0.5), ("rle_masks", True)])
def test_arguments_beside_the_dict_get_one_message(name, value):
    cfg = load_config(REPOSITORY / "configs/eco_m2f/mask2former_r50_coco_panoptic.py")
    cfg.model[name] = value
    (problem,) = find_problems(cfg, files=False, build=False)
    assert problem.place == f"model.{name}"
    assert f"Mask2Former takes no argument {name!r}" in problem.text and " inference, " in problem.text


def test_the_dicts_of_loss_and_inference_are_checked():
    cfg = load_config(REPOSITORY / "configs/eco_m2f/mask2former_r50_coco_panoptic.py")
    cfg.model.loss = {"type": Mask2FormerLoss, "num_points": 64}
    assert not find_problems(cfg, files=False, build=False)
    cfg.model.loss = {"num_point": 64}
    cfg.model.inference = {"task": ("panoptic",)}
    texts = sorted(p.text for p in find_problems(cfg, files=False, build=False))
    assert len(texts) == 2 and "'num_points'?" in texts[0] and "'tasks'?" in texts[1]
