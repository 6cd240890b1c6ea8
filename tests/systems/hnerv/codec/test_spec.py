"""Test the description of decoder networks."""

import hashlib

import pytest
import torch

from vislab.errors import DataError
from vislab.systems.hnerv import HNeRV
from vislab.systems.hnerv.codec.spec import DecoderSpec

SMALL = DecoderSpec(embed_dim=4, strides=(3, 2), widths=(8, 7, 6), kernels=(1, 3))


def test_description_of_the_published_network():
    spec = DecoderSpec.of(HNeRV(strides=(5, 4, 4, 2, 2), decoder_width=68).decoder)
    assert spec == DecoderSpec(16, (5, 4, 4, 2, 2), (68, 57, 48, 40, 33, 28), (1, 3, 5, 5, 5))
    assert spec.parameters == 1488276 and spec.scale == 320
    assert spec.embedding_size((640, 1280)) == (2, 4) and spec.embedding_size((641, 1)) == (3, 1)


def test_the_network_of_a_description_takes_the_weights():
    model = HNeRV(strides=(3, 2), embed_dim=4, decoder_width=8, min_width=6).decoder
    network = DecoderSpec.of(model).network()
    network.load_state_dict(model.state_dict())
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    assert list(DecoderSpec.of(model).weight_shapes().items()) == list(shapes.items())
    x = torch.rand(1, 4, 2, 3)
    assert torch.allclose(network(x), model(x), atol=1e-6)


def test_the_hash_is_that_of_the_text():
    text = (
        "hnerv-decoder 1\nembed_dim 4\nstrides 3 2\nwidths 8 7 6\nkernels 1 3\nactivation gelu-erf\noutput tanh/2+1/2\n"
    )
    assert SMALL.text() == text and SMALL.digest() == hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"strides": ()},
        {"strides": (3, 17)},
        {"strides": (3, 0)},
        {"kernels": (1, 2)},
        {"widths": (8, 7)},
        {"widths": (8, 7, 0)},
        {"widths": (4096, 4096, 4096)},
        {"embed_dim": 5000},
    ],
)
def test_descriptions_outside_the_limits_are_refused(change):
    with pytest.raises(DataError, match="limits"):
        DecoderSpec(**{**vars(SMALL), **change})


def test_the_largest_output_is_that_of_the_largest_layer():
    assert SMALL.largest_output((3, 4)) == 18 * 24 * 6
    published = DecoderSpec(16, (5, 4, 4, 2, 2), (68, 57, 48, 40, 33, 28), (1, 3, 5, 5, 5))
    assert published.largest_output((2, 4)) == 640 * 1280 * 28
