"""Pre-training of MutDet with ResNet-50 on DOTA-v1.0 without labels, in tiles of 800x800, at 1024x1024.

Command:  python tools/train.py configs/mutdet/mutdet_pretrain_r50_dota.py --launcher pytorch
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Data:     tiles of 800x800 with an overlap of 200 by tools/dataset_converters/dota_tiles.py in data/DOTA_800, then
          python tools/pseudo_labels.py data/DOTA_800/train/images --out pseudo/dota --masks FOLDER
          with SAM's masks as published; without --masks, boxes are found by contours
Hardware: published on 4 GPUs, 8 images per iteration, 36 epochs
Expected: not run here; see mutdet_finetune_r50_dior_r.py for the published AP after fine-tuning
"""

from mmengine.config import read_base

with read_base():
    from ._base_.pretraining import *
