"""20,000 + 5,000 images of CIFAR-10 out of their zip, held decoded in memory; shifts and flips on whole batches."""

from mmengine.config import read_base

from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.models.batch_augment import RandomShiftFlip
from vislab.models.preprocessor import ImagePreprocessor

with read_base():
    from .classification import *

data_root = "$VISLAB_DATA/cifar10_subset.zip"
pipeline = [dict(type=LoadImage), dict(type=PackInputs)]
data_preprocessor = dict(
    type=ImagePreprocessor,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    batch_augment=dict(type=RandomShiftFlip, padding=4),
)
folder = dict(type=ImageFolder, data_root=data_root, cache=True, pipeline=pipeline)
train_dataloader.update(dataset=dict(**folder, split="cifar10/train"))
val_dataloader.update(dataset=dict(**folder, split="cifar10/test", test_mode=True))
test_dataloader.update(dataset=dict(**folder, split="cifar10/test", test_mode=True))
