"""dota8: 8 tiles of DOTA of 1024x1024 with rotated boxes, 4 for training and 4 for validation, 15 classes."""

from vislab.datasets.corner_text import CornerText
from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs, RandomFlip, Resize

data_root = "$VISLAB_DATA/dota8"
classes = (
    *("plane", "ship", "storage-tank", "baseball-diamond", "tennis-court", "basketball-court", "ground-track-field"),
    *("harbor", "bridge", "large-vehicle", "small-vehicle", "helicopter", "roundabout", "soccer-ball-field"),
    *("swimming-pool",),
)
size = (512, 512)

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_rbbox=True),
    dict(type=Resize, size=size),
    dict(type=RandomFlip, prob=0.75, direction=("horizontal", "vertical", "diagonal")),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_rbbox=True),
    dict(type=Resize, size=size),
    dict(type=PackInputs),
]
train_set = dict(
    type=CornerText,
    data_root=data_root,
    images="images/train/*.jpg",
    labels="labels/train/*.txt",
    classes=classes,
    pipeline=train_pipeline,
)
val_set = dict(
    type=CornerText,
    data_root=data_root,
    images="images/val/*.jpg",
    labels="labels/val/*.txt",
    classes=classes,
    pipeline=test_pipeline,
    test_mode=True,
)
