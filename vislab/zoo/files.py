"""Weights out of a file, for models that start from pre-trained parts; reading itself is the engine's, and safe."""

from torch import Tensor

from vislab.paths import expand_path
from vislab.zoo.weights import get_weights


def read_weights(path: str, what: str = "pretrained") -> dict[str, Tensor]:
    """All weights of a .safetensors or .pth file, or of a checkpoint, by name.

    Args:
        path: the file; `$VISLAB_DATA` in it is expanded.
        what: the setting it comes from, for messages.

    Raises:
        CheckpointError: missing, broken, unsafe, or without weights.
        DataError: an environment variable in `path` is not set.
    """
    from vislab.engine.checkpoint import load_checkpoint  # brings mmengine's runner, hence only when used

    return get_weights(load_checkpoint(expand_path(path, what)), path)
