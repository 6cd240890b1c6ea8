"""CAE of a ViT with patches of 8 pixels on crops of the 90 training photos of CamVid, without labels.

The encoder of the cae_* configs in this folder:

Command:  python tools/train.py configs/combinations/cae_vit_camvid.py
          python tools/export_encoder.py configs/combinations/cae_vit_camvid.py \
              work_dirs/cae_vit_camvid/epoch_5.pth cae_vit_camvid.safetensors
Data:     python tools/prepare_data.py camvid; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 5 epochs
Result:   not run in this length; docs/combinations.md has the mIoU of short runs with its encoder
"""

from mmengine.config import read_base
from mmengine.dataset import RepeatDataset

from vislab.datasets.video_frames import VideoFrames

with read_base():
    from ..cae._base_.cifar10_subset import *

size, patch = 64, 8
source = "$VISLAB_DATA/camvid/train"  # a folder of images, or a video
model["encoder"].update(img_size=size, patch_size=patch, depth=6, patch_std=0.15)
mask.update(num_masked=(size // patch) ** 2 // 2, patch_size=patch)
end = [mask, dict(type=PackInputs)]
crop = [dict(type=LoadImage), dict(type=RandomResizedCrop, size=size, scale=(0.05, 1.0))]
frames = dict(type=VideoFrames, source=source, pipeline=[*crop, dict(type=RandomFlip, prob=0.5), *end])
train_dataloader["dataset"] = dict(type=RepeatDataset, times=64, dataset=frames)
val_dataloader["dataset"] = dict(type=VideoFrames, source="$VISLAB_DATA/camvid/val", pipeline=[*crop, *end])
train_cfg.update(max_epochs=5, val_interval=5)
