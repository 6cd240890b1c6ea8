"""ADE20K panoptic, 100 thing and 50 stuff classes: crops of 640x640, short side 640 in testing."""

from vislab.datasets.coco import CocoDataset
from vislab.datasets.transforms import (
    PhotoMetricDistortion,
    LoadAnnotations,
    LoadImage,
    LoadPanoptic,
    PackInputs,
    Pad,
    PanopticToInstances,
    PanopticToSemSeg,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
)
from vislab.evaluation.coco import CocoMetric
from vislab.evaluation.panoptic import PanopticMetric
from vislab.evaluation.semantic import SemSegMetric

data_root = "data/ADEChallengeData2016"
size = (640, 640)  # of crops; the long side of images is at most 4 * size[0]
shorts = [size[0] * tenths // 10 for tenths in range(5, 21)]  # short sides in training, one sampled per image

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadPanoptic),
    dict(type=ResizeShortestEdge, short_edge_length=shorts, max_size=4 * size[0]),
    dict(type=RandomCrop, size=size),
    dict(type=PhotoMetricDistortion),
    dict(type=RandomFlip, prob=0.5),
    dict(type=Pad, size=size, pad_value=(128, 128, 128)),
    dict(type=PanopticToInstances),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=size[0], max_size=4 * size[0]),
    dict(type=LoadPanoptic),
    dict(type=PanopticToSemSeg),
    dict(type=LoadAnnotations, with_mask=True),
    dict(type=PackInputs),
]
train_set = dict(
    type=CocoDataset,
    data_root=data_root,
    ann_file="ade20k_panoptic_train.json",
    data_prefix=dict(img="images/training", panoptic="ade20k_panoptic_train"),
    pipeline=train_pipeline,
)
val_set = dict(
    type=CocoDataset,
    data_root=data_root,
    ann_file="ade20k_panoptic_val.json",
    instances_file="ade20k_instance_val.json",
    data_prefix=dict(img="images/validation", panoptic="ade20k_panoptic_val"),
    pipeline=test_pipeline,
    test_mode=True,
)
val_evaluator = [dict(type=PanopticMetric), dict(type=SemSegMetric), dict(type=CocoMetric, iou_types=("segm",))]
