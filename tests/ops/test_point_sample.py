"""Test bilinear sampling: own and shared points, integer maps in chunks, rows of all channels."""

import torch

from vislab.ops import point_sample as module
from vislab.ops.point_sample import point_sample, point_sample_maps, point_sample_rows


def test_pixel_centers_give_the_pixels():
    maps = torch.rand(3, 4, 5)
    y, x = torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")
    centers = torch.stack(((x + 0.5) / 5, (y + 0.5) / 4), -1).view(1, -1, 2)
    torch.testing.assert_close(point_sample(maps, centers), maps.flatten(1))
    torch.testing.assert_close(point_sample_rows(maps, centers[0]), maps.flatten(1).T)


def test_shared_points_equal_repeated_ones_and_rows():
    maps, points = torch.rand(6, 7, 9), torch.rand(1, 40, 2) * 1.4 - 0.2
    shared = point_sample(maps, points)
    torch.testing.assert_close(shared, point_sample(maps, points.repeat(6, 1, 1)))
    torch.testing.assert_close(shared.T, point_sample_rows(maps, points[0]))


def test_channels_of_several_maps():
    maps, points = torch.rand(3, 4, 7, 9), torch.rand(3, 20, 2) * 1.4 - 0.2
    expected = torch.stack([point_sample(m, p[None]) for m, p in zip(maps, points, strict=True)])
    torch.testing.assert_close(point_sample_maps(maps, points), expected)
    grid = (2 * points - 1)[:, None]
    on_device = torch.nn.functional.grid_sample(maps, grid, align_corners=False)[:, :, 0]
    torch.testing.assert_close(point_sample_maps(maps, points), on_device)


def test_integer_maps_in_chunks(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 130)
    maps, points = torch.rand(5, 8, 8) > 0.5, torch.rand(5, 20, 2)
    for masks in (maps, maps.to(torch.uint8)):
        torch.testing.assert_close(point_sample(masks, points), point_sample(maps.float(), points))
        torch.testing.assert_close(point_sample(masks, points[:1]), point_sample(maps.float(), points[:1]))
    assert point_sample(maps[:0], points[:0]).shape == (0, 20)
