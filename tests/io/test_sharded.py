"""Test gathering sharded tensors for files and sharding loaded ones."""

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from tests.helpers.processes import free_port
from vislab.io.sharded import gather_whole, split_like


@pytest.fixture
def split():
    """A (4, 8) tensor in a group of this process alone."""
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1)
    mesh = init_device_mesh("cpu", (1,))
    yield distribute_tensor(torch.zeros(4, 8), mesh, [Shard(0)])
    torch.distributed.destroy_process_group()


def test_splitting_and_gathering_give_the_tensor_back(split):
    whole = torch.arange(32.0).view(4, 8)
    again = split_like(whole, split)
    assert isinstance(again, DTensor) and again.placements == split.placements
    assert type(gather_whole(again)) is torch.Tensor and torch.equal(gather_whole(again), whole)


def test_other_values_stay_as_they_are(split):
    whole = torch.arange(8.0)
    assert split_like(3, split) == 3 and split_like(whole, split) is whole and split_like(whole, whole) is whole
    tree = {"a": [split, (1, None)], "b": {"c": "text"}, "d": whole}
    assert gather_whole(tree, keep=False) == {"a": [None, (1, None)], "b": {"c": "text"}, "d": whole}
    assert torch.equal(gather_whole(tree)["a"][0], torch.zeros(4, 8))
