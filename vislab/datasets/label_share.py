"""Choose a share of the labeled images, for experiments with few labels.

The images are ordered by a hash of the seed and their name. The choice does not depend on the order of the files, on
versions of libraries or on the machine, and the smaller share is contained in the larger one of the same seed.
"""

import hashlib
import math
from collections.abc import Sequence

from vislab.errors import ConfigError


def check_share(share: float, owner: str) -> None:
    """Raise ConfigError unless `share` is in (0, 1]."""
    if not 0 < share <= 1:
        percent = f"; did you mean {share / 100:g}?" if 1 < share <= 100 else ""
        raise ConfigError(f"{owner}: label_share={share!r} is not a share: expected 0 < share <= 1{percent}")


def choose_share(names: Sequence[str], share: float, seed: int) -> list[int]:
    """Return the rising indices of `share` of the images, rounded to the nearest number of images and at least one.

    Args:
        names: Unique names of the images.
        share: In (0, 1].
        seed: Images of different seeds are unrelated.
    """
    if share == 1:
        return list(range(len(names)))
    count = max(1, math.floor(share * len(names) + 0.5))
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(f"{seed}:{names[i]}".encode()).digest())
    return sorted(order[:count])
