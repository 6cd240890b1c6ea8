"""Default the test settings of a config to those of validation."""

import copy
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, TypeVar

Settings = TypeVar("Settings", bound=MutableMapping[str, Any])
TEST_KEYS = ("test_dataloader", "test_cfg", "test_evaluator")


def set_test_defaults(cfg: Settings, keys: Iterable[str] = TEST_KEYS) -> Settings:
    """Set each test section that is missing or None to a copy of the validation section, in place, and return `cfg`.

    `test_cfg` is a copy of `val_cfg` without `type`, which is a validation loop. If there is no validation section, the
    test section remains missing.

    Args:
        cfg: Config or the arguments of a Runner.
        keys: Test sections to set.
    """
    for key in keys:
        validation = cfg.get(key.replace("test", "val"))
        if cfg.get(key) is not None or validation is None:
            continue
        if isinstance(validation, (Mapping, list, tuple)):
            validation = copy.deepcopy(validation)
        if key == "test_cfg":
            validation = {k: v for k, v in validation.items() if k != "type"} if isinstance(validation, Mapping) else {}
        cfg[key] = validation
    return cfg
