"""Test the target of clusters: Sinkhorn against loops, its properties, two processes; labels, losses, teacher."""

import math
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.helpers.cae import GRID, images, samples, small_cae
from tests.helpers.cae_run import make_runner
from tests.helpers.toy_run import Killed, stop_at
from vislab.errors import ConfigError, DataError
from vislab.systems.cae.clusters import ClusterTarget, TeacherDecayHook, sinkhorn


def scores(*shape: int, spread: float = 4.0) -> torch.Tensor:
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def slow_sinkhorn(matrix: np.ndarray, iterations: int) -> np.ndarray:
    """(n, K) with divisions of whole rows and columns, one after the other, in double precision."""
    plan = np.exp(matrix.astype(np.float64))
    for _ in range(iterations):
        for k in range(plan.shape[1]):
            plan[:, k] /= plan[:, k].sum()
        for i in range(plan.shape[0]):
            plan[i] /= plan[i].sum()
    return plan


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_every_position_is_balanced_on_its_own(iterations):
    every = scores(5, 12, 7)
    found = sinkhorn(every, iterations)
    for position in range(5):
        expected = slow_sinkhorn(every[position].numpy(), iterations)
        np.testing.assert_allclose(found[position].numpy(), expected, rtol=1e-4, atol=1e-6)


def test_rows_are_distributions_and_columns_become_equal():
    found = sinkhorn(scores(3, 40, 8), 300)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(dim=2), torch.ones(3, 40))
    torch.testing.assert_close(found.sum(dim=1), torch.full((3, 8), 5.0), rtol=1e-3, atol=1e-3)


def test_what_does_not_change_the_assignments():
    every = scores(2, 9, 6)
    found = sinkhorn(every)
    torch.testing.assert_close(sinkhorn(every + torch.arange(6.0)), found, rtol=1e-4, atol=1e-6)  # cluster by cluster
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sinkhorn(every[:, order]), found[:, order], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(sinkhorn(every.flip(2)), found.flip(2), rtol=1e-4, atol=1e-6)


def test_equal_scores_are_shared_equally():
    torch.testing.assert_close(sinkhorn(torch.zeros(1, 4, 5)), torch.full((1, 4, 5), 0.2))


def test_extreme_scores_stay_finite():
    every = torch.tensor([[[900.0, -900.0], [-900.0, 900.0], [-900.0, -900.0]]])
    found = sinkhorn(every, 3)
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(dim=2), torch.ones(1, 3))
    assert found[0, 0, 0] > 0.99 and found[0, 1, 1] > 0.99
    torch.testing.assert_close(found[0, 2], torch.tensor([0.5, 0.5]))


def work(rank: int, port: int, path: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    parts = scores(3, 10, 6).chunk(2, dim=1)
    torch.save(sinkhorn(parts[rank].contiguous()), f"{path}{rank}")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_balance_together(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.start_processes(work, args=(port, str(tmp_path / "rank")), nprocs=2, start_method="forkserver")
    both = torch.cat([torch.load(tmp_path / f"rank{rank}") for rank in (0, 1)], dim=1)
    torch.testing.assert_close(both, sinkhorn(scores(3, 10, 6)), rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------------------------------------- as a target


def model(**settings):
    torch.manual_seed(0)
    target = ClusterTarget(num_clusters=11, **settings)
    return small_cae(target=target, ema_decay=0.9, target_context="full", alignment_weight=0.0)


def test_assignments_of_the_masked_patches_by_the_teacher():
    cae, batch = model().train(), 4
    found = cae._batch(images(batch), samples(batch), None)
    labels = cae._targets(found)
    with torch.no_grad():
        latents = cae.ema_encoder(images(batch))[:, 1:]
        unit = latents / latents.norm(dim=2, keepdim=True)
        logits = unit @ cae.target.prototypes.weight.T + cae.target.prototypes.bias  # (B, N, K)
    for sample, position in ((0, 0), (3, 6)):
        place = found.ids_masked[sample, position]
        expected = slow_sinkhorn((logits[:, place] / 0.06).numpy(), 3)[sample]
        np.testing.assert_allclose(labels["assignments"][sample, position].numpy(), expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(labels["logits"].transpose(0, 1), logits, rtol=1e-4, atol=1e-4)
    assert labels["logits"].requires_grad and not labels["assignments"].requires_grad


def test_losses_are_cross_entropies():
    cae = model().train()
    batch = cae._batch(images(4), samples(4), None)
    labels = cae._targets(batch)
    prediction = torch.randn(4, 7, 16)
    weight = cae.target.head.weight
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(11))
    probabilities = (prediction / prediction.norm(dim=2, keepdim=True) @ weight.T / 0.12).softmax(dim=2)
    expected = -(labels["assignments"] * probabilities.log()).sum(dim=2)
    torch.testing.assert_close(cae.target.loss(prediction, labels), expected, rtol=1e-4, atol=1e-4)
    extras = cae.target.extras(prediction, labels)
    log = (labels["logits"] / 0.12).softmax(dim=2).log()
    torch.testing.assert_close(extras["loss_prototypes"], -(labels["all"] * log).sum(dim=2).mean())
    share = labels["all"].mean(dim=(0, 1))
    torch.testing.assert_close(extras["cluster_perplexity"], torch.exp(-(share * share.log()).sum()))
    assert 1 < extras["cluster_perplexity"] <= 11


def test_prototypes_learn_from_their_own_loss_only():
    cae = model().train()
    values = cae(images(4), samples(4), mode="loss")
    values["loss_reconstruction"].backward(retain_graph=True)
    assert cae.target.prototypes.weight.grad is None and cae.encoder.patch_embed.proj.weight.grad is not None
    cae.zero_grad(set_to_none=True)
    values["loss_prototypes"].backward()
    assert cae.target.prototypes.weight.grad.abs().max() > 0 and cae.encoder.patch_embed.proj.weight.grad is None


def test_only_marked_patches_count():
    cae = model().train()
    marked = samples(3)
    for i, sample in enumerate(marked):
        sample.predict_mask = torch.zeros(GRID, dtype=torch.bool)
        sample.predict_mask[tuple(sample.patch_mask.nonzero()[i])] = True  # of sample i, its i-th masked patch
    batch = cae._batch(images(3), marked, None)
    labels = cae._targets(batch)
    assert torch.equal(labels["weights"].nonzero(), torch.tensor([[0, 0], [1, 1], [2, 2]]))
    prediction = torch.randn(3, 7, 16)
    with torch.no_grad():
        mean = cae.target.loss(prediction, labels).mean()
        alone = cae.target.loss(prediction, labels | {"weights": torch.ones(3, 7)})
    torch.testing.assert_close(mean, (alone[0, 0] + alone[1, 1] + alone[2, 2]) / 3)


def test_in_evaluation_samples_do_not_depend_on_each_other():
    cae = model().eval()
    with torch.no_grad():
        both = cae(images(2), samples(2), mode="predict")
        alone = cae(images(2)[:1], samples(2)[:1], mode="predict")
    torch.testing.assert_close(both[0].pred_reconstruction_loss, alone[0].pred_reconstruction_loss)
    assert both[0].pred_reconstruction_loss > 0


def test_a_batch_of_one_and_a_teacher_of_parts_are_refused():
    with pytest.raises(DataError, match="a batch of one image has no clusters"):
        model().train()(images(1), samples(1), mode="loss")
    cae = small_cae(target=ClusterTarget(num_clusters=11), ema_decay=0.9)
    with pytest.raises(ConfigError, match='set target_context="full"'):
        cae(images(2), samples(2), mode="loss")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"num_clusters": 1}, "num_clusters=1"),
        ({"iterations": 0}, "iterations=0"),
        ({"target_temperature": 0}, "above 0"),
    ],
)
def test_refused_settings(settings, words):
    with pytest.raises(ConfigError, match=words):
        ClusterTarget(**settings)


def test_the_decay_of_the_teacher_rises_to_one():
    cae, hook = model(), TeacherDecayHook()
    runner = SimpleNamespace(model=cae, iter=0, max_iters=100)
    hook.before_run(runner)
    found = []
    for runner.iter in (0, 25, 50, 100):
        hook.before_train_iter(runner, 0)
        found.append(cae.ema_decay)
    half = 0.05 * math.sqrt(0.5)
    assert found == pytest.approx([0.9, 0.95 - half, 0.95, 1.0])
    with pytest.raises(ConfigError, match="the model has no teacher"):
        hook.before_run(SimpleNamespace(model=small_cae()))
    with pytest.raises(ConfigError, match="last=2"):
        TeacherDecayHook(last=2)


@pytest.mark.slow
def test_a_resumed_run_is_equal_bit_for_bit(tmp_path):
    """Teacher, its decay, prototypes and the drawn patches to predict included."""
    options = {
        "total": 10,
        "batch": 6,
        "model": {
            "target": {"type": ClusterTarget, "num_clusters": 6},
            "ema_decay": 0.9,
            "target_context": "full",
            "alignment_weight": 0.0,
        },
        "mask": {"num_predicted": 3},
        "hooks": ({"type": TeacherDecayHook},),
    }
    whole = make_runner(tmp_path / "whole", **options)
    whole.train()
    broken = make_runner(tmp_path / "broken", **options)
    stop_at(broken, 7)
    with pytest.raises(Killed):
        broken.train()
    resumed = make_runner(tmp_path / "broken", **options, resume=True)
    resumed.train()
    assert whole.steps[5:] == resumed.steps and len(set(whole.steps)) == 10
    for (name, a), b in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert 0.9 < whole.model.ema_decay == resumed.model.ema_decay < 1
    teacher, encoder = whole.model.ema_encoder, whole.model.encoder
    assert not torch.equal(teacher.cls_token, encoder.cls_token)
