"""Test that published configs match their docstrings: weights, frozen norms, decay, statistics, scales, metrics."""

from pathlib import Path

import pytest
import timm
import torch

from vislab.engine.config.load import load_config
from vislab.models.meta_device import meta_device
from vislab.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS

CONFIGS = Path(__file__).parents[1] / "configs"
SWIN = {
    "swin_t": "swin_tiny_patch4_window7_224.ms_in1k",
    "swin_s": "swin_small_patch4_window7_224.ms_in1k",
    "swin_b": "swin_base_patch4_window12_384.ms_in22k",  # the figures are those of "IN21k"
    "swin_l": "swin_large_patch4_window12_384.ms_in22k",
}
ECO = sorted((CONFIGS / "eco_m2f").glob("*swin*.py")) + sorted((CONFIGS / "eco_m2f").glob("*r50*.py"))
ALL = sorted(p for p in CONFIGS.glob("*/*.py") if p.parent.name != "_base_")


def name(path: Path) -> str:
    return path.stem


def build_on_meta(path: Path):
    cfg = load_config(path)
    model = cfg.model.to_dict()
    with meta_device():
        return cfg, MODELS.build(model)


def decay_of(path: Path) -> dict[str, float]:
    """Weight decay of each parameter that the config's optimizer trains."""
    cfg, model = build_on_meta(path)
    wrapper = cfg.optim_wrapper.to_dict()
    wrapper["type"] = "OptimWrapper"
    wrapper["optimizer"].pop("fused", None)
    constructor, paramwise = wrapper.pop("constructor"), wrapper.pop("paramwise_cfg")
    build = OPTIM_WRAPPER_CONSTRUCTORS.build(
        {"type": constructor, "optim_wrapper_cfg": wrapper, "paramwise_cfg": paramwise}
    )
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)]: g["weight_decay"] for g in build(model).optimizer.param_groups for p in g["params"]}


@pytest.mark.parametrize("path", ECO, ids=name)
def test_backbones_name_the_published_weights(path):
    """`pretrained=True` takes what the name's tag says, not timm's default of the day."""
    encoder = load_config(path).model.backbone
    kind = next((tag for key, tag in SWIN.items() if key in path.name), "resnet50.tv_in1k")
    assert encoder.name == kind
    found = timm.models.get_pretrained_cfg(encoder.name)
    assert found.tag == kind.split(".")[1] and found.hf_hub_id or found.url
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pretrained_names(node):
    if isinstance(node, dict):
        if "name" in node and "pretrained" in node:
            yield node["name"], node["pretrained"]
        for child in node.values():
            yield from pretrained_names(child)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_download_names_its_weights(path):
    for model, pretrained in pretrained_names(load_config(path).model.to_dict()):
        if not isinstance(pretrained, str):
            assert "." in model, f"{model}: which of {timm.list_pretrained(model + '.*')}?"
            assert model in timm.list_pretrained(model.split(".")[0] + ".*")


@pytest.mark.parametrize("data", ["coco_panoptic", "coco_instance", "ade20k_semantic", "ade20k_panoptic"])
def test_norms_of_resnets_are_frozen(data):
    _, model = build_on_meta(CONFIGS / f"eco_m2f/mask2former_r50_{data}.py")
    norms = [m for m in model.train().backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 53
    assert not any(m.training or m.weight.requires_grad or m.bias.requires_grad for m in norms)
    assert all(p.requires_grad for n, p in model.backbone.named_parameters() if "conv" in n)


def test_norms_of_cityscapes_learn_together():
    cfg, model = build_on_meta(CONFIGS / "eco_m2f/mask2former_r50_cityscapes_panoptic.py")
    norms = [m for m in model.train().backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(m.training and m.weight.requires_grad for m in norms) and cfg.sync_bn == "torch"


@pytest.mark.parametrize("path", ["mask2former_r50_coco_panoptic", "mask2former_swin_t_coco_instance"])
def test_decay_of_mask2former(path):
    decay = decay_of(CONFIGS / f"eco_m2f/{path}.py")
    model = build_on_meta(CONFIGS / f"eco_m2f/{path}.py")[1]
    kinds = (torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.BatchNorm2d)
    norms = {n for n, m in model.named_modules() if isinstance(m, kinds)}
    for key, value in decay.items():
        part = key.rsplit(".", 1)[0]
        embedding = key in ("decoder.query_feat.weight", "decoder.query_embed.weight", "decoder.level_embed.weight")
        bare = part in norms or embedding or "relative_position_bias_table" in key
        assert value == (0.0 if bare else 0.05), key
    biases = [k for k in decay if k.endswith("bias") and k.rsplit(".", 1)[0] not in norms]
    assert len(biases) > 50


def test_decay_of_deit():
    decay = decay_of(CONFIGS / "tract/imagenet_deit3_vit_small_400ep_tract.py")
    bare = {k for k, v in decay.items() if v == 0}
    _, model = build_on_meta(CONFIGS / "tract/imagenet_deit3_vit_small_400ep_plain.py")
    expected = {n for n, p in model.named_parameters() if p.ndim <= 1 or n.endswith(("pos_embed", "cls_token"))}
    assert bare == expected and len(decay) - len(bare) == 50  # 12 blocks of 4 matrices, patches, head


@pytest.mark.parametrize("kind", ["plain", "tract"])
def test_statistics_of_cifar(kind):
    """Against means and deviations over all training images in gray levels, as they are commonly listed."""
    ten = load_config(CONFIGS / f"tract/cifar10_resnet18_sgd_{kind}.py").model.data_preprocessor
    hundred = load_config(CONFIGS / f"tract/cifar100_resnet18_sgd_{kind}.py").model.data_preprocessor
    assert [255 * m for m in ten.mean] == pytest.approx([125.3, 122.95, 113.87], abs=0.1)
    assert [255 * m for m in hundred.mean] == pytest.approx([129.3, 124.06, 112.43], abs=0.1)
    assert [255 * s for s in hundred.std] == pytest.approx([68.17, 65.39, 70.42], abs=0.1)


@pytest.mark.parametrize(("data", "short"), [("ade20k_semantic", 512), ("ade20k_panoptic", 640), ("cityscapes", 1024)])
def test_short_sides_are_tenths(data, short):
    (path,) = (CONFIGS / "eco_m2f").glob(f"mask2former_r50_{data}*.py")
    steps = load_config(path).train_dataloader.dataset.pipeline
    resize = next(step for step in steps if "short_edge_length" in step)
    assert resize.short_edge_length == [int(x * 0.1 * short) for x in range(5, 21)]
    assert resize.max_size == 4 * short and "ratio_range" not in resize
    assert "cat_max_ratio" not in next(step for step in steps if step.type.__name__ == "RandomCrop")


def test_masks_of_cityscapes_are_not_called_its_own_ap():
    for path in (CONFIGS / "eco_m2f").glob("mask2former*cityscapes*.py"):
        metrics = load_config(path).val_evaluator
        assert [m.prefix for m in metrics if m.type.__name__ == "CocoMetric"] == ["coco"]
        assert "not comparable" in path.read_text()
