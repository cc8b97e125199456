"""The disk of a run folder, and memory: whether there is room, and what it means when writing fails."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefboost.errors import Place, PrefboostError, RunError

__all__ = ["check_space", "explain_disk", "free_memory", "is_disk_fault", "size_of"]

_CODES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}
"""Codes of what writing fails with when the program is not to blame."""

_TEXTS = ("no space left on device", "disk quota exceeded", "read-only file system", "file write failed",
          "inline_container", "os error 28")  # fmt: skip
"""The same in words: safetensors and torch raise errors of their own, without a code."""


def size_of(folder: Path) -> int:
    """Count the bytes of all files in a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def free_memory() -> int | None:
    """Return the bytes of memory that new work can use without swapping; None where the system does not say so."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    # MemAvailable counts caches that the kernel would give up; MemFree does not.
    kibibytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kibibytes is None else int(kibibytes) * 1024


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: on the disk.
        needed: bytes that will be written and stay.

    Raises:
        RunError: fewer are free.
    """
    # Free for this user: blocks that the system reserves do not count.
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunError(
            f"training will write {_print_size(needed)} (checkpoints and the model), but {_print_size(free)} are free",
            remedy="free space, give a folder on another disk, write save_type: bfloat16, or train adapters (lora)",
            place=Place(str(folder)),
        )


@contextmanager
def explain_disk(folder: Path) -> Iterator[None]:
    """Turn failures to write into an error that says what to do; checkpoints that are whole stay.

    Args:
        folder: the run folder.

    Raises:
        RunError: the disk is full, or may not be written.
    """
    try:
        yield
    except PrefboostError:
        raise
    except Exception as error:
        if not is_disk_fault(error):
            raise
        name = getattr(error, "filename", None)
        # Libraries written in Rust or C++ raise errors without a file name; the run folder is the best guess then.
        path = Path(os.fsdecode(name)) if isinstance(name, str | bytes) else folder
        # The file may not exist yet, nor its folder: any folder above it is on the same disk, or nearly always.
        present = next(each for each in (path, *path.absolute().parents) if each.exists())
        free = shutil.disk_usage(present).free
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise RunError(
            f"cannot write: {reason} ({_print_size(free)} free)",
            remedy="free space or correct the permissions; the same command then resumes at the last checkpoint",
            place=Place(str(path)),
        ) from error


def is_disk_fault(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, says that a file cannot be written."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _CODES:
            return True
        speaks_of_files = isinstance(seen, OSError | RuntimeError) or type(seen).__name__ == "SafetensorError"
        if speaks_of_files and any(text in str(seen).lower() for text in _TEXTS):
            return True
        # transformers and accelerate wrap what the system says in errors of their own.
        seen = seen.__cause__ or seen.__context__
    return False


def _print_size(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 1 << 27 else f"{size / 2**20:.1f} MiB"
