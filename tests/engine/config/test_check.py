"""Test the config check with one mistake per config: each is reported with its place and the most similar name."""

import copy
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import REPOSITORY, config_parts
from tests.helpers.config_changes import drop, put, rename, write_base
from tests.helpers.warm import run_warm
from vislab.engine.config.check import check_class_count, check_config, find_problems
from vislab.engine.config.load import load_config
from vislab.errors import ConfigError


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_config(write_base(tmp_path_factory.mktemp("config")))


def test_right_config_has_no_problems(base):
    assert find_problems(base) == []


def test_no_data_is_read_and_the_model_holds_no_numbers(base, monkeypatch):
    devices, build = [], config_parts.PartModel.__init__

    def watched(*args: Any, **kwargs: Any) -> None:
        devices.append(torch.empty(0).device.type)
        build(*args, **kwargs)

    monkeypatch.setattr(config_parts.PartDataset, "load_data_list", lambda *a, **k: pytest.fail("was read"))
    monkeypatch.setattr(config_parts.PartModel, "__init__", watched)
    check_config(base)
    assert devices == ["meta"]


# change, the place that is reported, what the message must say beside it
MISTAKES = {
    # top level
    "section misspelled": (put("custom_hook", []), "custom_hook", "'custom_hooks'"),
    "optim_wraper": (rename("optim_wrapper", "optim_wraper"), "optim_wraper", "'optim_wrapper'"),
    "model missing": (drop("model"), "model", "needs a model"),
    "train_cfg missing": (drop("train_cfg"), "train_cfg", "train_dataloader"),
    "evaluator missing": (drop("val_evaluator"), "val_evaluator", "val_dataloader"),
    "log level": (put("log_level", "INF"), "log_level", "'INFO'"),
    "launcher": (put("launcher", "pytorh"), "launcher", "'pytorch'"),
    "load_from missing": (put("load_from", "DATA/weights.pth"), "load_from", "no such file"),
    "work_dir kind": (put("work_dir", 3), "work_dir", "str"),
    # model
    "model argument": (rename("model.width", "widht"), "model.widht", "'width'"),
    "nested argument": (put("model.head.droput", 0.1), "model.head.droput", "'dropout'"),
    "model name": (put("model.type", "PartModle"), "model.type", "'PartModel'"),
    "nested name": (put("model.head.type", "PartHed"), "model.head.type", "'PartHead'"),
    "model type missing": (drop("model.type"), "model", "no `type`"),
    "model kind": (put("model.width", "16"), "model.width", "int"),
    "flag as text": (put("model.use_norm", "False"), "model.use_norm", "bool"),
    "choice": (put("model.mode", "exactt"), "model.mode", "'exact'"),
    "weights missing": (put("model.pretrained", "DATA/resnet.pth"), "model.pretrained", "no such file"),
    "init argument": (put("model.head.init_cfg.stdd", 1.0), "model.head.init_cfg.stdd", "'std'"),
    "init name": (put("model.head.init_cfg.type", "TruncNorml"), "model.head.init_cfg.type", "'TruncNormal'"),
    "init weights": (
        put("model.head.init_cfg", {"type": "Pretrained", "checkpoint": "DATA/no.pth"}),
        "model.head.init_cfg.checkpoint",
        "no such file",
    ),
    "preprocessor": (
        put("model.data_preprocessor.non_bloking", 1),
        "model.data_preprocessor.non_bloking",
        "'non_blocking'",
    ),
    "class count": (put("model.head.num_classes", 4), "model.head.num_classes", "3 classes"),
    # data
    "loader argument": (
        rename("train_dataloader.batch_size", "batchsize"),
        "train_dataloader.batchsize",
        "'batch_size'",
    ),
    "loader kind": (put("train_dataloader.num_workers", 2.5), "train_dataloader.num_workers", "int"),
    "negative workers": (put("train_dataloader.num_workers", -1), "train_dataloader.num_workers", "at least 0"),
    "empty batch": (put("train_dataloader.batch_size", 0), "train_dataloader.batch_size", "at least 1"),
    "sampler missing": (drop("val_dataloader.sampler"), "val_dataloader.sampler", "EpochSampler"),
    "sampler argument": (put("train_dataloader.sampler.shufle", 1), "train_dataloader.sampler.shufle", "'shuffle'"),
    "sampler name": (
        put("val_dataloader.sampler.type", "EpochSampel"),
        "val_dataloader.sampler.type",
        "'EpochSampler'",
    ),
    "shuffle beside sampler": (put("train_dataloader.shuffle", True), "train_dataloader.shuffle", "sampler.shuffle"),
    "collate argument": (put("train_dataloader.collate_fn.x", 1), "train_dataloader.collate_fn.x", "pseudo_collate"),
    "dataset missing": (drop("train_dataloader.dataset"), "train_dataloader.dataset", "needs a dataset"),
    "dataset argument": (put("train_dataloader.dataset.pipline", []), "train_dataloader.dataset.pipline", "'pipeline'"),
    "inherited argument": (
        put("train_dataloader.dataset.lazyinit", True),
        "train_dataloader.dataset.lazyinit",
        "'lazy_init'",
    ),
    "dataset kind": (put("train_dataloader.dataset.length", "all"), "train_dataloader.dataset.length", "int"),
    "data folder": (
        put("train_dataloader.dataset.data_root", "DATA/no"),
        "train_dataloader.dataset.data_root",
        "no such",
    ),
    "annotations": (
        put("train_dataloader.dataset.ann_file", "tain.json"),
        "train_dataloader.dataset.ann_file",
        "'train.json'",
    ),
    "image folder": (
        put("val_dataloader.dataset.data_prefix.img", "image"),
        "val_dataloader.dataset.data_prefix.img",
        "'images'",
    ),
    "path of a class": (
        put("train_dataloader.dataset.extra_file", "x.txt"),
        "train_dataloader.dataset.extra_file",
        "no such",
    ),
    "variable not set": (
        put("val_dataloader.dataset.data_root", "$NOT_SET/x"),
        "val_dataloader.dataset.data_root",
        "NOT_SET",
    ),
    "transform argument": (
        put("train_dataloader.dataset.pipeline.0.keep_ration", True),
        "train_dataloader.dataset.pipeline.0.keep_ration",
        "'keep_ratio'",
    ),
    "transform needs": (
        drop("train_dataloader.dataset.pipeline.0.size"),
        "train_dataloader.dataset.pipeline.0.size",
        "needs",
    ),
    "transform name": (
        put("train_dataloader.dataset.pipeline.0.type", "PartRezise"),
        "train_dataloader.dataset.pipeline.0.type",
        "'PartResize'",
    ),
    "nested transform": (
        put("train_dataloader.dataset.pipeline.1.transforms.0.probability", 1.0),
        "train_dataloader.dataset.pipeline.1.transforms.0.probability",
        "'prob'",
    ),
    "transform choice": (
        put("train_dataloader.dataset.pipeline.1.transforms.0.direction", "horizontl"),
        "train_dataloader.dataset.pipeline.1.transforms.0.direction",
        "'horizontal'",
    ),
    # loops
    "epochs misspelled": (put("train_cfg.max_epoch", 3), "train_cfg.max_epoch", "max_epochs"),
    "epochs as text": (put("train_cfg.max_epochs", "ten"), "train_cfg.max_epochs", "int"),
    "negative epochs": (put("train_cfg.max_epochs", -3), "train_cfg.max_epochs", "at least 1"),
    "wrong loop": (put("train_cfg.max_iters", 100), "train_cfg.max_iters", "EpochBasedTrainLoop"),
    "no length": (drop("train_cfg.max_epochs"), "train_cfg.max_epochs", "needs"),
    "val_cfg argument": (put("val_cfg.ampp", True), "val_cfg.ampp", "'amp'"),
    # optimization
    "lr misspelled": (rename("optim_wrapper.optimizer.lr", "lrr"), "optim_wrapper.optimizer.lrr", "'lr'"),
    "lr as text": (put("optim_wrapper.optimizer.lr", "0.1"), "optim_wrapper.optimizer.lr", "float"),
    "lr negative": (put("optim_wrapper.optimizer.lr", -0.1), "optim_wrapper.optimizer.lr", "at least 0"),
    "optimizer name": (put("optim_wrapper.optimizer.type", "AdamWW"), "optim_wrapper.optimizer.type", "'AdamW'"),
    "optimizer misspelled": (rename("optim_wrapper.optimizer", "optimiser"), "optim_wrapper.optimizer", "'optimiser'"),
    "wrapper argument": (put("optim_wrapper.clip_gradd", {"max_norm": 1}), "optim_wrapper.clip_gradd", "'clip_grad'"),
    "accumulation": (put("optim_wrapper.accumulative_counts", 0), "optim_wrapper.accumulative_counts", "at least 1"),
    "clip argument": (put("optim_wrapper.clip_grad.maxnorm", 1), "optim_wrapper.clip_grad.maxnorm", "max_norm"),
    "clip type": (put("optim_wrapper.clip_grad.type", "values"), "optim_wrapper.clip_grad.type", "'value'"),
    "paramwise": (
        put("optim_wrapper.paramwise_cfg.norm_decay_mul", 0),
        "optim_wrapper.paramwise_cfg.norm_decay_mul",
        "norm_decay_mult",
    ),
    "custom keys": (
        put("optim_wrapper.paramwise_cfg.custom_keys.head.lr_mul", 2.0),
        "optim_wrapper.paramwise_cfg.custom_keys.head.lr_mul",
        "lr_mult",
    ),
    "constructor": (
        put("optim_wrapper.constructor", "LayerDecay"),
        "optim_wrapper.constructor.type",
        "'LayerDecayOptim",
    ),
    "scheduler argument": (put("param_scheduler.1.eta_mim", 0), "param_scheduler.1.eta_mim", "'eta_min'"),
    "scheduler name": (put("param_scheduler.0.type", "LinearLr"), "param_scheduler.0.type", "'LinearLR'"),
    "auto_scale_lr": (
        put("auto_scale_lr.base_batchsize", 8),
        "auto_scale_lr.base_batchsize",
        "It takes: base_batch_size",
    ),
    # evaluation
    "metric argument": (put("val_evaluator.0.top_k", 5), "val_evaluator.0.top_k", "'topk'"),
    "metric name": (put("val_evaluator.0.type", "PartAcuracy"), "val_evaluator.0.type", "'PartAccuracy'"),
    # hooks
    "swallowed by mmengine": (
        put("default_hooks.checkpoint.intervall", 3),
        "default_hooks.checkpoint.intervall",
        "'interval'",
    ),
    "swallowed by a hook": (put("custom_hooks.1.intervl", 3), "custom_hooks.1.intervl", "'interval'"),
    "averaging": (put("custom_hooks.0.momentun", 0.1), "custom_hooks.0.momentun", "'momentum'"),
    "hook name": (put("custom_hooks.0.type", "EMAHok"), "custom_hooks.0.type", "'EMAHook'"),
    "hook kind": (put("default_hooks.logger.interval", "5"), "default_hooks.logger.interval", "int"),
    "default hook": (
        put("default_hooks.chekpoint", {"type": "CheckpointHook"}),
        "default_hooks.chekpoint",
        "'checkpoint'",
    ),
    "priority": (put("custom_hooks.1.priority", "LOWW"), "custom_hooks.1.priority", "'LOW'"),
    # surroundings
    "env_cfg": (put("env_cfg.cudnn_benchmrk", True), "env_cfg.cudnn_benchmrk", "'cudnn_benchmark'"),
    "mp_cfg": (put("env_cfg.mp_cfg.start_method", "fork"), "env_cfg.mp_cfg.start_method", "'mp_start_method'"),
    "randomness": (put("randomness.sed", 1), "randomness.sed", "'seed'"),
    "seed kind": (put("randomness.seed", "one"), "randomness.seed", "int"),
    "visualizer argument": (put("visualizer.vis_backend", []), "visualizer.vis_backend", "'vis_backends'"),
    "backend name": (
        put("visualizer.vis_backends.0.type", "TensorboardVisBacken"),
        "visualizer.vis_backends.0.type",
        "'TensorboardVisBackend'",
    ),
    "log processor": (put("log_processor.windowsize", 5), "log_processor.windowsize", "'window_size'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistake(base, name):
    change, place, says = MISTAKES[name]
    cfg = copy.deepcopy(base)._cfg_dict.to_dict()
    folder = base.train_dataloader.dataset.data_root
    change(cfg)
    cfg = _replace(cfg, "DATA", folder)
    problems = find_problems(cfg)
    found = [p for p in problems if p.place == place]
    assert found, f"not reported at {place}: {[str(p) for p in problems]}"
    assert says in found[0].text, str(found[0])
    others = [p for p in problems if p.place != place and not p.text.startswith(("is needed", "needs", "SGD needs"))]
    assert len(others) <= 1, f"one mistake, many messages: {[str(p) for p in problems]}"


def _replace(node: Any, old: str, new: str) -> Any:
    if isinstance(node, dict):
        return {k: _replace(v, old, new) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [_replace(v, old, new) for v in node]
    return node.replace(old + "/", new + "/") if isinstance(node, str) else node


def test_all_mistakes_are_in_one_error(base):
    cfg = copy.deepcopy(base)
    cfg.optim_wrapper.optimizer.lrr = 1
    cfg.default_hooks.checkpoint.intervall = 3
    with pytest.raises(ConfigError, match=r"(?s)2 mistakes.*optimizer\.lrr = 1.*did you mean 'lr'.*intervall = 3"):
        check_config(cfg)


def test_files_can_be_left_out(base):
    cfg = copy.deepcopy(base)
    cfg.train_dataloader.dataset.data_root = "/not/there"
    assert [p.place for p in find_problems(cfg)] == ["train_dataloader.dataset.data_root"]
    assert find_problems(cfg, files=False) == []


def test_third_party_classes():
    """Classes of torch, timm and torchvision, written by people who never heard of this check."""
    import timm
    import torchvision

    model = {"type": timm.models.VisionTransformer, "img_size": 32, "embed_dim": 64, "depth": 2, "num_heads": 2}
    pipeline = [{"type": torchvision.transforms.Resize, "size": 32}]
    cfg = {"model": model, "tta_pipeline": pipeline}
    assert find_problems(cfg) == []
    model["embed_dims"] = 64
    pipeline[0]["siz"] = 1
    model["depth"] = "two"
    found = {p.place: p.text for p in find_problems(cfg)}
    assert set(found) == {"model.embed_dims", "model.depth", "tta_pipeline.0.siz"}
    assert "'embed_dim'" in found["model.embed_dims"]


def test_class_count_of_a_dataset_that_is_built(base):
    """Class lists found in files, such as the folders of an ImageFolder, are compared when the dataset is built."""

    class Built:
        metainfo = {"classes": ["a", "b", "c"]}

    check_class_count(base, Built())
    Built.metainfo = {"classes": ["a", "b"]}
    with pytest.raises(ConfigError, match=r"model\.head\.num_classes = 3\s+Built has 2 classes"):
        check_class_count(base, Built())


def run(*arguments: str, cwd: Path) -> tuple[int, str, float]:
    """Status, output, and seconds: of the clock, or of the processor when others keep the machine busy."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, done.stdout + done.stderr, min(clock, processor)


def test_tool_reports_in_time(tmp_path):
    """As a user sees it: one process. Machines differ, so that the limit is relative to the imports."""
    right = write_base(tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text(right.read_text().replace("interval=1)", "intervall=1)").replace("lr=0.1", "lrr=0.1"))
    tool = str(REPOSITORY / "tools" / "check_config.py")
    status, output, seconds = run(tool, str(wrong), cwd=tmp_path)
    assert status == 2, output
    assert "optim_wrapper.optimizer.lrr = 0.1" in output
    assert "default_hooks.checkpoint.intervall = 1" in output
    assert "Traceback" not in output
    _, _, imports = run("-c", "import vislab.apis.training, albumentations, timm", cwd=tmp_path)
    assert seconds < 2 * imports, f"{seconds:.1f} s, of which the imports take {imports:.1f} s"
    done = run_warm([tool, right], cwd=tmp_path)
    assert (done.returncode, done.stdout.split()[0]) == (0, "OK"), done.stderr


def test_tool_refuses_an_unknown_option(tmp_path):
    right = write_base(tmp_path)
    options = ["--cfg-options", "optim_wrapper.optimizer.lrr=3"]
    done = run_warm([REPOSITORY / "tools/print_config.py", right, *options], cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("error: --cfg-options: optim_wrapper.optimizer.lrr")
    assert "did you mean 'lr'" in done.stderr
