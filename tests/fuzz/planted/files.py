"""Mistakes in typing and writing: words of `--cfg-options`, and config files themselves."""

from tests.fuzz.planted.edits import (
    DEPTH,
    HNERV,
    PANOPTIC,
    PLAIN,
    PYRAMID,
    SCENES,
    SEGMENTS,
    SEMANTIC,
    TRACT,
    VIT,
    File,
    case,
    options,
)

LR = "optim_wrapper.optimizer.lr"

OPTIONS = [
    case(HNERV, options("optim_wrapper.optimizer.lrr=0.1"), "unknown argument", "lrr"),
    case(HNERV, options("optimizer.lr=0.1"), "the section is left out", "optim_wrapper.optimizer.lr"),
    case(HNERV, options("max_epochs=3"), "the section is left out", "train_cfg.max_epochs"),
    case(HNERV, options("train_cfg.max_epochs"), "no value", "train_cfg.max_epochs"),
    case(HNERV, options("=3"), "no key", "=3"),
    case(DEPTH, options("train_cfg.max_iters=2_0O"), "a letter in a number", "max_iters"),
    case(DEPTH, options("data_rot=/tmp"), "misspelled variable", "data_rot"),
    case(DEPTH, options(f"{LR}=0,1"), "a comma for the decimal point", "lr"),
    case(SEGMENTS, options("train_pipeline.9.prob=1"), "beyond the list", "train_pipeline"),
    case(SEGMENTS, options("train_pipeline.prob=1"), "a list has no names", "train_pipeline"),
    case(SEGMENTS, options("model.num_classes.x=3"), "below a number", "num_classes"),
    case(SEGMENTS, options("train_dataloader.batch_size='4'"), "quoted number", "batch_size"),
    case(PYRAMID, options("size=[240,320"), "bracket not closed", "size"),
    case(PYRAMID, options("model.network.width=wide"), "text for a number", "width"),
    case(PANOPTIC, options("model.inference.tasks=[panoptc]"), "misspelled choice in a list", "panoptc"),
    case(PANOPTIC, options("model.decoder.num_layer=3"), "in a dict without type", "num_layer"),
    case(SEMANTIC, options("custom_hooks.1.weights=[1,2]"), "beyond the list", "custom_hooks"),
    case(SCENES, options("model.backbone.pretrained=flase"), "misspelled flag", "flase"),
    case(TRACT, options("custom_hooks.1.lam=0.1.2"), "two points", "lam"),
    case(TRACT, options("optim_wrapper.optimizer.nesterov=1"), "number for a flag", "nesterov"),
    case(VIT, options("default_hooks.checkpoint.interval=none"), "None for a number", "interval"),
    case(VIT, options("model.loss.type=CrossEntropyLoss"), "torch's class", "CrossEntropyLoss"),
    case(PLAIN, options("randomness.sed=3"), "misspelled argument of a section", "sed"),
    case(PLAIN, options("train_dataloader.dataset.split="), "empty value", "split"),
]

OLD = """
_base_ = ["../_base_/default_runtime.py"]
model = dict(type="MaskFormer")
"""
MMSEG = """
from mmengine.config import read_base

with read_base():
    from .{name} import *

train_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackSegInputs")]
train_dataloader["dataset"]["pipeline"] = train_pipeline
"""

FILES = [
    case(HNERV, File("train_cfg = dict(max_epochs=3\n"), "bracket not closed", "line"),
    case(HNERV, File("train_cfg.update(max_epochs=epochs)\n"), "name without a value", "epochs"),
    case(HNERV, File("import os\nwork_dir = os.getcwd()\n"), "standard library", "os"),
    case(HNERV, File("def lr():\n    return 0.1\n"), "a function", "line"),
    case(DEPTH, File("from torch.optim import AdamWW\noptim_wrapper['optimizer'].update(type=AdamWW)\n"), "no class",
         "AdamWW"),
    case(DEPTH, File("from vislab.system.timesnet import TimesNet\nmodel = dict(type=TimesNet)\n"), "no such module",
         "vislab.system"),
    case(DEPTH, File("model['network']['widht'] = 3\n"), "misspelled argument", "widht"),
    case(SEGMENTS, File("optim_wraper = dict(clip_grad=None)\n"), "misspelled section", "optim_wraper"),
    case(SEGMENTS, File("train_pipeline = []\n"), "a variable that the base has read already", "train_pipeline"),
    case(SEGMENTS, File("model.network.widht = 3\n"), "attribute of a dict", "widht"),
    case(SEGMENTS, File("with open('x') as f:\n    pass\n"), "another `with`", "read_base"),
    case(PYRAMID, File("from .fpn_lite0_camvid import *\n"), "a base outside read_base()", "read_base"),
    case(PYRAMID, File("from torch.optim import *\n"), "import of everything", "import"),
    case(PANOPTIC, File("if True:\n    import torch\n"), "import inside a statement", "import"),
    case(PANOPTIC, File("from torch.optim import SGD\noptim_wrapper = SGD(lr=0.1)\n"), "a call of a class", "line"),
    case(SEMANTIC, File("train_cfg.update(max_iters='many')\n"), "text for a number", "max_iters"),
    case(SEMANTIC, File("model.update(decoder=dict(**widths, layers=3))\n"), "misspelled, from variables", "layers"),
    case(SCENES, File("custom_imports = dict(imports=['my.hooks'])\n"), "of old configs", "custom_imports"),
    case(SCENES, File(OLD, whole=True), "old style", "read_base"),
    case(TRACT, File("_delete_ = True\n"), "of old configs", "_delete_"),
    case(TRACT, File("model.update(_delete_=True)\n"), "of old configs, inside", "_delete_"),
    case(TRACT, File("model = dict(type='mmpretrain.ImageClassifier')\n"), "a class of mmpretrain", "mmpretrain"),
    case(VIT, File("custom_hooks += [dict(type='EMAHok')]\n"), "misspelled class", "EMAHok"),
    case(VIT, File("lr = {{_base_.lr}}\noptim_wrapper['optimizer'].update(lr=lr)\n"), "of old configs", "line"),
    case(VIT, File("train_cfg.max_epochs = 3 if 1 else 1 / 0\nx = 1 / 0\n"), "division by zero", "line"),
    case(PLAIN, File("train_cfg = dict()\n", name="planted.yaml"), "not a .py file", ".py"),
    case(PLAIN, File("", whole=True), "an empty file", "model"),
    case(PLAIN, File("\0\0\0", whole=True), "not a text", "planted.py"),
    case(PLAIN, File("train_dataloader.batchsize = 4\n"), "attribute of a dict", "batchsize"),
    case(PYRAMID, File("from mmengine.config import read_base\nwith read_base():\n    from .fpn_lite0_camvi import *\n",
                       whole=True), "no such base", "fpn_lite0_camvid"),
    case(SEGMENTS, File(MMSEG.format(name="timesnet_lite0_lite0_camvid"), whole=True), "classes of mmseg",
         "LoadImageFromFile"),
]  # fmt: skip
