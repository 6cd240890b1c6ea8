"""Transforms of the data pipeline. Each is a callable that takes and returns the dictionary `results` of one sample.

Keys of `results`. "Input" keys are set by the dataset, "label" keys by loading transforms or by datasets that provide
arrays, "state" keys by the transforms. All labels except `label` are optional.

    key                type                 content
    img_path           input, str           image file, or name of the sample in messages
    img_id, sample_idx input                id in the annotations, index in the dataset
    height, width      input, int           annotated size, compared with the image
    instances          input, list of dict  bbox, rbbox, label, mask, ignore, area, id
    segments_info      input, list of dict  id, category, iscrowd, area of segments
    panoptic_path      input, str           PNG file of segment ids, coded as in COCO
    seg_map_path       input, str           label image of class indices
    seg_label_map      input, dict          value in the label image -> class index
    depth_path         input, str           depth map
    img                (H, W, 3) uint8      image, RGB
    gt_sem_seg         (H, W) uint8         class indices, 255 = ignored
    gt_panoptic        (H, W) int32         segment ids, 0 = void
    gt_depth           (H, W) float32       meters, 0 = unknown
    gt_bboxes          (N, 4) float32       boxes, xyxy, pixels
    gt_rbboxes         (N, 5) float32       rotated boxes, cx, cy, w, h, theta (le90)
    gt_masks           (N, H, W) uint8      instance masks, 0 or 1
    gt_labels          (N,) int64           class indices
    gt_ignore          (N,) bool            crowd instances
    gt_ids             (N,) int64           index of the instance or id of the segment
    gt_areas           (N,) float64         annotated areas in pixels, NaN = unknown
    gt_embeddings      (N, C) float32       embeddings of the instances, for pre-training
    label              int                  class of the image
    patch_mask         (h, w) bool          masked patches of the image (cae/masks.py)
    predict_mask       (h, w) bool          masked patches that count; default: all
    target_img         (H', W', 3) uint8    second view of the image (cae/views.py)
    ori_shape          state, (h, w)        size of the image as loaded
    img_shape          state, (h, w)        current size of the image
    scale_factor       state, (sx, sy)      scale of the image since it was loaded
    gt_scale_factor    state, (sx, sy)      scale of the instances since they were loaded
    map_scale_factors  state, dict          scale of each map since it was loaded
    flip               state, bool          whether the image was flipped
    flip_direction     state, str           horizontal, vertical or diagonal
    moved              state, tuple of str  other transforms that changed the coordinates
    num_vanished       state, int           instances that lost all pixels when resized

In `instances`, bbox is xyxy and mask is RLE or polygons. Areas are in square pixels. `map_scale_factors` has the maps
gt_sem_seg, gt_panoptic and gt_depth. Transforms that only resize are not in `moved`.
cae/ is vislab/systems/cae.

"All labels" in the documentation of a transform means gt_sem_seg, gt_panoptic, gt_depth and the instance labels
gt_bboxes, gt_rbboxes, gt_masks, gt_labels, gt_ignore, gt_ids, gt_areas and gt_embeddings, as far as they are present.

A transform that needs labels, and can do nothing without them, has the class attribute `needs_labels = True`:
predictions run the test pipeline without it. Others work on what is present.
"""

from vislab.datasets.transforms.albu import Albu
from vislab.datasets.transforms.color import PhotoMetricDistortion
from vislab.datasets.transforms.depth import KittiCrop, NYUBorder
from vislab.datasets.transforms.formatting import PackInputs, PanopticToInstances, PanopticToSemSeg
from vislab.datasets.transforms.geometric import (
    CenterCrop,
    LargeScaleJitter,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    ResizeShortestEdge,
)
from vislab.datasets.transforms.instances import LoadAnnotations
from vislab.datasets.transforms.loading import LoadDepth, LoadImage, LoadPanoptic, LoadSemSeg
from vislab.datasets.transforms.rand_augment import RandAugment
from vislab.datasets.transforms.targets import SemSegToInstances
from vislab.datasets.transforms.video_frame import LoadVideoFrame

__all__ = [
    "Albu",
    "CenterCrop",
    "PhotoMetricDistortion",
    "KittiCrop",
    "LargeScaleJitter",
    "LoadAnnotations",
    "LoadDepth",
    "LoadImage",
    "LoadPanoptic",
    "LoadSemSeg",
    "LoadVideoFrame",
    "NYUBorder",
    "PackInputs",
    "Pad",
    "PanopticToInstances",
    "PanopticToSemSeg",
    "RandAugment",
    "RandomCrop",
    "RandomFlip",
    "RandomResizedCrop",
    "Resize",
    "ResizeShortestEdge",
    "SemSegToInstances",
]
