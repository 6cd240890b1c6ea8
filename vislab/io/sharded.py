"""Gather tensors that FSDP2 shards over processes for saving, and shard loaded tensors.

Checkpoints contain whole tensors, so that a file does not depend on the number of processes that wrote it.
"""

from typing import Any

from torch.distributed.tensor import DTensor, distribute_tensor


def gather_whole(tree: Any, *, keep: bool = True) -> Any:
    """Return the same nested dicts, lists and tuples with sharded tensors gathered to the CPU.

    Must be called by all processes with the same structure. Only one tensor at a time is whole on the device.

    Args:
        tree: Nested structure, e.g. the `state_dict()` of a model or an optimizer.
        keep: Whether this process needs the result. If False, sharded tensors are replaced by None.
    """
    if isinstance(tree, DTensor):
        whole = tree.detach().full_tensor()
        return whole.cpu() if keep else None
    if isinstance(tree, dict):
        return type(tree)((key, gather_whole(value, keep=keep)) for key, value in tree.items())
    if isinstance(tree, (list, tuple)) and not hasattr(tree, "_fields"):
        return type(tree)(gather_whole(value, keep=keep) for value in tree)
    return tree


def split_like(value: Any, like: Any) -> Any:
    """Shard `value`, the same whole tensor on every process, like `like`.

    Returns `value` unchanged if `like` is not sharded or `value` is not a tensor of its shape.
    """
    if not isinstance(like, DTensor) or isinstance(value, DTensor) or getattr(value, "shape", None) != like.shape:
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)  # no communication
