"""Test the drawn reconstructions: what a row shows, when a sheet is written, which models are refused."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.cae import images, samples, small_cae
from vislab.errors import ConfigError
from vislab.structures import DataSample
from vislab.systems.cae import HogTarget, NormPixelTarget, PixelTarget, ReconstructionHook
from vislab.systems.cae.hooks import draw_row


def test_a_row_shows_input_masked_input_and_reconstruction():
    image = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[1, 2] = True
    sample = DataSample(patch_mask=mask, pred_image=torch.full((3, 12, 20), 0.2))
    (_, first), (share, second), (title, third) = draw_row(image, sample, "normalized pixels")
    assert (share, title) == ("7% masked", "from normalized pixels")
    assert first.shape == (192, 320, 3)  # 16 times
    assert (first[::16, ::16] == image).all() and (third == 51).all()
    expected = image.copy()
    expected[4:8, 8:12] = 128
    assert (second[::16, ::16] == expected).all()


def run(hook: ReconstructionHook, runner: SimpleNamespace, batches: int = 2) -> None:
    hook.before_val_epoch(runner)
    model = runner.model.eval()
    for i in range(batches):
        inputs = [(127 + 50 * x).clamp(0, 255).byte() for x in images(3)]
        with torch.no_grad():
            outputs = model(images(3), samples(3), mode="predict")
        hook.after_val_iter(runner, i, {"inputs": inputs}, outputs)
    hook.after_val_epoch(runner, {})


def make_runner(tmp_path, **settings) -> SimpleNamespace:
    drawn = []
    visualizer = SimpleNamespace(add_image=lambda name, image, step: drawn.append((name, image, step)), drawn=drawn)
    return SimpleNamespace(
        model=small_cae(**settings), work_dir=str(tmp_path), visualizer=visualizer, iter=7, _train_loop=object()
    )


def test_the_first_images_of_every_kth_validation(tmp_path):
    runner, hook = make_runner(tmp_path), ReconstructionHook(number=4, columns=2, interval=2)
    hook.before_train(runner)
    for _ in range(3):
        run(hook, runner)
    assert [(name, step) for name, _, step in runner.visualizer.drawn] == [("reconstructions", 7)] * 2
    sheet = runner.visualizer.drawn[0][1]
    assert sheet.shape == (2 * 212 + 4, 6 * 320 + 5 * 4, 3)
    assert (cv2.imread(str(tmp_path / "reconstructions.png"))[..., ::-1] == sheet).all()
    other = ReconstructionHook(interval=2)
    other.load_state_dict(hook.state_dict())
    run(other, runner)
    assert len(runner.visualizer.drawn) == 2  # the fourth validation


def test_visible_patches_are_those_of_the_input():
    picture = torch.randint(0, 256, (3, 12, 20), dtype=torch.uint8)
    with torch.no_grad():
        batch = {"inputs": [picture], "data_samples": samples(1)}
        (sample,) = small_cae(target=PixelTarget()).eval().test_step(batch)
    (_, first), (_, second), (_, third) = draw_row(picture.permute(1, 2, 0).numpy(), sample, "pixels")
    hidden = sample.patch_mask.numpy().repeat(64, axis=0).repeat(64, axis=1)  # patches of 4, 16 times
    assert (np.abs(third[~hidden].astype(int) - first[~hidden]) <= 1).all()
    assert (third[hidden] != first[hidden]).mean() > 0.9 and (second[hidden] == 128).all()


@pytest.mark.parametrize(
    "model, message",
    [
        (lambda: nn.Linear(1, 1), "draws CAE, not Linear"),
        (lambda: small_cae(target=HogTarget(cell_size=4)), "'histograms of oriented gradients' is no picture"),
        (lambda: small_cae(reconstruction_weight=0.0), "leaves nothing to draw"),
    ],
)
def test_models_without_pictures_are_refused_before_training(model, message):
    with pytest.raises(ConfigError, match=message):
        ReconstructionHook().before_train(SimpleNamespace(model=model()))
    assert NormPixelTarget.draw is not PixelTarget.draw
    with pytest.raises(ConfigError, match="at least 1"):
        ReconstructionHook(number=0)
