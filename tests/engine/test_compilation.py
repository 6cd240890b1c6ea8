"""Test `compile` in a config: each network is compiled as a whole, and results do not change."""

import copy

import pytest
import torch
from mmengine.structures import InstanceData, LabelData, PixelData

from tests.helpers.toy_run import ToyModel, make_runner
from vislab.engine.compilation import compile_networks
from vislab.errors import ConfigError
from vislab.io.checkpoint import load_checkpoint
from vislab.models.classifier import ImageClassifier
from vislab.models.dense import DepthEstimator, SemanticSegmentor
from vislab.models.fpn import FPNNetwork
from vislab.models.mask2former import Mask2Former
from vislab.structures import DataSample
from vislab.systems.eco_m2f import EcoM2F
from vislab.systems.hnerv import HNeRV
from vislab.systems.timesnet import TimesNet
from vislab.systems.tract import apply_tract

WIDTHS = {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 64, "num_layers": 3}
SETS = {"num_classes": 4, "num_queries": 6, "pixel_decoder": WIDTHS, "decoder": WIDTHS, "loss": {"num_points": 60}}
SWIN = {
    "name": "swin_tiny_patch4_window7_224", "out_norm": "layer", "drop_path_rate": 0.0,
    "model_args": {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (2, 2, 4, 4)},
}  # fmt: skip
RESNET = {"name": "resnet10t"}


def tract() -> ImageClassifier:
    model = ImageClassifier(name="resnet10t", num_classes=4)
    apply_tract(model.network.conv1[0], 0.1, "local")
    return model


def timesnet() -> DepthEstimator:
    return DepthEstimator(network={"type": TimesNet, "encoder": RESNET, "decoder": RESNET})


NETWORKS = {  # how to build the system's model, and how many graphs its compiled parts make in a training step
    "hnerv": (lambda: HNeRV(strides=(2, 2), decoder_width=16), 2),
    "timesnet": (timesnet, 1),
    "fpn": (lambda: SemanticSegmentor(num_classes=4, network={"type": FPNNetwork, "encoder": RESNET}), 1),
    "classifier": (lambda: ImageClassifier(name="resnet10t", num_classes=4), 1),
    "tract": (tract, 3),  # around the first layer, whose hook is Python
    "mask2former": (lambda: Mask2Former(backbone=SWIN, **SETS), 3),
    "eco_m2f": (lambda: EcoM2F(backbone=RESNET, exits=(2, 3), **SETS), 3),
}
FAST = ("hnerv", "classifier")


def samples(count: int, size: tuple[int, int]) -> list[DataSample]:
    """Labels for all tasks."""
    found = []
    for number in range(count):
        sample = DataSample(metainfo={"img_shape": size, "ori_shape": size})
        masks = torch.zeros(2, *size, dtype=torch.bool)
        masks[0, : 9 + number], masks[1, 9 + number :] = True, True
        sample.gt_instances = InstanceData(labels=torch.tensor([0, 2]), masks=masks)
        sample.gt_sem_seg = PixelData(data=masks[1:].long())
        sample.gt_depth = PixelData(data=1 + masks[1:].float())
        sample.gt_label = LabelData(label=torch.tensor([number]))
        found.append(sample)
    return found


def step(model: torch.nn.Module, size: tuple[int, int] = (64, 64)) -> float:
    """One step's loss, with its backward."""
    torch.manual_seed(2)
    inputs = torch.rand(2, 3, *size)
    loss, _ = model.parse_losses(model.train()(inputs, samples(2, size), mode="loss"))
    loss.backward()
    return loss.item()


def check(name: str, backend: str) -> None:
    from torch._dynamo import reset
    from torch._dynamo.utils import counters

    build, graphs = NETWORKS[name]
    torch.manual_seed(0)
    plain, model = build(), build()
    model.load_state_dict(plain.state_dict())
    names = list(model.state_dict())
    reset()
    counters.clear()
    assert compile_networks(model, {"backend": backend})
    assert step(model) == pytest.approx(step(plain), rel=1e-4)
    assert counters["stats"]["unique_graphs"] == graphs
    assert sum(counters["graph_break"].values()) == (2 if name == "tract" else 0)
    assert list(model.state_dict()) == names and not compile_networks(model, True)
    predictions = model.eval()(torch.rand(2, 3, 64, 64), samples(2, (64, 64)), mode="predict")
    assert len(predictions) == 2
    reset()


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in NETWORKS])
def test_each_network_is_traced_in_one_piece(name):
    check(name, "eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_each_network_is_compiled(name):
    check(name, "inductor")


def test_a_compiled_run_equals_a_plain_one(tmp_path):
    """EMA's copy, validation, checkpoints and their names included."""

    def run(folder: str, **changes) -> dict:
        runner = make_runner(tmp_path / folder, total=2, **changes)
        runner.train()
        return load_checkpoint(tmp_path / folder / "epoch_2.pth")["state_dict"], runner

    expected, _ = run("plain")
    found, runner = run("compiled", cfg={"compile": {"backend": "eager"}})
    assert runner.model._compiled_call_impl is not None
    assert expected.keys() == found.keys() and all(torch.equal(expected[key], found[key]) for key in expected)


def test_copies_are_not_compiled():
    model = ToyModel()
    assert compile_networks(model, {"backend": "eager"}) == [""]
    assert copy.deepcopy(model)._compiled_call_impl is None


@pytest.mark.parametrize("settings", [None, False])
def test_nothing_is_compiled_unless_asked(settings):
    model = ToyModel()
    assert compile_networks(model, settings) == [] and model._compiled_call_impl is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [("inductor", "in a dict"), ({"bakend": "eager"}, "did you mean 'backend'"), ({"backend": "fast"}, "eager")],
)
def test_settings_that_torch_does_not_take(settings, message):
    with pytest.raises(ConfigError, match=message):
        compile_networks(ToyModel(), settings)
