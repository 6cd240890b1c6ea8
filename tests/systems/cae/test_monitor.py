"""Test the statistics of latents: known ranks, latents that depend on the position alone; and the warning."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger

from vislab.engine.message_hub import MessageHub
from vislab.errors import ConfigError
from vislab.systems.cae import CollapseHook, latent_statistics
from vislab.systems.cae.monitor import MAX_TOKENS

IDS = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(i))[:8] for i in range(200)])


def noise(dim: int) -> torch.Tensor:
    return torch.randn(200, 8, dim, generator=torch.Generator().manual_seed(9))


def test_independent_channels_have_full_rank():
    std, rank = latent_statistics(3 * noise(16), IDS, 12)
    assert abs(std - 3) < 0.1 and 15 < rank <= 16


def test_rank_counts_directions():
    directions = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2)))[0][:4]
    std, rank = latent_statistics(noise(4) @ directions, IDS, 12)
    assert 3.8 < rank <= 4.001 and abs(std - 0.5) < 0.03


def test_what_the_position_explains_does_not_count():
    table = torch.randn(12, 16, generator=torch.Generator().manual_seed(3))
    std, rank = latent_statistics(table[IDS], IDS, 12)
    assert std < 1e-5
    assert torch.equal(torch.stack(latent_statistics(table[IDS[:1]], IDS[:1], 12)), torch.zeros(2))
    wide = latent_statistics(table[IDS] + 0.1 * noise(16), IDS, 12)
    assert abs(wide[0] - 0.1) < 0.01 and wide[1] > 15


def test_more_channels_than_tokens_give_the_same_rank():
    x, ids = noise(16)[:1].expand(2, -1, -1) * torch.tensor([1.0, 2.0]).view(2, 1, 1), IDS[:1].expand(2, -1)
    wide = torch.cat((x, torch.zeros(2, 8, 48)), dim=2)
    torch.testing.assert_close(latent_statistics(wide, ids, 12)[1], latent_statistics(x, ids, 12)[1])


def test_cost_is_bounded():
    x = torch.zeros(3000, 8, 4)
    x[MAX_TOKENS // 8 :] = torch.nan
    assert latent_statistics(x, IDS.repeat(15, 1), 12)[0] == 0


def run_hook(values: dict[str, list[float]], hook: CollapseHook, monitor: bool = True) -> None:
    """Let the hook see a run with these values, one of each name a step."""
    hub = MessageHub("collapse")
    model = SimpleNamespace(monitor=monitor)
    runner = SimpleNamespace(message_hub=hub, iter=0, model=model, logger=MMLogger.get_current_instance())
    hook.before_train(runner)
    for step in range(len(values["latent_rank"])):
        runner.iter = step
        for name, series in values.items():
            hub.update_scalar(f"train/{name}", torch.tensor(series[step]))
        hook.after_train_iter(runner, step)


def test_the_hook_names_what_collapses(logged):
    ranks = [10.0] * 4 + [0.5] * 4 + [8.0] * 2 + [0.5] * 2
    run_hook({"latent_std": [0.2] * 12, "latent_rank": ranks}, CollapseHook(interval=2))
    text = logged()
    assert text.count("the latents collapse: latent_rank, their effective rank, is 0.5 at iteration 6, after 10") == 1
    assert text.count("at iteration 12") == 1 and text.count("collapse:") == 2 and "latent_std" not in text


def test_the_hook_is_quiet_otherwise_and_resumes(logged):
    hook = CollapseHook(interval=2)
    run_hook({"latent_std": [0.2, 0.2, 0.1, 0.1], "latent_rank": [9.0, 8.0, 3.0, 2.0]}, hook)
    assert not logged()
    resumed = CollapseHook(interval=2)
    resumed.load_state_dict(hook.state_dict())
    run_hook({"latent_std": [0.01, 0.01], "latent_rank": [9.0, 9.0]}, resumed)
    assert "latent_std" in logged() and "after 0.2 before" in logged()


def test_the_hook_refuses_models_without_statistics():
    with pytest.raises(ConfigError, match="set monitor=True"):
        run_hook({"latent_rank": []}, CollapseHook(), monitor=False)
    with pytest.raises(ConfigError, match="fraction=1"):
        CollapseHook(fraction=1)
