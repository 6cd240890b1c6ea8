"""The pixel decoder: an exit equals a model of that many layers, alone and in a mixed batch."""

import torch

from vislab.models.mask2former.pixel_decoder import PixelDecoder


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
