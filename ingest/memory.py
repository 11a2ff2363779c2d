"""Keeps freed memory in the process, since getting it anew from the kernel is what large arrays cost most."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> None:
    """Have glibc take arrays of up to 8 MB from its heap and keep 64 MB of it that are free; larger ones it maps, numpy
    backs them with huge pages, and they are given back. Without effect on other C libraries. See mallopt(3).
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 8 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        libc.mallopt(_M_TOP_PAD, 16 << 20)
