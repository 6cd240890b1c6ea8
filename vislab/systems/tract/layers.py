"""Find the layer that TrAct is applied to, and check that it is supported."""

from torch import Size, nn

from vislab.errors import ConfigError, did_you_mean
from vislab.layers.convolution import PatchConv2d

Layer = nn.Linear | nn.Conv2d


def find_first_layer(module: nn.Module, name: str | None = None) -> Layer:
    """Return the layer `name`, or the first Linear or Conv2d in order of definition, which may be `module` itself.

    Raises:
        ConfigError: There is no such layer; its weight is frozen or computed from others; or its class is not
            supported.
    """
    layers = {key: part for key, part in module.named_modules() if isinstance(part, Layer)}
    kind = type(module).__name__
    if not layers:
        raise ConfigError(f"TrAct: {kind} has no Linear or Conv2d; TrAct changes the gradient of one of these")
    if name is None:
        name = next(iter(layers))
    elif name not in layers:
        what = f"is a {type(found).__name__}" if (found := _part(module, name)) is not None else "does not exist"
        raise ConfigError(f"TrAct: {name!r} of {kind} {what}, expected a Linear or Conv2d{did_you_mean(name, layers)}")
    layer = layers[name]
    where = f"layer {name!r} of {kind}" if name else f"this {type(layer).__name__}"
    if layer._parameters.get("weight") is None:
        raise ConfigError(f"TrAct: the weight of {where} is computed from other parameters: remove the parametrization")
    if not is_supported(layer):
        raise ConfigError(
            f"TrAct: {where} is a {type(layer).__name__}, whose forward is not that of nn.Linear or nn.Conv2d, so the "
            "gradient of its weight is unknown: use the plain layer, or name another one"
        )
    if not layer.weight.requires_grad:
        raise ConfigError(
            f"TrAct: the weight of {where} is frozen, so nothing would change: unfreeze it or name another layer"
        )
    return layer


def _part(module: nn.Module, name: str) -> nn.Module | None:
    return dict(module.named_modules()).get(name)


def is_supported(layer: Layer) -> bool:
    """Return whether the forward pass of the layer is that of nn.Linear, nn.Conv2d or PatchConv2d."""
    if "forward" in vars(layer):  # replaced on the instance
        return False
    if is_linear(layer):
        return type(layer).forward in (nn.Linear.forward, PatchConv2d.forward)
    stock = type(layer).forward is nn.Conv2d.forward and type(layer)._conv_forward is nn.Conv2d._conv_forward
    return stock or _pads_itself(layer)


def is_linear(layer: Layer) -> bool:
    """Return whether the layer multiplies the last dimension of its input, as Linear and PatchConv2d do."""
    return isinstance(layer, nn.Linear | PatchConv2d)


def _pads_itself(layer: nn.Conv2d) -> bool:
    """Return whether the layer is timm's Conv2dSame (tf_efficientnet), whose padding depends on the input size."""
    return type(layer).__name__ == "Conv2dSame" and type(layer).__module__.startswith("timm.")


def padding(layer: nn.Conv2d, size: Size) -> list[int]:
    """Return the padding of an input of `size` (H, W): [left, right, top, bottom]."""
    if not _pads_itself(layer):
        return layer._reversed_padding_repeated_twice
    sides = []
    for length, kernel, stride, dilation in zip(
        size[::-1], layer.kernel_size[::-1], layer.stride[::-1], layer.dilation[::-1], strict=True
    ):
        total = max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
        sides += [total // 2, total - total // 2]
    return sides
