"""Augmentation of a whole batch: windows of the padded image, mirrored or not; rectangles of noise."""

import random

import torch

from vislab.models.batch_augment import RandomErasing, RandomShiftFlip


def test_shift_and_flip_move_whole_images():
    torch.manual_seed(0)
    image = torch.arange(1, 37.0).view(1, 1, 6, 6)
    batch, passed = RandomShiftFlip(padding=2)(image.repeat(200, 3, 1, 1), ["labels"])
    assert batch.shape == (200, 3, 6, 6) and passed == ["labels"] and batch.is_contiguous()
    padded = torch.nn.functional.pad(image, [2] * 4)
    windows = {
        (y, x, f): padded[0, 0, y : y + 6, x : x + 6].flip(-1) if f else padded[0, 0, y : y + 6, x : x + 6]
        for y in range(5) for x in range(5) for f in range(2)
    }  # fmt: skip
    found = []
    for one in batch:
        assert torch.equal(one[0], one[1]) and torch.equal(one[0], one[2])
        found += [key for key, window in windows.items() if torch.equal(one[0], window)]
    assert len(found) == 200 and len(set(found)) > 40  # 50 ways in all
    still, _ = RandomShiftFlip(padding=0, flip=0.0)(image)
    assert torch.equal(still, image)


def test_one_draw_equals_a_loop_over_images():
    images = torch.rand(20, 3, 5, 7)
    torch.manual_seed(4)
    found, _ = RandomShiftFlip(padding=3, flip=0.5)(images)
    torch.manual_seed(4)
    top, left = torch.randint(7, (2, 20, 1))
    mirrored = torch.rand(20, 1) < 0.5
    assert 0 < mirrored.sum() < 20
    for i, image in enumerate(images):
        padded = torch.zeros(3, 11, 13)
        padded[:, 3:8, 3:10] = image
        window = padded[:, top[i] : top[i] + 5, left[i] : left[i] + 7]
        assert torch.equal(found[i], window.flip(-1) if mirrored[i] else window)


def test_a_rectangle_is_erased_in_some_images():
    random.seed(0)
    torch.manual_seed(0)
    images = torch.full((200, 3, 32, 32), 9.0)
    found, passed = RandomErasing(prob=0.25)(images.clone(), ["labels"])
    changed = (found != 9).any(dim=1)  # (B, H, W)
    touched = changed.flatten(1).any(dim=1)
    assert passed == ["labels"] and 30 <= touched.sum() <= 70
    for mask in changed[touched]:
        rows, columns = mask.any(1), mask.any(0)
        assert mask.sum() == rows.sum() * columns.sum()  # one rectangle
        assert 0.01 <= mask.float().mean() <= 0.4
    noise = found.permute(0, 2, 3, 1)[changed]
    assert abs(noise.mean()) < 0.05 and 0.9 < noise.std() < 1.1
    assert torch.equal(RandomErasing(prob=0.0)(images)[0], images)
