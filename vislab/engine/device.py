"""The device a user names, checked before anything is moved there."""

import torch

from vislab.errors import ConfigError


def usable_device(name: str | torch.device) -> torch.device:
    """The device of this name, once a tensor was put there.

    Raises:
        ConfigError: no such device here; the message lists those that are.
    """
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("tensors on it have no content")
        torch.zeros(1, device=device).item()
    except Exception as error:  # each back-end has its own: RuntimeError, AssertionError, NotImplementedError ...
        reason = str(error).strip().splitlines()[0].split(". ")[0].rstrip(".") or type(error).__name__
        raise ConfigError(f"device={str(name)!r} cannot be used: {reason[:160]}. Here: {', '.join(_here())}") from error
    return device


def _here() -> list[str]:
    names = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names
