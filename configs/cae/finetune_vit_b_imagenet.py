"""Fine-tuning of a ViT-B/16 pre-trained with CAE on ImageNet at 224x224: 100 epochs.

Command:  python tools/train.py configs/cae/finetune_vit_b_imagenet.py --load-from CHECKPOINT
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; CHECKPOINT of a cae_vit_b_imagenet config
Hardware: published on 32 GPUs with batches of 128
Expected: not run here; published top-1 accuracy 83.6, 83.8, 83.9 after 300, 800, 1600 epochs of pre-training
          (README of the official code)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.finetune_imagenet import *

model["encoder"].update(dim=768, depth=12, num_heads=12, init_values=0.1, drop_path_rate=0.1)
param_scheduler = [dict(scheduler, warmup=5 / 100, final_factor=1e-6 / 8e-3)]
train_cfg.update(max_epochs=100)
train_dataloader.update(batch_size=128)  # on each of 32 GPUs
