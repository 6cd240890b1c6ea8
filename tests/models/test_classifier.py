"""Test the classifier: common model tests, stems, targets, mixup, weights from files, depths for layer decay."""

import numpy as np
import pytest
import torch
from mmengine.structures import LabelData

from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.models.classifier import ImageClassifier
from vislab.structures import DataSample

RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16], "zero_init_last": False}
VIT = {"patch_size": 4, "depth": 2, "num_heads": 2, "embed_dim": 16}


def labeled(*labels: int) -> list[DataSample]:
    return [DataSample(gt_label=LabelData(label=torch.tensor([label]))) for label in labels]


class TestResNet(ModelBehavior):
    def build(self):
        return ImageClassifier(name="resnet18", num_classes=10, stem="cifar", model_args=RESNET)

    def inputs(self, count):
        return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def samples(self, count):
        return labeled(*range(count))


class TestViT(TestResNet):
    def build(self):
        return ImageClassifier(name="vit_small_patch16_224", num_classes=10, img_size=32, model_args=VIT)


def test_the_models_of_the_paper():
    resnet = ImageClassifier(name="resnet18", num_classes=10, stem="cifar").network
    assert resnet.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)  # strides 1, 1, 2, 2, 2
    assert sum(p.numel() for p in resnet.parameters()) == 11_173_962
    args = {"patch_size": 4, "depth": 7, "num_heads": 12, "embed_dim": 384, "mlp_ratio": 1}
    vit = ImageClassifier(name="vit_small_patch16_224", num_classes=10, img_size=32, model_args=args).network
    assert sum(p.numel() for p in vit.parameters()) == 6_268_810
    assert vit.patch_embed.num_patches == 64


def test_predictions_and_losses_have_a_meaning():
    model = TestResNet().make().eval()
    inputs = TestResNet().inputs(4)
    logits = model(inputs)["logits"]
    labels = logits.argmax(dim=1)
    wrong = (labels + 1) % 10
    (sample, *_) = model(inputs, labeled(*labels), mode="predict")
    assert sample.pred_label.label == labels[0] and sample.pred_label.score.sum().item() == pytest.approx(1)
    losses = model(inputs, labeled(labels[0], labels[1], labels[2], wrong[3]), mode="loss")
    assert losses["accuracy"] == 75
    assert model.parse_losses(losses)[0] == losses["loss"]  # accuracy is shown, not trained


def test_mixup_mixes_in_training_only():
    torch.manual_seed(0)
    model = ImageClassifier(
        name="resnet18", num_classes=10, stem="cifar", model_args=RESNET, mixup={"mixup_alpha": 1.0}
    )
    inputs, seen = TestResNet().inputs(4), []
    before = inputs.clone()
    model.network.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    np.random.seed(0)
    assert "accuracy" not in model.train()(inputs, labeled(1, 2, 3, 4), mode="loss")
    assert not torch.equal(seen[0], before) and torch.equal(inputs, before)
    assert "accuracy" in model.eval()(inputs, labeled(1, 2, 3, 4), mode="loss")
    assert torch.equal(seen[1], before)
    with pytest.raises(ConfigError, match="even batch_size"):
        model.train()(inputs[:3], labeled(1, 2, 3), mode="loss")


def test_weights_from_a_file_keep_a_head_of_other_classes_random(tmp_path):
    torch.manual_seed(0)
    source = ImageClassifier(name="resnet18", num_classes=10, stem="cifar", model_args=RESNET)
    path = tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    args = {"name": "resnet18", "stem": "cifar", "model_args": RESNET, "pretrained": str(path)}
    same, other = ImageClassifier(num_classes=10, **args), ImageClassifier(num_classes=7, **args)
    assert torch.equal(same.network.fc.weight, source.network.fc.weight)
    assert torch.equal(other.network.conv1.weight, source.network.conv1.weight)
    assert other.network.fc.weight.shape == (7, 16)
    with pytest.raises(CheckpointError, match="shapes differ: conv1.weight"):
        ImageClassifier(num_classes=10, **{**args, "stem": "timm"})


def test_depths_for_layer_decay():
    for model, last in ((TestResNet().build(), 4), (TestViT().build(), 2)):
        ids, names = model.layer_ids(), dict(model.named_parameters())
        assert set(ids) <= set(names) and min(ids.values()) == 0 and max(ids.values()) >= last
        left_out = set(names) - set(ids)
        assert left_out == {f"network.{n}" for n in ("fc.weight", "fc.bias", "head.weight", "head.bias")} & set(names)
    assert "network.pos_embed" in TestViT().build().no_weight_decay()


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="ImageClassifier.*'resnt18'.*nearest: resnet18"):
        ImageClassifier(name="resnt18", num_classes=2)
    with pytest.raises(ConfigError, match="single first convolution, not 'vit"):
        ImageClassifier(name="vit_tiny_patch16_224", num_classes=2, stem="cifar")
    with pytest.raises(ConfigError, match="mixup_alhpa"):
        ImageClassifier(name="resnet18", num_classes=2, mixup={"mixup_alhpa": 1})
    model = TestResNet().build()
    with pytest.raises(DataError, match="gt_label"):
        model(torch.zeros(1, 3, 32, 32), [DataSample()], mode="loss")
    with pytest.raises(DataError, match=r"10\.\.10, expected 0\.\.9"):
        model(torch.zeros(1, 3, 32, 32), labeled(10), mode="loss")
