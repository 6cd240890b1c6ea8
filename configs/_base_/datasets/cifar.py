"""Pipeline and metric of the CIFAR datasets. Shifts by up to 4 pixels and flips are applied to whole batches."""

from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.evaluation.classification import Accuracy
from vislab.models.batch_augment import RandomShiftFlip
from vislab.models.preprocessor import ImagePreprocessor

pipeline = [dict(type=LoadImage), dict(type=PackInputs)]
data_preprocessor = dict(
    type=ImagePreprocessor,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    batch_augment=dict(type=RandomShiftFlip, padding=4),
)
val_evaluator = dict(type=Accuracy, topk=(1, 5))
