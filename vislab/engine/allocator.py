"""Keep freed memory in the process, which speeds up training on the CPU.

glibc returns large blocks to the system when they are freed. Training steps allocate and free the same blocks
repeatedly, and the kernel clears every page each time, which takes about 3-5% of a step.
"""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks up to 1 GiB; returns whether that was possible.

    Does nothing if the C library is not glibc, or if MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_ is set in the
    environment.
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
