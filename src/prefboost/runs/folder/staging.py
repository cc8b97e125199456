"""A place beside an output where finished parts wait until all are there.

The journal has one line for each finished part. Killed at any moment, the same command finds the parts it finished and
goes on; the output itself appears whole, by one rename, or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prefboost.atomic import write_atomically
from prefboost.errors import Place, RunError
from prefboost.locks import LockHeldError, hold_lock

__all__ = [
    "Staging",
    "link_kept_files",
    "clear_staging",
    "describe_file",
    "link",
    "list_damaged",
    "open_staging",
    "read_parts",
    "remove",
    "replace_folder",
    "locate_staging",
]

JOURNAL = "journal.jsonl"
_REPLACED = "replaced"


class Staging:
    """An open staging folder.

    Args:
        path: the folder.
        key: fingerprint of everything that the parts depend on.
        entries: finished parts by number, as their makers described them.
        deleted_parts: number of parts of another key that were deleted on opening.

    ``resumed_parts`` is the number of parts that an earlier call had finished.
    """

    def __init__(self, path: Path, key: str, entries: dict[int, dict[str, Any]], *, deleted_parts: int = 0) -> None:
        self.path = path
        self.key = key
        self.entries = entries
        self.deleted_parts = deleted_parts
        self.resumed_parts = len(entries)

    @property
    def place(self) -> Path:
        """Where other processes find the parts: a path, or an address as a path."""
        return self.path.absolute()

    def add(self, number: int, files: Mapping[str, Path], notes: Mapping[str, Any]) -> None:
        """Note a part as finished: its files are written and have their final names within the folder."""
        self.add_described(number, {what: describe_file(path) for what, path in files.items()}, notes)

    def add_described(self, number: int, files: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Note a part as finished whose files another process has written and described (`describe_file`)."""
        entry = {"part": number, "files": dict(files), **notes}
        with (self.path / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(entry) + "\n")
        self.entries[number] = json.loads(json.dumps(entry))

    def discard(self) -> None:
        """Delete all finished parts, as those of other settings are deleted on opening."""
        write_atomically(self.path / JOURNAL, json.dumps({"key": self.key}) + "\n")
        for number in list(self.entries):
            for described in self.entries.pop(number)["files"].values():
                remove(self.path / described["name"])
        self.resumed_parts = 0

    def note(self, name: str, value: Any) -> None:
        """Keep something that is costly to find out again, e.g. fitted scales."""
        write_atomically(self.path / f"{name}.json", json.dumps(value))

    def read_note(self, name: str) -> Any:
        """Read what `note` wrote; None where it wrote nothing."""
        path = self.path / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def files(self, what: str) -> list[Path]:
        """List files of one kind, in order of the parts."""
        ordered = (self.entries[number]["files"] for number in sorted(self.entries))
        return [self.path / files[what]["name"] for files in ordered if what in files]

    def list_described(self) -> Iterator[Mapping[str, Any]]:
        """List names, sizes and checksums of the files of all parts."""
        for entry in self.entries.values():
            yield from entry["files"].values()

    def fetch(self, what: str) -> list[Path]:
        """List the same files where this process can open them."""
        return self.files(what)


def locate_staging(out: Path) -> Path:
    """Return the folder where the parts of an output wait."""
    return out.with_name(f".{out.name}.partial")


@contextlib.contextmanager
def open_staging(out: Path, key: str) -> Iterator[Staging]:
    """Open the staging folder of an output: finished parts of the same key are kept, others thrown away.

    Raises:
        RunError: another process is writing the same output, or the folder cannot be made.
    """
    folder = locate_staging(out)
    if folder.is_dir() and any(folder.iterdir()) and not _is_staging(folder):
        raise RunError(
            f"the folder {folder} is needed for parts, but prefboost did not write its content",
            remedy="move it away, or give another output with -o",
            place=Place(str(out)),
        )
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold_lock(folder / "lock", wait=False, optional=True))
        except LockHeldError:
            raise RunError(
                "another process is writing this output",
                remedy="wait for it, or give another -o",
                place=Place(str(out)),
            ) from None
        except OSError as error:
            raise RunError(
                f"cannot write here: {error.strerror}",
                remedy="give another output with -o",
                place=Place(str(out.parent)),
            ) from None
        # Undo half a replacement: a kill came after the old output was moved away and before the new one stood there.
        old = folder / _REPLACED
        if old.exists() and not out.exists():
            old.rename(out)
        header, entries = _read_journal(folder)
        deleted_parts = 0
        if header.get("key") != key:
            deleted_parts = len(entries)
            for path in folder.iterdir():
                if path.name != "lock":
                    remove(path)
            (folder / JOURNAL).write_text(json.dumps({"key": key}) + "\n", encoding="utf-8")
            entries = {}
        else:
            # Without the line that a kill cut off, behind which the next part would be written.
            lines = [json.dumps(line) for line in (header, *entries.values())]
            write_atomically(folder / JOURNAL, "\n".join(lines) + "\n")
        try:
            yield Staging(folder, key, entries, deleted_parts=deleted_parts)
        except BaseException:
            # An input that cannot be read leaves nothing behind; whatever took work to make stays.
            if not entries and {path.name for path in folder.iterdir()} <= {JOURNAL, "lock"}:
                remove(folder)
            raise


def read_parts(folder: Path) -> tuple[str | None, dict[int, dict[str, Any]]]:
    """Read the key of a staging folder and its finished parts by number; parts whose files are damaged are left out."""
    header, entries = _read_journal(folder)
    return header.get("key"), entries


def replace_folder(new: Path, out: Path) -> None:
    """Put a folder in the place of another, which waits in the staging folder until it is deleted with that.

    A kill in between leaves the old folder there; `open_staging` puts it back.
    """
    old = locate_staging(out) / _REPLACED
    old.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        remove(old)
        out.rename(old)
    new.rename(out)
    remove(old)
    with contextlib.suppress(OSError):
        old.parent.rmdir()  # only where nothing else waits there


def link_kept_files(names: Iterable[str], old: Path, new: Path) -> None:
    """Give a new folder the files of an old one that nobody but their owner may delete: second names for the same
    bytes, so that a kill loses nothing.

    Args:
        names: of files and links, relative to the folder.
        old: the folder that holds them.
        new: the folder that replaces it.
    """
    for name in names:
        source, target = old / name, new / name
        if source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.readlink())
        else:
            link(source, target)


def clear_staging(out: Path) -> None:
    """Delete the staging folder of an output that is finished, if there is one and it is ours."""
    folder = locate_staging(out)
    if folder.is_dir() and _is_staging(folder):
        remove(folder)


def remove(path: Path) -> None:
    """Delete a file, link or folder, if there is one; what a link points to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """Give bytes a second name: a hard link where the disk has them, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _read_journal(folder: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Read the key's line and the parts whose files are as they were written; leave out a line that a kill cut off."""
    try:
        text = (folder / JOURNAL).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}, {}
    whole, _, _ = text.rpartition("\n")
    lines = []
    for line in whole.split("\n"):
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    if not lines or not isinstance(lines[0], dict):
        return {}, {}

    return lines[0], {entry["part"]: entry for entry in lines[1:] if not list_damaged(folder, entry["files"])}


def list_damaged(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """List the files of a part that are missing or not as they were described (`describe_file`)."""

    def is_intact(described: Mapping[str, Any]) -> bool:
        try:
            return describe_file(folder / described["name"]) == described
        except OSError:
            return False

    return [str(described["name"]) for described in files.values() if not is_intact(described)]


def describe_file(path: Path) -> dict[str, Any]:
    """Return name, size and checksum of a file."""
    check = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            check = zlib.crc32(block, check)
    return {"name": path.name, "bytes": path.stat().st_size, "crc32": check}


def _is_staging(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("lock", JOURNAL, _REPLACED))
