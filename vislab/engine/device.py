"""Check that a device is available."""

from textwrap import shorten

import torch

from vislab.errors import ConfigError


def usable_device(name: str | torch.device) -> torch.device:
    """Return the device of this name after creating a tensor on it.

    Raises:
        ConfigError: The device is not available; the message lists those that are.
    """
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("tensors on it have no content")
        torch.zeros(1, device=device).item()
    except Exception as error:  # backends raise different types: RuntimeError, AssertionError, NotImplementedError ...
        reason = str(error).strip().splitlines()[0].split(". ")[0].rstrip(".") or type(error).__name__
        reason = shorten(reason, 160, placeholder=" ...")
        raise ConfigError(f"device={str(name)!r} cannot be used: {reason}. Here: {', '.join(_here())}") from error
    return device


def _here() -> list[str]:
    names = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names
