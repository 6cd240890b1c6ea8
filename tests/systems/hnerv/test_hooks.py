"""Test the image of original, reconstruction and difference."""

import numpy as np
import torch

from vislab.systems.hnerv.hooks import draw_row


def test_a_row_holds_three_pictures_below_a_caption():
    frame = torch.zeros(3, 10, 200, dtype=torch.uint8)
    frame[0] = 100
    image = torch.zeros(3, 10, 200)
    image[0], image[1] = 110 / 255, 0.2
    row = draw_row(frame, image, number=7, gain=4)
    assert row.shape == (30, 600, 3) and row.dtype == np.uint8
    assert (row[20:, :200] == (100, 0, 0)).all() and (row[20:, 200:400] == (110, 51, 0)).all()
    assert (row[20:, 400:] == (40, 204, 0)).all()  # four times the difference
    for part in (row[:20, :200], row[:20, 200:400], row[:20, 400:]):
        assert part.min() < 100 and (part == 255).mean() > 0.5  # something is written on white


def test_large_differences_are_cut_at_white():
    row = draw_row(torch.zeros(3, 4, 200, dtype=torch.uint8), torch.full((3, 4, 200), 0.5), number=0, gain=4)
    assert (row[20:, 400:] == 255).all()
