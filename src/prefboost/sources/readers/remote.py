"""Files at addresses of fsspec: fetched to read, put when written."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from prefboost.addresses import find_address, format_place
from prefboost.errors import Place, PrefboostError, RunError, UnreadableFile
from prefboost.sources.readers.endings import CARD, ENDINGS, get_format_ending

__all__ = [
    "explain_far",
    "fetch_file",
    "fetch_input",
    "find_base",
    "find_file_version",
    "find_files",
    "find_version",
    "forget_fetched",
    "guard_address",
    "path_exists",
    "lies_at",
    "list_far_files",
    "list_far_names",
    "open_bytes",
    "put_files",
    "put_output",
    "read_range",
    "would_be_read",
]

_MANIFEST = "prefboost.json"
"""File by which a folder that `augment` wrote is known; it lists the others."""

_FETCHED: dict[str, Path] = {}
"""Files that were fetched already, by address: a verb opens its input several times."""


def fetch_file(address: str) -> Path:
    """Copy a remote file to the system's temporary folder, once per process; its name stays.

    Raises:
        UnreadableFile: the file system's library is not installed, or it does not give the file.
    """
    if address not in _FETCHED:
        folder = Path(tempfile.mkdtemp(prefix="prefboost-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        local = folder / address.rpartition("/")[2]
        with _explain_unreadable(address):
            system, path = _open_system(address)
            system.get_file(path, str(local))
        _FETCHED[address] = local
    return _FETCHED[address]


def fetch_input(address: str) -> Path:
    """Copy what an address names, once per process: a file, or into a folder the files that a folder or pattern names.

    Raises:
        UnreadableFile: see `fetch_file` and `list_far_names`.
    """
    if address in _FETCHED:
        return _FETCHED[address]
    names = list_far_names(address)
    if names is None:
        return fetch_file(address)
    folder = Path(tempfile.mkdtemp(prefix="prefboost-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with _explain_unreadable(address):
        system, base = _open_system(find_base(address))
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            system.get_file(f"{base.rstrip('/')}/{name}", str(folder / name))
    _FETCHED[address] = folder
    return folder


def find_base(address: str) -> str:
    """Find the folder below which a pattern with ``*`` names files; anything else is its own."""
    begin, star, _ = address.partition("*")
    return begin.rpartition("/")[0] if star else address.rstrip("/")


def list_far_names(address: str) -> list[str] | None:
    """List the files with rows of a folder or pattern by their names below `find_base`, in order.

    Of a folder its data card (README.md) is listed too. Hidden files are no data, as on this machine.

    Returns:
        None where the address is neither: it names one file, or nothing.

    Raises:
        UnreadableFile: there is no such file, or the file system cannot be asked.
    """
    with _explain_unreadable(address):
        system, path = _open_system(address)
        # File systems keep listings, and other machines write here.
        system.invalidate_cache()
        is_pattern = "*" in path
        if is_pattern:
            paths = [each for each in system.glob(path) if system.isfile(each)]
        elif system.isdir(path):
            paths = system.find(path)
        else:
            return None
        base = _open_system(find_base(address))[1].rstrip("/")
        names = [Path(each.removeprefix(base).lstrip("/")) for each in paths]
        # A star stands for an underscore, but for no dot.
        hidden = "." if is_pattern else (".", "_")
        names = [name for name in names if not any(part.startswith(hidden) for part in name.parts)]
        with_rows = [name for name in names if get_format_ending(name) in ENDINGS]
        if not with_rows:
            raise FileNotFoundError(f"no file there has a known ending ({', '.join(ENDINGS)})")
        cards = [] if is_pattern else [name for name in names if str(name) == CARD]
        return [name.as_posix() for name in sorted([*with_rows, *cards])]


def list_far_files(address: str) -> list[Path]:
    """List the addresses of the files that an address names: itself, or those of a folder or pattern.

    Raises:
        UnreadableFile: see `list_far_names`.
    """
    names = list_far_names(address)
    return [Path(address)] if names is None else [Path(f"{find_base(address)}/{name}") for name in names]


def open_bytes(place: str | Path) -> BinaryIO:
    """Open a file to read where it is: of one at an address, only what is read is fetched.

    Raises:
        OSError: a file of this machine cannot be opened.
        UnreadableFile: one at an address cannot.
    """
    if (address := find_address(place)) is None:
        return Path(place).open("rb")
    with _explain_unreadable(address):
        system, path = _open_system(address)
        opened: BinaryIO = system.open(path, "rb")
    return opened


def read_range(place: str | Path, begin: int, length: int) -> bytes:
    """Read some bytes of a file, by one request where it is at an address.

    Raises:
        OSError, UnreadableFile: see `open_bytes`.
    """
    if (address := find_address(place)) is None:
        with Path(place).open("rb") as file:
            file.seek(begin)
            return file.read(length)
    with _explain_unreadable(address):
        system, path = _open_system(address)
        content: bytes = system.cat_file(path, start=begin, end=begin + length)
    return content


def find_file_version(address: str) -> tuple[int, str]:
    """Return the size of a file at an address, and what the file system changes with its content (ETag, time).

    Raises:
        UnreadableFile: it cannot be asked.
    """
    with _explain_unreadable(address):
        system, path = _open_system(address)
        system.invalidate_cache()
        return int(system.size(path)), str(system.checksum(path))


def find_version(address: str) -> tuple[int, str]:
    """Return size and version of what an address names; of several files the sum of the sizes, and a hash over all.

    Raises:
        UnreadableFile: it cannot be asked.
    """
    names = list_far_names(address)
    if names is None:
        return find_file_version(address)
    with _explain_unreadable(address):
        system, path = _open_system(find_base(address))
        paths = [f"{path.rstrip('/')}/{name}" for name in names]
        versions = repr([(name, str(system.checksum(each))) for name, each in zip(names, paths, strict=True)])
        return sum(map(system.size, paths)), hashlib.sha256(versions.encode()).hexdigest()


@contextmanager
def _explain_unreadable(address: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every file system raises its own kinds: no library, no right, no such file
        raise UnreadableFile(
            f"the file cannot be fetched: {str(error)[:300] or type(error).__name__}",
            remedy="check address and login; s3:// needs s3fs, gs:// gcsfs, hf:// huggingface-hub",
            place=Place(address),
        ) from error


def find_files(place: str | Path) -> list[str]:
    """List what an address with ``*`` stands for, which no shell tells; anything else stands for itself.

    Raises:
        UnreadableFile: the file system cannot be asked.
    """
    address = find_address(place)
    if address is None or "*" not in address:
        return [str(place)]
    try:
        system, path = _open_system(address)
        system.invalidate_cache()
        files = sorted(system.glob(path))
    except Exception as error:  # see `_explain_unreadable`
        raise UnreadableFile(
            f"the files cannot be listed: {str(error)[:300]}", remedy="check address and login", place=Place(address)
        ) from error
    return [f"{address.partition('://')[0]}://{each.lstrip('/')}" for each in files]


def guard_address(address: str, source: object, *, overwrite: bool) -> None:
    """Refuse an address to write to, before anything is computed for it.

    Args:
        address: of the output.
        source: what is read: a path, an address, or something with such a ``path``.
        overwrite: what prefboost wrote there may be replaced.

    Raises:
        RunError: it is the input or contains it; something is there that may not be replaced; or the file system cannot
            be asked.
    """
    path = str(getattr(source, "path", None) or source)
    read = find_address(path)
    if read is None and address.startswith("file://") and Path(path).exists():
        read = f"file://{Path(path).resolve()}"
    if read is not None and lies_at(read, address):
        raise RunError(
            f"the output is the input {read}, or contains it", remedy="give another output", place=Place(address)
        )
    with explain_far(address):
        system, path = _open_system(address)
        _refuse_existing(system, path, address, overwrite)


def put_output(local: Path, address: str, *, overwrite: bool) -> None:
    """Copy a finished file or folder to an address; what prefboost wrote there is replaced if ``overwrite`` is set.

    Raises:
        RunError: something is there that may not be replaced, or the file system does not take it.
    """
    with explain_far(address):
        system, path = _open_system(address)
        _refuse_existing(system, path, address, overwrite)
        if system.isdir(path):
            # Files of others in the folder stay.
            names = [*json.loads(system.cat_file(f"{path}/{_MANIFEST}"))["files"], _MANIFEST]
            system.rm([f"{path}/{name}" for name in names if system.exists(f"{path}/{name}")])
        elif system.exists(path):
            system.rm(path)
        for file in sorted(each for each in [local, *local.rglob("*")] if each.is_file()):
            target = path if file == local else f"{path}/{file.relative_to(local).as_posix()}"
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
            system.put_file(str(file), target)
    forget_fetched(address)


def put_files(local: Path, address: str, *, absent: Iterable[str] = ()) -> None:
    """Copy all files of a folder below an address; files of the same names are replaced, others stay.

    Args:
        local: the folder.
        address: of a folder, or of nothing yet.
        absent: names that are removed there where the folder lacks them, as left over from an earlier call.

    Raises:
        RunError: the file system does not take them.
    """
    with explain_far(address):
        system, path = _open_system(address)
        system.makedirs(path, exist_ok=True)
        for file in sorted(each for each in local.rglob("*") if each.is_file()):
            target = f"{path}/{file.relative_to(local).as_posix()}"
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
            system.put_file(str(file), target)
        for name in absent:
            if not (local / name).exists() and system.exists(f"{path}/{name}"):
                system.rm_file(f"{path}/{name}")
    forget_fetched(address)


def path_exists(path: str | Path) -> bool:
    """Tell whether a file or folder exists, here or at an address.

    Raises:
        RunError: the file system of the address cannot be asked.
    """
    address = find_address(path)
    if address is None:
        return Path(path).exists()
    with explain_far(address):
        system, place = _open_system(address)
        # File systems keep listings, and other machines write here.
        system.invalidate_cache()
        return bool(system.exists(place))


def forget_fetched(address: str) -> None:
    """Fetch files at an address or below it anew, since they have changed."""
    # Files inside a replaced folder have changed, too.
    for fetched in [each for each in _FETCHED if lies_at(each, address) or lies_at(address, find_base(each))]:
        del _FETCHED[fetched]


def lies_at(address: str, place: str) -> bool:
    """Tell whether an address is a place or lies below it."""
    return f"{address.rstrip('/')}/".startswith(f"{place.rstrip('/')}/")


def would_be_read(output: str, read: str) -> bool:
    """Tell whether an output at an address is inside a folder, or matches a pattern, that is read."""
    if "*" not in read:
        return lies_at(output, read)
    # A single star stands for no slash, and a pattern reads files only.
    is_near = "**" in read or output.count("/") == read.count("/")
    return is_near and fnmatchcase(output, read) and get_format_ending(Path(output)) in ENDINGS


def _refuse_existing(system: Any, path: str, address: str, overwrite: bool) -> None:
    if not system.exists(path):
        return
    if not overwrite:
        raise RunError(
            "the output exists",
            remedy="give another output, or replace this one: --overwrite, in Python overwrite=True",
            place=Place(address),
        )
    if system.isdir(path) and not system.exists(f"{path}/{_MANIFEST}"):
        raise RunError(
            "the output is a folder that prefboost did not write", remedy="give another output", place=Place(address)
        )


@contextmanager
def explain_far(place: str | Path) -> Iterator[None]:
    """Explain what the file system of an address raises within the block; every one has kinds of its own.

    Raises:
        RunError: names the place.
    """
    try:
        yield
    except PrefboostError:
        raise
    except Exception as error:
        raise _describe_fault(error, format_place(place)) from error


def _describe_fault(error: Exception, address: str) -> RunError:
    return RunError(
        f"the file cannot be written there: {str(error)[:300] or type(error).__name__}",
        remedy="check address and login; s3:// needs s3fs, gs:// gcsfs, hf:// huggingface-hub",
        place=Place(address),
    )


def _open_system(address: str) -> tuple[Any, str]:
    """Open the file system of an address; return it, and the path there."""
    import fsspec  # for addresses only: see `prefboost.addresses.find_address`

    system, path = fsspec.core.url_to_fs(address)
    return system, path
