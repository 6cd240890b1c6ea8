"""Test a training step and a validation batch of each config on generated data in the published layouts.
Sizes and batches are reduced; models, losses, optimizers, schedulers, hooks and metrics are those of the config.
"""

from pathlib import Path

import pytest
import torchvision

from tests.helpers.small_configs import load_cifar_names, small, write_clip
from tests.helpers.standin_data import make_combined, make_pseudo, make_published, make_small

REPOSITORY = Path(__file__).parents[1]
LEAVES = sorted(path for path in (REPOSITORY / "configs").glob("*/*.py") if path.parent.name != "_base_")
# of each kind the cheapest, on small data; the others take more than a few seconds, and up to 7 GB of memory
FAST = {
    "cae/cae_vit_cifar10_clusters_cpu",
    "cae/cae_vit_cifar10_norm_pixel_cpu",
    "combinations/exits_rotated_detr_lite0_hit_uav",
    "combinations/hnv_timesnet_lite0_camvid",
    "eco_m2f/eco_m2f_lite0_scenes_mixed_cpu",
    "hnerv/hnerv_bunny_160x320_cpu",
    "mutdet/mutdet_pretrain_lite0_hit_uav_cpu",
    "mutdet/rotated_detr_lite0_scenes_cpu",
    "timesnet/fpn_lite0_camvid",
    "timesnet/fpn_lite0_rgbd_kitchen",
    "tract/cifar10_subset_resnet_sgd_cpu_tract",
}
WITHOUT_RESIZE = ("finetune_vit_cifar10_cpu", "cae_tract_vit_cifar10")  # their images stay at 32x32
WITHOUT_VALIDATION = "up_detr_pretrain"  # its queries need patches, which a test does not have


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture(scope="module")
def standins(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("standins")
    make_small(folder / "small")
    write_clip(folder / "clip.avi")
    return folder


@pytest.fixture
def place(request, standins, monkeypatch) -> Path:
    """The working folder, where `data/...` and $VISLAB_DATA are stand-ins."""
    published = standins / "data"
    if request.node.get_closest_marker("slow") and not (published / "coco").exists():
        make_published(published)
    if "pretrain" in request.node.name and not (standins / "pseudo").exists():
        make_pseudo(standins)
    if "combinations/" in request.node.name and not (standins / "video.hnv").exists():
        make_combined(standins)
    monkeypatch.chdir(standins)
    monkeypatch.setenv("VISLAB_DATA", str(standins / "small"))
    for kind in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", load_cifar_names)
    return standins


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=name(p), marks=[] if name(p) in FAST else pytest.mark.slow) for p in LEAVES]
)
def test_first_step(path, place):
    from vislab.apis import dry_run

    config = small(path)
    if path.stem in WITHOUT_RESIZE:
        config.model.encoder.img_size = 32
    found = dry_run(config)
    assert found["loss"] > 0 and found["trained_parameters"] > 0
    assert found.get("val_metrics") or path.stem.startswith(WITHOUT_VALIDATION)
    assert found["train_batches"] > 0
    assert not (place / "work_dirs").exists()


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in LEAVES if "lite0" in p.name or "cpu" in p.name], ids=name)
def test_first_step_on_real_data(path, data_root):
    from vislab.apis import dry_run

    if "pretrain" in path.stem and not Path("pseudo").exists():
        pytest.skip("needs the files of tools/pseudo_labels.py")
    assert dry_run(path)["loss"] > 0
