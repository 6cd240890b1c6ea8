"""Test two gloo processes: `global` and `deferred` equal the whole batch, `local` differs as defined."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.helpers.tract_oracle import expected
from vislab.systems.tract import apply_tract, precondition

WORLD = 2


def data() -> tuple[nn.Conv2d, torch.Tensor, torch.Tensor]:
    """A layer with n = 75, 8 images of 64 positions, and a gradient of a mean over the images."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 6, 5, padding=2).double()
    x = torch.randn(8, 3, 8, 8, dtype=torch.float64)
    return layer, x, torch.randn(8, 6, 8, 8, dtype=torch.float64) / 8


def work(rank: int, port: int, path: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD)
    results = {}
    for reduce in ("global", "local", "deferred"):
        layer, x, g = data()
        x, g = x.chunk(WORLD)[rank], g.chunk(WORLD)[rank] * WORLD  # each process means over its own images
        layer.train()
        model = DistributedDataParallel(nn.Sequential(layer, nn.Identity()))
        apply_tract(layer, reduce=reduce)
        if reduce == "deferred":  # two micro-batches each
            (part_x, part_g), (last_x, last_g) = zip(x.split(2), g.split(2), strict=True)
            with model.no_sync():
                (model(part_x) * part_g).sum().backward()
            (model(last_x) * last_g).sum().backward()
            precondition(layer)
        else:
            (model(x) * g).sum().backward()
        results[reduce], results[f"{reduce} bias"] = layer.weight.grad, layer.bias.grad
    if rank == 0:
        torch.save(results, path)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    path = str(tmp_path_factory.mktemp("gradients") / "rank0.pt")
    mp.start_processes(work, args=(port, path), nprocs=WORLD, start_method="forkserver")
    return torch.load(path)


@pytest.mark.parametrize("reduce", ["global", "deferred"])
def test_the_exact_modes_equal_one_process_on_the_joined_batch(gradients, reduce):
    layer, x, g = data()
    apply_tract(layer)
    (layer(x) * g).sum().backward()
    torch.testing.assert_close(gradients[reduce], layer.weight.grad, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients[reduce], expected(layer, x, g), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients[f"{reduce} bias"], layer.bias.grad, rtol=1e-12, atol=1e-12)


def test_local_averages_gradients_that_each_process_preconditioned_by_itself(gradients):
    layer, x, g = data()
    parts = [expected(layer, a, b * WORLD) for a, b in zip(x.chunk(WORLD), g.chunk(WORLD), strict=True)]
    torch.testing.assert_close(gradients["local"], sum(parts) / WORLD, rtol=1e-10, atol=1e-10)
    exact = gradients["global"]
    off = ((gradients["local"] - exact).norm() / exact.norm()).item()
    assert 0.1 < off < 0.6  # N / n = 3.4 rows a direction and process, white input: about the square root of n / N
