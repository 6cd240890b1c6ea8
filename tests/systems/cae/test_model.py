"""Test CAE: a slow reference, gradients that stop, what each part sees, forms and options, and the common tests."""

import copy

import pytest
import torch

from tests.helpers.cae import GRID, SIDE, SlowCAE, images, masks, perturb, positions, samples, small_cae
from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError, DataError
from vislab.ops.patches import take_rows
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.systems.cae import (
    CAE,
    LatentDecoder,
    MaskedImagePreprocessor,
    NormPixelTarget,
    PixelTarget,
    Target,
    patch_ids,
)


class TestCAE(ModelBehavior):
    bf16_tolerance = 0.02

    def build(self):
        return small_cae()

    def inputs(self, count):
        return images(count)

    def samples(self, count):
        return samples(count)


class TestWithAdapter(TestCAE):
    def build(self):
        return small_cae(regressor_dim=24)


class AllTokens(Target):
    """Random features of all tokens with cosine distance, as CAE v2 has with a teacher."""

    tokens = "all"

    def fit(self, encoder, latent_dim):
        return 12

    def labels(self, batch):
        table = torch.randn(1, 16, 12, generator=torch.Generator().manual_seed(0)).to(batch.images)
        first = torch.zeros_like(batch.ids_visible[:, :1])
        ids = torch.cat((first, batch.ids_visible + 1, batch.ids_masked + 1), dim=1)
        return take_rows(table.expand(len(ids), -1, -1), ids)

    def loss(self, prediction, labels):
        return 1 - torch.cosine_similarity(prediction.float(), labels, dim=2)


class TestAllTokens(TestCAE):
    def build(self):
        return small_cae(target=AllTokens(), decoder={"depth": 0}, alignment_weight=0.0)


def in_double(**settings) -> CAE:
    """A model in evaluation mode with random values everywhere, and positions in double precision."""
    torch.manual_seed(0)
    model = small_cae(**settings).double().eval()
    perturb(model)
    model.encoder.pos_embed[0, 1:] = positions(*GRID, model.encoder.dim)
    model.regressor.pos_embed.copy_(positions(*GRID, model.regressor.dim))
    return model


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("regressor_dim", [16, 24])
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.7)], ids=str)
def test_losses_and_gradients_of_a_slow_reference(regressor_dim, weights):
    model = in_double(regressor_dim=regressor_dim)
    other = copy.deepcopy(model)
    model.reconstruction_weight, model.alignment_weight = weights
    x = images(3).double()
    losses = model(x, samples(3), mode="loss")
    slow = SlowCAE(other).losses(x, masks(3))
    total = 0.0
    for key, weight, expected in zip(("loss_reconstruction", "loss_alignment"), weights, slow, strict=True):
        if weight:
            torch.testing.assert_close(losses[key], weight * expected.to(losses[key]), atol=1e-6, rtol=1e-6)
        total = total + weight * expected
    sum(value for key, value in losses.items() if "loss" in key).backward()
    total.backward()
    for name, expected in gradients(other).items():
        found = gradients(model)[name]
        assert (found is None) == (expected is None), name
        if expected is not None:
            assert (found - expected).abs().max() <= 1e-9, name


@pytest.mark.parametrize("count", [1, 12])
def test_recomputed_norms_give_the_same_gradients_and_store_less(count):
    """For fewer and for more tokens than channels, where the layer scale is applied in different places."""
    model, again = small_cae(), small_cae()
    again.load_state_dict(model.state_dict())
    for block in (*again.encoder.blocks, *again.regressor.blocks, *again.decoder.blocks):
        block.recompute = True
    stored = []
    for one in (model, again):
        kept: dict[int, int] = {}

        def pack(x, kept=kept):
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            losses = one(images(count), samples(count), mode="loss")
        stored.append(sum(kept.values()))
        sum(value for name, value in losses.items() if "loss" in name).backward()
    for (name, a), b in zip(gradients(model).items(), gradients(again).values(), strict=True):
        assert (a - b).abs().max() <= 1e-6, name
    assert count == 1 or stored[1] < 0.8 * stored[0]


def latents_of(model: CAE, x: torch.Tensor) -> torch.Tensor:
    return model.align_target(model._batch(x, samples(len(x)), None))


def test_alignment_target_is_the_encoder_on_the_complement():
    model = in_double(regressor_dim=24)
    masked = patch_ids(samples(2))[1]
    expected = model.regressor.adapter(model.encoder(images(2).double(), masked)[:, 1:])
    found = latents_of(model, images(2).double())
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert not found.requires_grad


def test_gradient_is_that_of_a_frozen_copy_as_target():
    model = in_double(reconstruction_weight=0.0, alignment_weight=1.0)
    frozen = copy.deepcopy(model).requires_grad_(False)
    x = images(2).double()
    model(x, samples(2), mode="loss")["loss_alignment"].backward()
    found = gradients(model)
    model.zero_grad()
    distance = model(x, samples(2))["latents"] - latents_of(frozen, x)
    distance.square().mean().backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(found[name], gradient, atol=1e-9, rtol=1e-5)


@pytest.mark.parametrize("changed", ["masked", "visible"])
def test_masked_pixels_reach_the_targets_only(changed):
    model, x, mask = in_double(), images(2).double(), masks(2)
    pixels = (mask if changed == "masked" else ~mask).repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)
    other = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).double() * pixels[:, None]
    before, after = model(x, samples(2)), model(other, samples(2))
    targets = [latents_of(model, images_) for images_ in (x, other)]
    labels = [NormPixelTarget().labels(model._batch(images_, samples(2), None)) for images_ in (x, other)]
    for key in ("visible", "latents", "prediction"):
        assert torch.equal(before[key], after[key]) == (changed == "masked"), key
    assert torch.equal(*targets) == torch.equal(*labels) == (changed == "visible")


def test_the_decoder_sees_masked_latents_only():
    """With these latents given, no other input of the decoder depends on the visible ones."""
    model, position = in_double(), torch.zeros(1, 3, 16).double()
    latents = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0)).double()
    both = model.decoder(latents, position)
    torch.testing.assert_close(model.decoder(latents[:1], position), both[:1])
    seen = []
    model.decoder.register_forward_pre_hook(lambda _module, inputs: seen.append([tuple(x.shape) for x in inputs]))
    model(images(2).double(), samples(2))
    assert seen == [[(2, 7, 16), (2, 7, 16)]]


def test_the_class_token_is_in_no_key_or_value():
    model, x = in_double(), images(2).double()
    expected = model(x, samples(2))

    def change(_module, _inputs, output):
        return torch.cat((output[:, :1] + 9, output[:, 1:]), dim=1)

    model.encoder.norm.register_forward_hook(change)
    found = model(x, samples(2))
    assert not torch.equal(found["visible"], expected["visible"])
    assert torch.equal(found["latents"], expected["latents"])


def test_visible_latents_do_not_change_in_the_regressor():
    model = in_double()
    visible = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)).double()
    before = visible.clone()
    model.regressor(visible, *patch_ids(samples(2)))
    assert torch.equal(visible, before)


def test_full_context():
    model, whole = in_double(), in_double(target_context="full")
    x, masked = images(2).double(), patch_ids(samples(2))[1]
    expected = take_rows(whole.encoder(x)[:, 1:], masked)
    torch.testing.assert_close(latents_of(whole, x), expected, atol=1e-12, rtol=0)
    assert not torch.allclose(latents_of(model, x), expected)


def test_ema_copy_follows_the_encoder():
    shared, model = small_cae(), small_cae(ema_decay=0.75)
    assert shared.ema_encoder is None
    assert not any(p.requires_grad for p in model.ema_encoder.parameters())
    old = copy.deepcopy(model.ema_encoder.state_dict())
    perturb(model.encoder)
    model.eval()(images(2), samples(2), mode="loss")
    assert torch.equal(model.ema_encoder.cls_token, old["cls_token"])
    model.train()(images(2), samples(2), mode="loss")
    for name, value in model.ema_encoder.state_dict().items():
        expected = 0.75 * old[name] + 0.25 * model.encoder.state_dict()[name]
        torch.testing.assert_close(value, expected)


def test_target_of_shared_weights_is_never_stale():
    """The official [L] layout copies weights after the target is computed, so its target is one step old."""
    model = in_double()
    stale = copy.deepcopy(model.encoder)
    with torch.no_grad():
        model.encoder.blocks[0].mlp.fc1.weight += 0.5
    masked = patch_ids(samples(2))[1]
    found = latents_of(model, images(2).double())
    torch.testing.assert_close(found, model.encoder(images(2).double(), masked)[:, 1:], atol=1e-12, rtol=0)
    assert not torch.allclose(found, stale(images(2).double(), masked)[:, 1:])


@pytest.mark.parametrize("active", [False, True])
def test_stochastic_depth_in_the_target(active):
    torch.manual_seed(0)
    model = in_double(target_drop_path=active)
    for block in model.encoder.blocks:
        block.drop_path_rate = 0.5
    still = latents_of(model, images(4).double())
    model.train()
    assert torch.equal(latents_of(model, images(4).double()), still) != active


def test_predicted_image_keeps_visible_pixels():
    model = small_cae(target=PixelTarget(), data_preprocessor=MaskedImagePreprocessor()).eval()
    x = images(2).sigmoid()
    with torch.no_grad():
        found = model(x, samples(2), mode="predict")
    drawn = model(x, samples(2))["prediction"]
    for i, mask in enumerate(masks(2)):
        pixels = mask.repeat_interleave(SIDE, 0).repeat_interleave(SIDE, 1)
        torch.testing.assert_close(found[i].pred_image[:, ~pixels], x[i][:, ~pixels])
        y, column = (SIDE * int(v) for v in mask.nonzero()[0])
        patch = found[i].pred_image[:, y : y + SIDE, column : column + SIDE]
        torch.testing.assert_close(patch, drawn[i, 0].view(3, SIDE, SIDE).clamp(0, 1))


def test_losses_of_samples_average_to_those_of_the_batch():
    model = small_cae(alignment_weight=0.5).eval()
    with torch.no_grad():
        losses = model(images(3), samples(3), mode="loss")
        found = model(images(3), samples(3), mode="predict")
    for name, weight in (("reconstruction", 1.0), ("alignment", 0.5)):
        mean = torch.stack([sample.get(f"pred_{name}_loss") for sample in found]).mean()
        torch.testing.assert_close(weight * mean, losses[f"loss_{name}"])


def test_prediction_of_all_tokens():
    model = TestAllTokens().make()
    outputs = model(images(2), samples(2))
    assert outputs["prediction"].shape == (2, 16, 12)
    expected = model.decoder.project(outputs["visible"])
    torch.testing.assert_close(outputs["prediction"][:, :9], expected)
    assert set(model(images(2), samples(2), mode="loss")) == {"loss_reconstruction", "latent_std", "latent_rank"}
    assert isinstance(model.regressor.norm, torch.nn.Identity)


def test_without_reconstruction_there_is_no_decoder():
    model = small_cae(reconstruction_weight=0.0, monitor=False)
    assert model.decoder is None and set(model(images(2), samples(2), mode="loss")) == {"loss_alignment"}
    assert set(model(images(2), samples(2))) == {"visible", "latents"}
    assert "pred_image" not in model(images(2), samples(2), mode="predict")[0]


def test_bf16_autocast_is_close():
    model = small_cae(regressor_dim=24)
    expected = model(images(4), samples(4), mode="loss")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(images(4), samples(4), mode="loss")
    for name in ("loss_reconstruction", "loss_alignment"):
        assert found[name].dtype == torch.float32
        assert found[name].item() == pytest.approx(expected[name].item(), rel=0.02)


def test_constant_images_and_a_batch_of_one_are_finite():
    model = small_cae()
    losses = model(torch.full((1, 3, 12, 20), 0.5), samples(1), mode="loss")
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_built_by_names():
    model = MODELS.build(
        {
            "type": "CAE",
            "encoder": {"type": "ViT", "img_size": 32, "patch_size": 4, "dim": 32, "depth": 1, "num_heads": 4},
            "regressor": {"dim": 32, "depth": 1, "num_heads": 4},
            "decoder": {"depth": 1, "num_heads": 4},
            "target": {"type": "PixelTarget", "kind": "l1"},
        }
    )
    assert model.target.kind == "l1" and model.regressor.pos_embed.shape == (64, 32)
    assert isinstance(model.decoder, LatentDecoder) and model.decoder.head.out_features == 48


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ema_decay": 1.0}, r"ema_decay=1.0 is not in \[0, 1\)"),
        ({"target_context": "all"}, "target_context='all' is not one of"),
        ({"alignment_weight": -1.0}, "expected weights of at least 0"),
        ({"alignment_weight": 0.0, "reconstruction_weight": 0.0}, "expected weights of at least 0, and one above"),
        ({"target": AllTokens()}, "AllTokens predicts all tokens, .* set alignment_weight=0"),
        ({"target": AllTokens(), "alignment_weight": 0.0}, r"set decoder=dict\(depth=0\)"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        small_cae(**settings)


def test_masks_of_another_grid_are_refused():
    turned = [DataSample(patch_mask=mask.T) for mask in masks(2)]
    with pytest.raises(DataError, match=r"patch_mask is \(5, 3\), but the encoder has a grid of \(3, 5\)"):
        small_cae()(images(2), turned, mode="loss")
