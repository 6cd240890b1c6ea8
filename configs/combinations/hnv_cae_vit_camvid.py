"""CAE of a ViT on crops of the training photos of CamVid, decoded from a .hnv file.

Command:  python tools/train.py configs/combinations/hnv_cae_vit_camvid.py
Data:     python tools/prepare_data.py camvid; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 5 epochs
Result:   not run in this length; docs/combinations.md has the mIoU of short runs with its encoder
"""

from mmengine.config import read_base

with read_base():
    from .cae_vit_camvid import *

source = "camvid_train.hnv"  # vislab hnerv encode $VISLAB_DATA/camvid/train camvid_train.hnv
train_dataloader["dataset"]["dataset"].update(source=source)
