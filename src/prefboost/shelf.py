"""Shelves: files that many processes share. A folder of this machine or of NFS, or an address of an object store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from prefboost.addresses import find_address
from prefboost.atomic import replace_atomically, write_atomically

__all__ = ["Shelf", "open_shelf"]


class Shelf(Protocol):
    """Files in folders, one level deep. A file appears whole, and none is ever changed but by `append`."""

    address: str
    appends: bool
    """Files can grow. Objects cannot: each takes one `write`."""

    refresh_s: float
    """Seconds for which a listing may be relied on where nothing depends on the last moment."""

    def list_files(self, folder: str) -> dict[str, int]:
        """List the files of a folder, with their bytes; none where it is missing."""

    def find_files(self, folder: str) -> dict[str, int]:
        """List the files of a folder and of all folders in it by their relative names, with their bytes."""

    def read(self, name: str, start: int = 0) -> bytes:
        """Read a file from a place on.

        Raises:
            FileNotFoundError: it is gone.
        """

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a whole file; it stands there when this returns, if it is durable also after a power cut."""

    def put(self, path: Path, name: str) -> None:
        """Write a whole file with the content of one of this machine, which may be larger than the memory."""

    def copy(self, name: str, target: str) -> None:
        """Give the bytes of a file a second name; an object store copies them by itself."""

    def append(self, name: str, data: bytes) -> None:
        """Add to a file of this process; all of it stands there when this returns, or none."""

    def rename(self, name: str, target: str) -> None:
        """Give a file that was appended to another name."""

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""

    def clear(self) -> None:
        """Remove all files, those of folders within too."""

    def exists(self, name: str) -> bool:
        """Tell whether a file or folder is there."""

    def close(self) -> None:
        """Close what is open."""


class _Folder:
    """See `Shelf`: a folder of this machine's disk, or of a network's."""

    appends = True
    # Listing a folder costs less than a millisecond.
    refresh_s = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = str(path)
        self._open: tuple[str, int] | None = None

    def list_files(self, folder: str) -> dict[str, int]:
        sizes: dict[str, int] = {}
        with suppress(FileNotFoundError), os.scandir(self.path / folder) as entries:
            for entry in entries:
                # Files on their way have a dot in front.
                with suppress(FileNotFoundError):
                    if not entry.name.startswith(".") and entry.is_file():
                        # Not of the entry: NFS may have it from a cache, and opening a file asks the server.
                        sizes[entry.name] = os.stat(entry.path).st_size  # noqa: PTH116 - scandir gives texts
        return sizes

    def find_files(self, folder: str) -> dict[str, int]:
        top = self.path / folder
        files = (Path(at) / name for at, _, names in os.walk(top) for name in names if not name.startswith("."))
        return {path.relative_to(top).as_posix(): path.stat().st_size for path in files}

    def read(self, name: str, start: int = 0) -> bytes:
        with (self.path / name).open("rb") as stream:
            stream.seek(start)
            return stream.read()

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        if durable:
            write_atomically(self.path / name, data)
            return
        target = self.path / name
        waiting = target.with_name(f".{target.name}.{os.getpid()}.partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            waiting.write_bytes(data)
            waiting.replace(target)
        finally:
            waiting.unlink(missing_ok=True)

    def put(self, path: Path, name: str) -> None:
        with replace_atomically(self.path / name) as waiting:
            shutil.copyfile(path, waiting)

    def copy(self, name: str, target: str) -> None:
        with replace_atomically(self.path / target) as waiting:
            try:
                os.link(self.path / name, waiting)
            except OSError:
                shutil.copyfile(self.path / name, waiting)

    def append(self, name: str, data: bytes) -> None:
        if self._open is None or self._open[0] != name:
            self.close()
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            self._open = name, os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        number = self._open[1]
        size = os.fstat(number).st_size
        try:
            written = 0
            while written < len(data):
                written += os.write(number, data[written:])
            # NFS shows other machines what was synced or closed, and a power cut takes the rest.
            os.fsync(number)
        except OSError:
            # What is half there would be taken for damage once more follows behind it.
            with suppress(OSError):
                os.ftruncate(number, size)
            raise

    def rename(self, name: str, target: str) -> None:
        self.close()
        (self.path / name).rename(self.path / target)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def exists(self, name: str) -> bool:
        return (self.path / name).exists()

    def close(self) -> None:
        if self._open is not None:
            with suppress(OSError):
                os.close(self._open[1])
            self._open = None


class _Objects:
    """See `Shelf`: an address of fsspec, whose objects appear whole and are never changed."""

    appends = False
    refresh_s = 1.0

    def __init__(self, address: str) -> None:
        import fsspec

        self.address = address
        self.system, self.root = fsspec.core.url_to_fs(address)
        self.root = self.root.rstrip("/")

    def list_files(self, folder: str) -> dict[str, int]:
        place = f"{self.root}/{folder}".rstrip("/")
        # File systems keep listings, and other machines write here.
        self.system.invalidate_cache(place)
        try:
            entries: list[dict[str, Any]] = self.system.ls(place, detail=True)
        except FileNotFoundError:
            return {}
        files = (entry for entry in entries if entry["type"] == "file")
        return {entry["name"].rstrip("/").rpartition("/")[2]: entry["size"] for entry in files}

    def find_files(self, folder: str) -> dict[str, int]:
        place = f"{self.root}/{folder}".rstrip("/")
        self.system.invalidate_cache()
        entries: dict[str, dict[str, Any]] = self.system.find(place, detail=True)
        # A file is what it finds below itself.
        return {name.removeprefix(place).lstrip("/"): each["size"] for name, each in entries.items() if name != place}

    def read(self, name: str, start: int = 0) -> bytes:
        data: bytes = self.system.cat_file(f"{self.root}/{name}", start=start or None)
        return data

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._in_folder(name, lambda place: self.system.pipe_file(place, data))

    def put(self, path: Path, name: str) -> None:
        self._in_folder(name, lambda place: self.system.put_file(str(path), place))

    def copy(self, name: str, target: str) -> None:
        self._in_folder(target, lambda place: self.system.cp_file(f"{self.root}/{name}", place))

    def _in_folder(self, name: str, write: Callable[[str], object]) -> None:
        place = f"{self.root}/{name}"
        try:
            write(place)
        except FileNotFoundError:
            # Object stores have no folders, and asking each time would cost them a request; some file systems have.
            self.system.makedirs(place.rpartition("/")[0], exist_ok=True)
            write(place)

    def append(self, name: str, data: bytes) -> None:
        raise NotImplementedError(f"{name}: objects cannot grow")

    def rename(self, name: str, target: str) -> None:
        raise NotImplementedError(f"{name}: objects are whole when they appear")

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self.system.rm_file(f"{self.root}/{name}")

    def clear(self) -> None:
        self.system.invalidate_cache(self.root)
        with suppress(FileNotFoundError):
            self.system.rm(self.root, recursive=True)

    def exists(self, name: str) -> bool:
        self.system.invalidate_cache(f"{self.root}/{name}".rpartition("/")[0])
        return bool(self.system.exists(f"{self.root}/{name}"))

    def close(self) -> None:
        pass


def open_shelf(place: str | Path) -> Shelf:
    """Open the shelf at a path, or at an address of fsspec.

    Raises:
        ImportError, OSError: the file system's library is not installed, or refuses the login.
    """
    address = find_address(place)
    if address is None or address.startswith("file://"):
        return _Folder(Path(str(place) if address is None else address.removeprefix("file://")))
    return _Objects(address)
