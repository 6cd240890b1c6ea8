"""Let the hub obey VISLAB_OFFLINE."""

from collections.abc import Iterator
from contextlib import contextmanager

from vislab.io.download import is_offline


@contextmanager
def hub_rules() -> Iterator[None]:
    """Let huggingface_hub use its cache only while VISLAB_OFFLINE is set, whenever it was imported."""
    from huggingface_hub import constants  # imported late: takes time

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or is_offline()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
