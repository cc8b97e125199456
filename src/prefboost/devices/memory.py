"""Memory of models that are no longer used, given back before the next one needs it."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

__all__ = ["read_memory_in_use", "release_memory"]

WORTH = 1 << 30
"""Bytes in use from which a collection is worth its third of a second; torch and transformers alone take half of it."""


def release_memory() -> None:
    """Return the memory of models that nothing refers to any more: to Python, to the device and to the system.

    Call it where a model has just gone out of use. A process that uses little memory is left alone.
    """
    torch = sys.modules.get("torch")
    move_to_device = torch is not None and torch.cuda.is_initialized()
    if not move_to_device and (read_memory_in_use() or WORTH) < WORTH:
        return
    # A model is part of reference cycles (its replaced forward, trainer and accelerator), which only the cyclic
    # collector frees. That one counts objects and not bytes: gigabytes of weights may wait for minutes.
    gc.collect()
    if torch is not None and move_to_device:
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        import ctypes

        # glibc keeps freed weights of up to 32 MB each for itself; other C libraries have no such call.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def read_memory_in_use() -> int | None:
    """Read the bytes of memory that this process has in use; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
