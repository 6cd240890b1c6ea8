"""Small ViT for images of 32x32: patches of 4, 7 layers, 12 heads, width 384, MLP ratio 1, 10 classes."""

from vislab.losses import CrossEntropy
from vislab.models.classifier import ImageClassifier

model = dict(
    type=ImageClassifier,
    name="vit_small_patch16_224",
    num_classes=10,
    img_size=32,
    model_args=dict(patch_size=4, depth=7, num_heads=12, embed_dim=384, mlp_ratio=1),
    loss=dict(type=CrossEntropy, label_smoothing=0.1),
)
