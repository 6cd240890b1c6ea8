"""EfficientNet-Lite0 x EfficientNet-Lite0, 11 classes of road scenes at 240x320, ImageNet weights on both sides.

Command:  python tools/train.py configs/timesnet/timesnet_lite0_lite0_camvid.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA names the folder,
          or --cfg-options data_root=/path/to/camvid weights=/path/to/lite0.safetensors
Hardware: 2 CPU cores, 400 iterations
Result:   not run to the end; a short form (benchmarks/timesnet_decoder.py: 150 steps at 96x128, three seeds) gave
          mIoU 41.8 +- 1.7
"""

from mmengine.config import read_base

from vislab.models.dense import SemanticSegmentor

with read_base():
    from .._base_.datasets.camvid import *
    from ._base_.lite0 import *

model.update(type=SemanticSegmentor, num_classes=11)
model["network"].update(head="bilinear")
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
# chosen by benchmarks/timesnet_decoder.py on held-out training images, in the same way as its control's
optim_wrapper["optimizer"].update(lr=1e-3)
default_hooks["checkpoint"].update(save_best="mIoU", rule="greater")
