"""HIT-UAV, 4 classes with rotated boxes: thermal aerial images of 512x640, as many as the files list."""

from vislab.datasets.hit_uav import HITUAV
from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs, RandomFlip, Resize

data_root = "$VISLAB_DATA/hit_uav"
size = (256, 320)

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_rbbox=True),
    dict(type=Resize, size=size, keep_ratio=True),
    dict(type=RandomFlip, prob=0.75, direction=("horizontal", "vertical", "diagonal")),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_rbbox=True),
    dict(type=Resize, size=size, keep_ratio=True),
    dict(type=PackInputs),
]
train_set = dict(
    type=HITUAV,
    data_root=data_root,
    ann_file="annotations/train.json",
    data_prefix=dict(img="train"),
    filter_empty=True,
    pipeline=train_pipeline,
)
val_set = dict(
    type=HITUAV,
    data_root=data_root,
    ann_file="annotations/val.json",
    data_prefix=dict(img="val"),
    pipeline=test_pipeline,
    test_mode=True,
)
