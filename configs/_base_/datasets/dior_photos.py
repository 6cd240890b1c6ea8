"""80 photographs of DIOR of 800x800, 60 for training and 20 for validation: horizontal boxes of 4 of the 20 classes.

The other classes are not labeled, so that results cannot be compared with those on DIOR.
"""

from vislab.datasets.corner_text import CornerText
from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs, RandomFlip, Resize

data_root = "$VISLAB_DATA/dior_photos"
classes = ("vehicle", "harbor", "groundtrackfield", "golffield")
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
