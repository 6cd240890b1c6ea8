"""Test runs of CAE: resumed ones are equal bit for bit, two processes are one, parameters that decay."""

import pytest
import torch

from tests.helpers import HELPERS
from tests.helpers.cae import images, samples, small_cae
from tests.helpers.cae_run import make_runner
from tests.helpers.processes import run, run_two
from tests.helpers.toy_run import Killed, stop_at
from vislab.engine.optim.layer_decay import Rules

SCRIPT = HELPERS / "cae_processes.py"


def test_a_resumed_run_is_equal_bit_for_bit(tmp_path):
    """Masks, flips and stochastic depth included."""
    whole = make_runner(tmp_path / "whole", total=10, batch=6, drop_path=0.3)
    whole.train()
    broken = make_runner(tmp_path / "broken", total=10, batch=6, drop_path=0.3)
    stop_at(broken, 7)
    with pytest.raises(Killed):
        broken.train()
    resumed = make_runner(tmp_path / "broken", total=10, batch=6, drop_path=0.3, resume=True)
    resumed.train()
    assert whole.steps[5:] == resumed.steps and len(set(whole.steps)) == 10
    for (name, a), b in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert whole.last_metrics == resumed.last_metrics
    assert set(whole.last_metrics) == {"masked/reconstruction", "masked/alignment"}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on the CPU is what this test is about")
def test_two_processes_equal_one(tmp_path):
    """Without find_unused_parameters: every trained parameter gets its gradient once."""
    run(str(SCRIPT), str(tmp_path / "one"), "--batch-size", "8")
    text = run_two(SCRIPT, str(tmp_path / "two"), "--batch-size", "4")
    assert "of 2: MMDistributedDataParallel" in text
    one, two = (torch.load(tmp_path / name / "result.pth", weights_only=True) for name in ("one", "two"))
    torch.testing.assert_close(two["losses"], one["losses"], atol=1e-5, rtol=0)
    assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-5)
    weights = [torch.load(tmp_path / name / "iter_10.pth", weights_only=True)["state_dict"] for name in ("one", "two")]
    for name, expected in weights[0].items():
        if name.endswith("norm_k.bias"):
            continue  # its gradient is 0 but for rounding, of which Adam makes whole steps
        assert (weights[1][name] - expected).abs().max() <= 1e-4, name


def test_parameters_that_decay():
    """As published: matrices, the patch embedding and both tokens, which have three dimensions."""
    model = small_cae(ema_decay=0.9)
    groups = Rules(layer_decay=1.0).groups(model, lr=1e-3, weight_decay=0.05)
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in decayed}
    assert {"encoder.cls_token", "regressor.mask_token", "encoder.patch_embed.proj.weight"} <= names
    assert all(p.ndim > 1 for p in model.parameters() if id(p) in decayed)
    trained = {id(p) for group in groups for p in group["params"]}
    assert not any(id(p) in trained for p in model.ema_encoder.parameters())
    assert all(id(p) in trained for p in model.parameters() if p.requires_grad)


@pytest.mark.slow
def test_compiled_blocks_give_the_same_losses_and_gradients():
    from vislab.engine.compilation import compile_networks

    plain, compiled = small_cae(), small_cae()
    compiled.load_state_dict(plain.state_dict())
    assert len(compile_networks(compiled, {"backend": "aot_eager"})) == 6
    for model in (plain, compiled):
        losses = model(images(2), samples(2), mode="loss")
        sum(value for name, value in losses.items() if "loss" in name).backward()
    for (name, a), b in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() <= 1e-5, name
