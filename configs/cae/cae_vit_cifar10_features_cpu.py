"""CAE v2 on a subset of CIFAR-10 with the features of EfficientNet-Lite0, trained on ImageNet: 15 epochs.

The teacher sees the images at 128x128, where its third stage has 8x8 places, as the patches.

Command:  python tools/train.py configs/cae/cae_vit_cifar10_features_cpu.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10 weights, VISLAB_DATA is the data
          folder
Hardware: 2 CPU cores
Result:   at the cost of one epoch (benchmarks/cae_probe.py, seed 0):
          loss 0.49 (it starts at 1), linear accuracy 52.5 %, k-NN 40.5 %
"""

from mmengine.config import read_base

from vislab.systems.cae import FeatureTarget

with read_base():
    from ._base_.cifar10_subset import *

teacher_weights = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
teacher = dict(teacher="tf_efficientnet_lite0", pretrained=teacher_weights, img_size=4 * size, out_index=3)
model.update(
    target=dict(type=FeatureTarget, **teacher),
    decoder=dict(type=LatentDecoder, depth=0),
    alignment_weight=0.0,
)
