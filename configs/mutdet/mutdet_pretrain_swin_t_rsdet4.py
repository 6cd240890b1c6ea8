"""Pre-training of MutDet with Swin-T on four aerial sets without labels (DOTA, DIOR, FAIR1M, HRRSD), at 1024x1024.

Command:  python tools/train.py configs/mutdet/mutdet_pretrain_swin_t_rsdet4.py --launcher pytorch
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Data:     the images of the four sets below data/RSDet4, then
          python tools/pseudo_labels.py data/RSDet4 --out pseudo/rsdet4 --masks FOLDER
Hardware: published on 4 GPUs, 8 images per iteration, 36 epochs
Expected: not run here; no AP after fine-tuning of this model was found
"""

from mmengine.config import read_base

from vislab.systems.mutdet import MutDet

with read_base():
    from .._base_.datasets.dota_pseudo import *
    from ._base_.swin_t import *

model.update(
    type=MutDet,
    num_classes=256,
    num_queries=400,
    enhancement=dict(depth=3, num_heads=8, hidden_dim=2048, embed_dim=1024),
)
model["backbone"].update(frozen_stages=-1)
source = dict(data_root="data/RSDet4", pseudo_labels="pseudo/rsdet4/pseudo_labels.safetensors")
train_dataloader.update(dataset=dict(train_set, **source))
val_dataloader.update(dataset=dict(val_set, **source))
