"""Test the steps of Albu: errors for unknown steps and steps that contradict the encoding of labels."""

import albumentations
import pytest

from vislab.datasets.transforms import Albu
from vislab.datasets.transforms.albu_steps import build_step
from vislab.errors import ConfigError


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "HorizontalFlop"}, "HorizontalFlop.*did you mean 'HorizontalFlip'"),
        ({"p": 1}, "transforms\\[0\\].name=None"),
        ({"name": "Affine", "rotat": 3}, "rotat=3.*did you mean 'rotate'"),
        ({"name": "OneOf", "transforms": [{"name": "GaussianBlurr"}]}, "transforms\\[0\\].transforms\\[0\\]"),
        ({"name": "RandomCrop", "height": -3, "width": 10}, "RandomCrop.*cannot be built"),
    ],
)
def test_mistakes_are_refused_when_it_is_built(step, message):
    with pytest.raises(ConfigError, match=message):
        Albu(transforms=[step])


AFFINE = {"name": "Affine", "rotate": (30, 30), "p": 1}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "Normalize"}, r"transforms\[0\] \(Normalize\).*data_preprocessor normalizes"),
        ({"name": "OneOf", "transforms": [{"name": "ToFloat"}]}, r"transforms\[0\].transforms\[0\] \(ToFloat\)"),
        ({"name": "OneOrOther", "first": AFFINE, "second": {"name": "Normalize"}}, r"second \(Normalize\)"),
        ({"name": "ToTensorV2"}, "PackInputs creates the tensor"),
        ({**AFFINE, "fill_mask": 7}, "fill_mask=7: uncovered pixels become 255"),
        ({"name": "PixelDropout", "mask_drop_value": 1}, "mask_drop_value=1"),
        ({**AFFINE, "mask_interpolation": 1}, "mask_interpolation=1.*nearest"),
        ({"name": "Compose", "transforms": [AFFINE], "mask_interpolation": 1}, "takes only transforms and p"),
        ({"name": "ToGray", "num_output_channels": 1}, "num_output_channels=1: images have three channels"),
        ({"name": "Mosaic"}, "needs mosaic_metadata in addition to the image"),
        ({"name": "MaskDropout"}, "needs mask in addition to the image"),
        ({"name": "CubicSymmetry"}, "transforms volumes only"),
        ({"name": "SelectiveChannelTransform", "transforms": [AFFINE]}, "cannot contain Affine"),
        ({"name": "ImageOnlyTransform"}, "abstract base class"),
        ({"name": "OneOf", "transforms": "Affine"}, "expected a list of dicts"),
    ],
)
def test_what_contradicts_the_coding_is_refused(step, message):
    with pytest.raises(ConfigError, match=message):
        Albu(transforms=[step])


def test_fills_that_mean_unknown_become_zero():
    """On the way 0 stands for "unknown" in every kind of label, whichever of the two was written."""
    for key, step in (
        ("fill_mask", {"name": "PadIfNeeded", "min_height": 9, "min_width": 9}),
        ("mask_drop_value", {"name": "PixelDropout"}),
    ):
        for written in (0, 255, 0.0, 255.0):
            assert getattr(build_step(albumentations, step | {key: written}, "t[0]"), key) == 0
    assert build_step(albumentations, AFFINE | {"fill_mask": (255, 0, 255)}, "t[0]").fill_mask == 0
    for wrong in (1, [0, 7], "255", [255, "0"]):
        with pytest.raises(ConfigError, match=r"t\[0\].fill_mask="):
            build_step(albumentations, AFFINE | {"fill_mask": wrong}, "t[0]")


def test_parts_are_built_with_their_arguments():
    inner = [{"name": "HorizontalFlip", "p": 0.25}, {"name": "OneOf", "transforms": [AFFINE], "p": 0.75}]
    built = build_step(albumentations, {"name": "Compose", "transforms": inner, "p": 0.5}, "t[0]")
    flip, choice = built.transforms
    assert isinstance(built, albumentations.Compose) and built.p == 0.5 and choice.p == 0.75
    assert isinstance(flip, albumentations.HorizontalFlip) and flip.p == 0.25
    assert isinstance(choice.transforms[0], albumentations.Affine) and choice.transforms[0].rotate == (30, 30)
    assert AFFINE == {"name": "Affine", "rotate": (30, 30), "p": 1}  # what was given is left as it was


def test_names_that_no_transform_has():
    for name in (None, 7, "Compose.Compose", "np", "DualTransform"):
        with pytest.raises(ConfigError, match=r"t\[3\]"):
            build_step(albumentations, {"name": name}, "t[3]")
