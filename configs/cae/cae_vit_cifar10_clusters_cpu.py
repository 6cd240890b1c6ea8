"""CAE on a subset of CIFAR-10 with clusters of a moving teacher's latents: 15 epochs.

Command:  python tools/train.py configs/cae/cae_vit_cifar10_clusters_cpu.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 2 CPU cores
Result:   at the cost of one epoch (benchmarks/cae_probe.py, seed 0):
          loss 4.76 (equal shares: 5.55), linear accuracy 45.8 %, k-NN 31.8 %
"""

from mmengine.config import read_base

from vislab.systems.cae import ClusterTarget, InverseBlockMask, TeacherDecayHook

with read_base():
    from ._base_.cifar10_subset import *

model.update(
    target=dict(type=ClusterTarget, num_clusters=256),
    ema_decay=0.999,
    target_context="full",
    alignment_weight=0.0,
)
# 65 % masked, a third of them predicted
mask = dict(type=InverseBlockMask, num_masked=42, patch_size=4, num_predicted=14)
train_dataloader["dataset"]["pipeline"][3] = mask
val_dataloader["dataset"]["pipeline"][3] = mask
optim_wrapper["paramwise_cfg"].update(lr_mult={"target.prototypes": 0.5})
custom_hooks = [*custom_hooks, dict(type=TeacherDecayHook)]
