"""Data preprocessor: batching and normalization of uint8 images on the device of the model."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import DataError
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.structures.data_sample import MAP_FILL

_SMALL = 1 << 16  # bytes of a tensor that is copied to the device together with others


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """Stacks or pads images, moves them to the device, scales them to [0, 1] and normalizes them.

    Images of the same size are stacked as uint8, copied to the device together and converted there. Images of different
    sizes are padded at the bottom and right to the largest height and width in the batch, with 0 after normalization.
    In training, label maps are padded too (masks 0, semantic 255, panoptic 0, depth 0). batch_input_shape and pad_shape
    (h, w) are added to the metainfo of the samples.

    Args:
        mean: RGB means in [0, 1] units; None with `std` None leaves the images in [0, 1].
        std: RGB standard deviations in [0, 1] units.
        size_divisor: Pad height and width to multiples of this number.
        pad_labels: Pad labels in training. Labels are not padded in evaluation, since metrics use the original frame.
        channels_last: Return the batch in torch.channels_last memory format.
        batch_augment: Module, function or config, called in training as batch_augment(inputs, data_samples) on the
            batch.
        non_blocking: Copy to the device asynchronously; needs pinned memory.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size_divisor: int = 1,
        pad_labels: bool = True,
        channels_last: bool = False,
        batch_augment: Callable | dict | None = None,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if (mean is None) != (std is None):
            raise ValueError(f"mean={mean}, std={std}: set both or neither")
        if mean is not None and (max(mean) > 1 or max(std) > 1 or min(std) <= 0):
            raise ValueError(
                f"mean={tuple(mean)}, std={tuple(std)} are not in [0, 1] units: divide values for 0..255 by 255"
            )
        self.size_divisor = size_divisor
        self.pad_labels = pad_labels
        self.channels_last = channels_last
        self.batch_augment = MODELS.build(batch_augment) if isinstance(batch_augment, dict) else batch_augment
        # x / 255 and (x - mean) / std as one multiplication and one addition
        gain = None if mean is None else (1 / (255 * torch.tensor(std, dtype=torch.float64))).float().view(-1, 1, 1)
        shift = None
        if mean is not None:
            shift = (-torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)).float()
            shift = shift.view(-1, 1, 1)
        self.register_buffer("gain", gain, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    @property
    def statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation per channel in [0, 1] units, rounded to 6 digits; None without normalization."""
        if self.gain is None:
            return None
        std = 1 / (255 * self.gain.double())
        mean = -self.shift.double() * std
        return tuple([round(x, 6) for x in values.flatten().tolist()] for values in (mean, std))

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess a collated batch.

        Args:
            data: "inputs", a list of B uint8 (or float, in 0..255) tensors (C, H, W) or one tensor (B, C, H, W); and
                optionally "data_samples", a list of B DataSample.
            training: Whether to pad labels and apply `batch_augment`.

        Returns:
            Dict with "inputs" (B, C, H, W) float32 and "data_samples" on the device.
        """
        images = list(data["inputs"])
        samples = data.get("data_samples")
        samples = None if samples is None else move_samples(samples, self.device, self._non_blocking)
        height, width = self._batch_shape(images)
        inputs = self._batch(images, height, width)
        for image, sample in zip(images, samples or (), strict=False):
            shape = tuple(image.shape[-2:])
            sample.set_metainfo({"batch_input_shape": (height, width), "pad_shape": (height, width)})
            if training and self.pad_labels and shape != (height, width):
                _pad_labels(sample, shape, (height, width))
        if training and self.batch_augment is not None:
            inputs, samples = self.batch_augment(inputs, samples)
        return data | {"inputs": inputs, "data_samples": samples}

    def _batch_shape(self, images: list[Tensor]) -> tuple[int, int]:
        if len({image.shape[0] for image in images}) > 1:
            raise DataError(f"images of a batch differ in channels: {[tuple(image.shape) for image in images]}")
        divisor = self.size_divisor
        return tuple(-(-max(image.shape[i] for image in images) // divisor) * divisor for i in (-2, -1))

    def _batch(self, images: list[Tensor], height: int, width: int) -> Tensor:
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        if all(tuple(image.shape[-2:]) == (height, width) for image in images):
            # images are usually (H, W, C) in memory: stack them in this order, and transpose while converting to float
            if all(image.stride(0) == 1 for image in images):
                batch = torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
            else:
                batch = torch.stack(images)
            batch = batch.to(self.device, non_blocking=self._non_blocking)
            return self._normalize(batch.to(torch.float32, memory_format=layout))
        shape = (len(images), images[0].shape[0], height, width)
        batch = torch.zeros(shape, device=self.device).contiguous(memory_format=layout)
        for place, image in zip(batch, images, strict=True):
            image = image.to(self.device, torch.float32, non_blocking=self._non_blocking, copy=True)
            place[:, : image.shape[1], : image.shape[2]] = self._normalize(image)
        return batch

    def _normalize(self, images: Tensor) -> Tensor:
        """Normalize images (..., C, H, W) float32 in 0..255 in place."""
        if self.gain is None:
            return images.div_(255)
        return images.mul_(self.gain).add_(self.shift)


def move_samples(
    samples: Sequence[BaseDataElement], device: torch.device, non_blocking: bool = True
) -> list[BaseDataElement]:
    """Return copies of samples with their tensors on a device. Small tensors of a dtype are copied together."""
    if device.type == "cpu":
        return [sample.to(device) for sample in samples]
    small: dict[torch.dtype, dict[int, Tensor]] = {}
    for sample in samples:
        for tensor in _tensors(sample):
            if tensor.device.type == "cpu" and tensor.numel() * tensor.element_size() <= _SMALL:
                small.setdefault(tensor.dtype, {})[id(tensor)] = tensor
    moved = {}
    for tensors in small.values():
        joined = torch.cat([tensor.flatten() for tensor in tensors.values()]).to(device, non_blocking=non_blocking)
        parts = joined.split([tensor.numel() for tensor in tensors.values()])
        for (key, tensor), part in zip(tensors.items(), parts, strict=True):
            moved[key] = part.view(tensor.shape)

    def there(value: Any) -> Any:
        if isinstance(value, BaseDataElement):
            copy = value.new()
            copy.set_data({key: there(part) for key, part in value.items()})
            return copy
        if id(value) in moved:
            return moved[id(value)]
        return value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value

    return [there(sample) for sample in samples]


def _tensors(sample: BaseDataElement) -> Iterator[Tensor]:
    for value in sample.values():
        if isinstance(value, BaseDataElement):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value


def _pad_labels(sample: DataSample, shape: tuple[int, int], size: tuple[int, int]) -> None:
    """Pad labels that have the image's `shape` to `size` (h, w)."""
    margin = (0, size[1] - shape[1], 0, size[0] - shape[0])
    for key, fill in MAP_FILL.items():
        if key in sample:
            field = sample.get(key)
            if tuple(field.shape) == shape:
                padded = F.pad(field.data, margin, value=fill)
                setattr(sample, key, PixelData(data=padded, metainfo=dict(field.metainfo_items())))
    if "gt_instances" in sample and "masks" in sample.gt_instances:
        masks = sample.gt_instances.masks
        if tuple(masks.shape[-2:]) == shape:
            sample.gt_instances.masks = F.pad(masks, margin)
