"""timesNet with EfficientNet-Lite0 as encoder and decoder, pre-trained on ImageNet, on CamVid (11 classes) at 240x320.

Command:  python tools/train.py configs/timesnet/timesnet_lite0_lite0_camvid.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA is the data folder,
          or --cfg-options data_root=/path/to/camvid weights=/path/to/lite0.safetensors
Hardware: 2 CPU cores, 400 iterations
Result:   not run to the end; 150 steps at 96x128 (benchmarks/timesnet_decoder.py, three seeds) gave
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
# chosen by benchmarks/timesnet_decoder.py on held-out training images, as that of the FPN baseline
optim_wrapper["optimizer"].update(lr=1e-3)
default_hooks["checkpoint"].update(save_best="mIoU", rule="greater")
