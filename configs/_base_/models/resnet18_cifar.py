"""ResNet-18 for images of 32x32: a 3x3 stem without pooling, 10 classes."""

from vislab.models.classifier import ImageClassifier

model = dict(
    type=ImageClassifier,
    name="resnet18",
    num_classes=10,
    stem="cifar",
    model_args=dict(zero_init_last=False),
)
