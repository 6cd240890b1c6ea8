"""Tensors that FSDP2 has split over processes: whole again for files, split again from what a file holds.

Checkpoints hold whole tensors, so that a file does not depend on the number of processes that wrote it.
"""

from typing import Any

from torch.distributed.tensor import DTensor, distribute_tensor


def gather_whole(tree: Any, *, keep: bool = True) -> Any:
    """The same nested dicts, lists and tuples with each split tensor whole and on the CPU.

    Every process calls this with the same structure, since gathering a tensor takes all of them. One tensor at a time
    is whole on the device.

    Args:
        tree: For example the `state_dict()` of a model or an optimizer.
        keep: False on the processes that do not need the result: split tensors become None there.
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
    """`value`, the same whole tensor on every process, split as `like` is; as it is where `like` is not split.

    What is no tensor of the shape of `like` is returned as it is.
    """
    if not isinstance(like, DTensor) or isinstance(value, DTensor) or getattr(value, "shape", None) != like.shape:
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)  # no communication
