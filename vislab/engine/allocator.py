"""Keeps freed memory in the process: on the CPU a training step otherwise asks the kernel for its activations anew.

glibc gives large blocks back to the system as soon as they are free. A step of convolutions frees and takes the same
megabytes again and again, and each time the kernel clears every page: about 3-5% of a step, and the noise of timings.
"""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt


def keep_freed_memory() -> bool:
    """Let the C library keep freed blocks up to 1 GiB for the next step; returns whether it could be asked to.

    Nothing is changed where the C library is not glibc, or where the user has decided: MALLOC_TRIM_THRESHOLD_ or
    MALLOC_MMAP_THRESHOLD_ is set in the environment.
    """
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  (an AttributeError on other libraries)
        kept = libc.mallopt(_MMAP_THRESHOLD, 1 << 30) or libc.mallopt(_MMAP_THRESHOLD, 1 << 25)  # older ones: 32 MiB
        return bool(kept and libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
    except (AttributeError, OSError, TypeError):
        return False
