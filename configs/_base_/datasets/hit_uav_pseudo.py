"""Images of HIT-UAV with the pseudo labels of tools/pseudo_labels.py, at 256x320; validation on 50 of them.

The metric shows how well the plain detector finds the pseudo boxes and their clusters; it is not an accuracy.
"""

from vislab.datasets.transforms import LoadImage, PackInputs, RandomFlip, Resize
from vislab.evaluation.rotated_map import RotatedMAP
from vislab.systems.mutdet import PseudoBoxes

data_root = "$VISLAB_DATA/hit_uav/train"
pseudo_labels = "pseudo/hit_uav/pseudo_labels.safetensors"
size = (256, 320)

train_pipeline = [
    dict(type=LoadImage),
    dict(type=Resize, size=size, keep_ratio=True),
    dict(type=RandomFlip, prob=0.75, direction=("horizontal", "vertical", "diagonal")),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=Resize, size=size, keep_ratio=True),
    dict(type=PackInputs),
]
source = dict(type=PseudoBoxes, data_root=data_root, pseudo_labels=pseudo_labels)
train_set = dict(source, pipeline=train_pipeline)
val_set = dict(source, indices=50, pipeline=test_pipeline, test_mode=True)
val_evaluator = dict(type=RotatedMAP, forms=("11point",))
