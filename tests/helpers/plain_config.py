"""A config of names only, for tests that change configs without building components."""

from mmengine.config import Config


def plain_config(**changes) -> Config:
    """Returns a config with a model and an optimizer, and with `changes`."""
    sections = {
        "model": {"type": "M"},
        "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
    }
    return Config({**sections, **changes}, filename=None)
