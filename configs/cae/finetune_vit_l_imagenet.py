"""Fine-tuning of a ViT-L/16 pre-trained with CAE on ImageNet at 224x224: 50 epochs.

Command:  python tools/train.py configs/cae/finetune_vit_l_imagenet.py --load-from CHECKPOINT
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; CHECKPOINT of a cae_vit_l_imagenet config
Hardware: published on 32 GPUs with batches of 64 and gradients of two batches accumulated
Expected: not run here; published top-1 accuracy 86.2 after 1600 epochs of pre-training (README of the official code)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.finetune_imagenet import *

model["encoder"].update(dim=1024, depth=24, num_heads=16, init_values=1e-5, drop_path_rate=0.2)
optim_wrapper.update(accumulative_counts=2, paramwise_cfg=dict(layer_decay=0.75))
optim_wrapper["optimizer"].update(lr=2e-3)
param_scheduler = [dict(scheduler, warmup=5 / 50, final_factor=1e-6 / 2e-3)]
train_cfg.update(max_epochs=50)
train_dataloader.update(batch_size=64)  # on each of 32 GPUs, twice a step
