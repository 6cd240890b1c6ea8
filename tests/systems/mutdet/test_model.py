"""Test MutDet: behavior, both branches, gradients, the detector that is fine-tuned, ablations, no objects, messages."""

import copy

import pytest
import torch
from mmengine.structures import InstanceData

from tests.helpers.model_behavior import ModelBehavior
from tests.helpers.mutdet import DIM, embedded, images, small_detector, small_mutdet
from vislab.errors import ConfigError, DataError
from vislab.models.deformable_detr.proposals import choose
from vislab.systems.mutdet import EmbeddingRegression
from vislab.systems.mutdet.enhancement import proposal_scores

PLAIN = {"enhancement": None}
DETREG = PLAIN | {"alignment": EmbeddingRegression()}
UP_DETR = DETREG | {"alignment": EmbeddingRegression(distance="mse"), "prompted": True, "denoising": None}
PATCHES = UP_DETR | {"crop_size": 32}
KINDS = {
    "full": {},
    "no siamese": {"siamese": False},
    "enhanced embedding": {"enhance_features": False},
    "contrastive": PLAIN,
    "detreg": DETREG,
    "prompted": UP_DETR,
    "up_detr": PATCHES,
    "boxes only": PLAIN | {"alignment": False},
}


class TestBehavior(ModelBehavior):
    without_gradient = ("backbone",)

    def build(self):
        return small_mutdet()

    def inputs(self, count):
        return images(count)

    def samples(self, count):
        return embedded(count)


def losses(model, samples=None):
    torch.manual_seed(5)
    samples = embedded(2) if samples is None else samples
    return model(images(len(samples)), samples, mode="loss")


def make(**changes):
    torch.manual_seed(0)
    return small_mutdet(**changes)


# ---------------------------------------------------------------------------------------------------------- branches


def test_names_of_the_losses():
    names = set(losses(make()))
    base = {"loss_cls", "loss_bbox", "loss_iou", "loss_angle"}
    plain = {prefix + name for prefix in ("", "d0.", "enc.", "dn.", "dn.d0.") for name in base}
    plain |= {"loss_align", "dn.loss_align"}
    assert names == plain | {f"p_{name}" for name in plain} | {"p_enc.loss_align"}


def test_the_plain_branch_is_the_detector_that_is_fine_tuned():
    """Same weights, seed and images: the losses of one are bit for bit among those of the other."""
    model = make()
    detector = small_detector(backbone={"name": "resnet10t", "out_indices": (2, 3, 4), "frozen_stages": -1})
    missing, unexpected = detector.load_state_dict(model.state_dict(), strict=False)
    assert not missing and all(name.startswith("pretext.") for name in unexpected)
    for mode in ("train", "eval"):
        getattr(model, mode)(), getattr(detector, mode)()
        ours, expected = losses(model), losses(detector)
        assert set(expected) == {n for n in ours if not n.startswith("p_") and "align" not in n}
        assert all(torch.equal(ours[name], value) for name, value in expected.items())
    with torch.no_grad():
        ours, expected = model(images(2), mode="tensor"), detector(images(2), mode="tensor")
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_the_branches_differ_and_share_denoising_queries(monkeypatch):
    model, seen = make(), []
    decode = model.decode_both

    def recorded(queries, noised, memory, levels):
        seen.append((noised, memory, queries.reference))
        return decode(queries, noised, memory, levels)

    monkeypatch.setattr(model, "decode_both", recorded)
    values = losses(model)
    (noised, memory, reference), (noised_p, memory_p, reference_p) = seen
    assert noised is noised_p and not torch.equal(memory, memory_p) and not torch.equal(reference, reference_p)
    assert values["loss_cls"] != values["p_loss_cls"]


def test_alignment_pairs_are_matched_objects(monkeypatch):
    """The loss of an object moves the query that is matched with it: pairs are the rows that the criterion matched."""
    model, pairs = make(), []
    monkeypatch.setattr(model.alignment, "forward", lambda z, o: pairs.append((z, o)) or (z.sum() + o.sum()) * 0)
    samples = embedded(2)
    losses(model, samples)
    assert [len(z) for z, _ in pairs] == [5] * 5  # plain, dn, enhanced, dn, proposals: 2 + 3 objects
    objects = pairs[0][1]
    for _, o in pairs[1:]:  # the same objects, in the order of the queries
        order = [int((objects - row).abs().sum(1).argmin()) for row in o]
        assert sorted(order) == list(range(5)) and torch.equal(objects[order], o)
    model.pretext["enhancement"] = copy.deepcopy(model.pretext["enhancement"])
    contrastive, raw = make(**PLAIN), []
    monkeypatch.setattr(contrastive.alignment, "forward", lambda z, o: raw.append(o) or z.sum() * 0)
    losses(contrastive, samples)
    given = torch.cat([s.gt_instances.embeddings for s in samples])
    assert sorted(raw[0][:, 0].tolist()) == sorted(given[:, 0].tolist())


def test_monotone_scores():
    x, c = torch.linspace(-6, 6, 25)[:, None], torch.linspace(-1, 1, 21)
    score = proposal_scores(x, c, "monotone")
    assert (score.diff(dim=0)[:, 1:] > 0).all() and (score.diff(dim=1) > 0).all() and score.min() >= 0
    published = proposal_scores(x, c, "published")
    assert (published[:12].diff(dim=1) < 0).all()  # a higher cosine lowers the score of negative logits
    torch.testing.assert_close(published, x * c)


def test_enhanced_queries_are_the_tokens_with_the_best_scores(monkeypatch):
    model, found = make(), {}
    monkeypatch.setattr(
        "vislab.models.deformable_detr.model.choose",
        lambda candidates, scores, count: found.update(scores=scores) or choose(candidates, scores, count),
    )
    branch = model._enhanced_branch
    monkeypatch.setattr(model, "_enhanced_branch", lambda *a: found.update(args=a) or branch(*a))
    losses(model)
    candidates, objects, filled = found["args"][:3]
    z = torch.nn.functional.normalize(model.pretext["enhancement"].embed(candidates.tokens), dim=-1)
    o = torch.nn.functional.normalize(objects, dim=-1)
    cosine = torch.stack([(z[i] @ o[i, :n].T).amax(1) for i, n in enumerate(filled.sum(1).tolist())])
    logits = model.proposals.head.classes(candidates.tokens)[..., 0]
    torch.testing.assert_close(found["scores"], logits.sigmoid() * (1 + cosine) / 2)


# --------------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_each_kind(kind):
    model, samples = make(**KINDS[kind]), embedded(2)
    for sample in samples:
        sample.gt_instances.embeddings.requires_grad_()
    sum(losses(model, samples).values()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert [n for n in without if n.startswith("backbone.")] and all(
        p.grad is None for p in model.backbone.parameters()
    )
    without = [name for name in without if not name.startswith("backbone.")]
    assert bool(without) <= model.find_unused_parameters, without[:5]
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    grads = [s.gt_instances.embeddings.grad for s in samples]
    if kind in ("boxes only", "up_detr"):  # the latter embeds crops instead
        assert grads == [None, None]
    else:
        assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_alignment_gradients_reach_the_objects_through_the_enhancement():
    """No gradient is stopped: the loss of the plain branch moves the enhancement, since its targets come from it."""
    model = make()
    losses(model)["loss_align"].backward()
    assert model.pretext["enhancement"].layers[0].mlp.layers[0].weight.grad.abs().sum() > 0
    assert model.encoder.layers[0].linear1.weight.grad.abs().sum() > 0


# ------------------------------------------------------------------------------------------------------- odd batches


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objects", [(0, 3), (0, 0), (1, 12)])
def test_numbers_of_objects(kind, objects):
    model = make(**KINDS[kind])
    values = losses(model, embedded(2, objects=objects))
    assert all(value.isfinite() for value in values.values())
    sum(values.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_denoising_labels_take_part_in_steps_without_objects():
    model = make()
    sum(losses(model, embedded(2, objects=(0, 0))).values()).backward()
    gradient = model.denoising.labels.weight.grad
    assert gradient is not None and not gradient.any()


def test_a_padded_batch_in_double_precision():
    model = make().double().eval()
    samples = embedded(2)
    samples[1].set_metainfo({"img_shape": (48, 80)})
    inputs = images(2).double()
    inputs[1, :, 48:] = 0
    inputs[1, :, :, 80:] = 0
    torch.manual_seed(0)
    assert all(value.isfinite() for value in model(inputs, samples, mode="loss").values())


def test_prompts_follow_their_objects():
    model = make(**UP_DETR)
    objects = torch.randn(2, 3, DIM)
    content, owner = model._prompt(objects, (3, 0))
    assert owner.tolist() == [[0, 1, 2, 0, 1, 2], [3] * 6]
    torch.testing.assert_close(content[0, 4], model.pretext["prompt"](objects[0, 1]))
    torch.testing.assert_close(content[1], model.pretext["prompt"].bias.expand(6, -1))


def test_patches_are_prompts_and_targets(monkeypatch):
    """The feature of an object's crop is added to its queries, and is what the matched query must predict."""
    model, samples = make(**PATCHES), embedded(2)
    for sample in samples:
        del sample.gt_instances.embeddings
    seen = {}
    prompt = model._prompt
    monkeypatch.setattr(model, "_prompt", lambda *a: seen.update(prompted=a[0]) or prompt(*a))
    monkeypatch.setattr(model.alignment, "forward", lambda z, o: seen.update(z=z, o=o) or z.sum() * 0)
    losses(model, samples)
    channels = model.backbone.channels[-1]
    assert seen["prompted"].shape == (2, 3, channels) and seen["z"].shape == seen["o"].shape == (5, channels)
    given = torch.cat([seen["prompted"][0, :2], seen["prompted"][1]])
    assert sorted(seen["o"][:, 0].tolist()) == sorted(given[:, 0].tolist())
    darker = images(2)
    darker[1] *= 0.5
    before = seen["prompted"].clone()
    model(darker, samples, mode="loss")
    assert torch.equal(seen["prompted"][0], before[0]) and not torch.allclose(seen["prompted"][1], before[1])


def test_messages():
    model = make()
    with pytest.raises(DataError, match=r"has no gt_instances\.embeddings: MutDet learns from the pseudo boxes"):
        samples = embedded(2)
        del samples[1].gt_instances.embeddings
        losses(model, samples)
    with pytest.raises(ConfigError, match=r"have shape \(2, 16\), the model needs \(objects, 32\)"):
        losses(model, embedded(2, dim=16))
    samples = embedded(2)
    instances = samples[0].gt_instances
    fewer = InstanceData(labels=instances.labels, rbboxes=instances.rbboxes)
    object.__setattr__(fewer, "embeddings", instances.embeddings[:1])
    fewer._data_fields.add("embeddings")
    samples[0].gt_instances = fewer
    with pytest.raises(DataError, match="2 boxes and 1 embeddings"):
        losses(model, samples)
    with pytest.raises(ConfigError, match="proposal_score='cosine' is not one of monotone, published"):
        small_mutdet(proposal_score="cosine")
    with pytest.raises(ConfigError, match="set denoising=None"):
        small_mutdet(prompted=True)
    with pytest.raises(ConfigError, match="crop_size=4 must be an integer of at least 8"):
        small_mutdet(**PATCHES | {"crop_size": 4})
    with pytest.raises(ConfigError, match="set enhancement=None, or crop_size=None"):
        small_mutdet(crop_size=32)
    with pytest.raises(ConfigError, match="crop_size needs a frozen backbone"):
        small_mutdet(**PATCHES | {"backbone": {"name": "resnet10t", "out_indices": (2, 3, 4)}})
