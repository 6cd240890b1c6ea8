"""Test drawing functions: changed pixels, unchanged inputs, unusual inputs."""

import numpy as np

from vislab.visualization import draw


def _gray(h=60, w=80):
    return np.full((h, w, 3), 100, np.uint8)


def test_palette_is_fixed_and_distinct():
    palette = draw.make_palette(133)
    assert np.array_equal(palette, draw.make_palette(200)[:133]) and palette.dtype == np.uint8
    assert len(np.unique(palette[:20], axis=0)) == 20
    assert np.abs(np.diff(palette.astype(int), axis=0)).sum(1).min() > 60
    assert draw.make_palette(0).shape == (0, 3)


def test_inputs_are_not_written_to():
    img = _gray()
    colors = np.array([[255, 0, 0]], np.uint8)
    out = draw.draw_boxes(img, np.array([[5, 5, 50, 40]]), colors, ["box"])
    draw.draw_rboxes(img, np.array([[30, 30, 40, 10, 0.3]]), colors, ["\u00e4"])
    draw.draw_masks(img, np.ones((1, 60, 80), np.uint8), colors)
    draw.draw_text(img, "text", (0, 0))
    assert (img == 100).all() and (out != 100).any()


def test_box_outline_lies_on_the_box():
    out = draw.draw_boxes(_gray(), np.array([[10, 20, 40, 50]]), np.array([[255, 0, 0]]))
    red = np.argwhere(out[..., 0] > 200)
    assert red.min(0).tolist() == [20, 10] and red.max(0).tolist() == [50, 40]


def test_no_boxes_and_boxes_outside():
    assert np.array_equal(draw.draw_boxes(_gray(), np.zeros((0, 4)), np.zeros((0, 3))), _gray())
    draw.draw_boxes(_gray(), np.array([[-1e6, -50, 1e6, 1e5]]), np.array([[0, 255, 0]]), ["far out"])


def test_semantic_colors_and_ignore():
    labels = np.zeros((60, 80), np.int64)
    labels[:, 40:] = 255
    out = draw.draw_sem_seg(_gray(), labels, np.array([[200, 0, 0]]), opacity=1.0)
    assert out[0, 0].tolist() == [200, 0, 0] and out[0, 79].tolist() == [0, 0, 0]


def test_depth_picture_has_a_scale_and_black_where_unknown():
    depth = np.tile(np.linspace(1, 9, 80, dtype=np.float32), (60, 1))
    depth[:10] = 0
    depth[10, 0] = np.nan
    out = draw.draw_depth(depth)
    assert out.shape[0] > 60 and out.shape[1] == 80
    assert (out[:10] == 0).all() and (out[10, 0] == 0).all()
    brightness = out[11:60].sum(axis=2).mean(axis=0)
    assert brightness[0] > brightness[-1] > 0  # near is bright, far is not the black of unknown
    assert draw.draw_depth(np.zeros((20, 30), np.float32)).shape[1] == 30


def test_panoptic_with_void_and_nothing():
    ids = np.zeros((60, 80), np.int32)
    ids[20:40, 20:60] = 7
    palette = draw.make_palette(3)
    out = draw.draw_panoptic(_gray(), ids, [{"id": 7, "category": 2}], palette, ["a", "b", "c"])
    assert (out[0, 0] == 40).all() and (out[20, 20] == 255).all()
    draw.draw_panoptic(_gray(), ids, [], palette)


def test_error_and_tile():
    a = _gray()
    b = a.copy()
    b[0, 0] = 200
    error = draw.draw_error(a, b)
    assert error[0, 0].sum() > 500 and error[5, 5].sum() < 30
    sheet = draw.tile([[("one", a), ("two", _gray(30, 20))], [("", a)]])
    assert sheet.dtype == np.uint8 and sheet.shape == (20 + 60 + 4 + 60, 80 + 4 + 20, 3)


def test_a_legend_has_one_line_per_name():
    img = np.full((300, 300, 3), 90, np.uint8)
    out = draw.draw_legend(img, ["ship", "plane"], np.array([[255, 0, 0], [0, 255, 0]], np.uint8))
    height = draw.text_height(img)
    changed = (out != img).any(axis=2).any(axis=1)
    assert changed[-2 * height + 2] and changed[-4] and not changed[: -2 * height - 1].any() and (img == 90).all()
