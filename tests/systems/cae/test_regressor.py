"""Test regressor and decoder: the joined norms against norms where they stand, and what each part sees."""

import pytest
import torch
from torch import nn

from tests.helpers.cae import GRID, perturb, small_cae
from vislab.errors import ConfigError
from vislab.systems.cae import LatentDecoder, LatentRegressor
from vislab.systems.cae.regressor import fold_norm, normalize

IDS = torch.tensor([[0, 2, 3, 9], [1, 5, 6, 14]]), torch.tensor([[1, 4, 13], [2, 3, 4]])


def regressor(**settings) -> LatentRegressor:
    torch.manual_seed(0)
    model = LatentRegressor(**{"dim": 16, "depth": 2, "num_heads": 4, "encoder_dim": 16, "grid": GRID} | settings)
    perturb(model)
    return model.double().eval()


def visible() -> torch.Tensor:
    return torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("bias", [None, torch.randn(5).double()])
def test_a_norm_joined_with_the_next_layer(bias):
    norm, linear, x = nn.LayerNorm(8, eps=1e-6).double(), nn.Linear(8, 5, bias=False).double(), visible().view(2, 8, 8)
    perturb(norm)
    expected = linear(norm(x)) + (0 if bias is None else bias)
    torch.testing.assert_close(nn.functional.linear(normalize(x), *fold_norm(norm, linear, bias)), expected)


def test_order_of_visible_patches_does_not_matter():
    model, order = regressor(), torch.tensor([2, 0, 3, 1])
    expected = model(visible(), *IDS)
    torch.testing.assert_close(model(visible()[:, order], IDS[0][:, order], IDS[1]), expected)


def test_order_of_masked_patches_is_the_order_of_latents():
    model, order = regressor(), torch.tensor([2, 0, 1])
    torch.testing.assert_close(model(visible(), IDS[0], IDS[1][:, order]), model(visible(), *IDS)[:, order])


def test_final_norm():
    latents = regressor(final_norm=False)(visible(), *IDS)
    assert latents.mean(dim=2).abs().max() > 0.01
    plain = LatentRegressor(dim=16, depth=1, num_heads=4, encoder_dim=16, grid=GRID).double()
    assert plain(visible(), *IDS).mean(dim=2).abs().max() < 1e-9


def test_adapter_only_for_other_widths():
    assert isinstance(regressor().adapter, nn.Identity)
    assert regressor(encoder_dim=24).adapter(torch.zeros(1, 24).double()).shape == (1, 16)


def test_decoder_depth_0_ignores_positions():
    torch.manual_seed(0)
    decoder = LatentDecoder(depth=0, dim=16, num_heads=4, out_channels=5).double()
    latents = visible()
    assert torch.equal(decoder(latents, latents), decoder.project(latents)) and decoder(latents, latents).shape[2] == 5


def test_stochastic_depth_ramps():
    model = small_cae(
        regressor={"dim": 16, "depth": 3, "num_heads": 4, "drop_path_rate": 0.1},
        decoder={"depth": 2, "num_heads": 4, "drop_path_rate": 0.2},
    )
    assert [block.drop_path_rate for block in model.regressor.blocks] == [0, 0.05, 0.1]
    assert [block.drop_path_rate for block in model.decoder.blocks] == [0, 0.2]


@pytest.mark.parametrize(("dim", "heads"), [(1024, 12), (18, 2)])
def test_widths_without_whole_heads_are_refused(dim, heads):
    with pytest.raises(ConfigError, match=f"dim={dim} is not divisible"):
        LatentRegressor(dim=dim, num_heads=heads, depth=1, encoder_dim=dim, grid=GRID)
    with pytest.raises(ConfigError, match=f"dim={dim} is not divisible"):
        LatentDecoder(dim=dim, num_heads=heads, depth=1, out_channels=4)
