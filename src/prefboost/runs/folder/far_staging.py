"""Finished parts that wait at an address, where processes of many machines put them and none can rename or lock.

Every part has a file of its own, which describes it, in the place of a line of a journal. A killed command finds them
there. What makes parts equal is their key, so that two commands at once waste work and do no other harm.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prefboost.addresses import find_address, format_place
from prefboost.errors import Place, RunError
from prefboost.runs.folder.staging import (
    JOURNAL,
    Staging,
    describe_file,
    list_damaged,
    locate_staging,
    open_staging,
    read_parts,
)
from prefboost.shelf import Shelf, open_shelf
from prefboost.sources.readers.remote import explain_far, path_exists

__all__ = [
    "FarStaging",
    "check_bytes",
    "fetch_part",
    "fill_folder",
    "list_damaged_parts",
    "open_far_staging",
    "put_whole",
    "read_finished_parts",
]

_KEY = "key.json"
_PART = re.compile(r"\d+\.json")
_READERS = 16
"""Descriptions that are read at the same time: each costs one request."""


class FarStaging(Staging):
    """An open staging folder at an address.

    Args:
        place: the address.
        scratch: folder of this machine, in which parts are written before they are put at the address.
        key, entries, deleted_parts: see `Staging`.
    """

    def __init__(
        self, place: Path, scratch: Path, key: str, entries: dict[int, dict[str, Any]], *, deleted_parts: int = 0
    ) -> None:
        super().__init__(scratch, key, entries, deleted_parts=deleted_parts)
        self.address = place
        self.shelf = open_shelf(place)

    @property
    def place(self) -> Path:
        """See `Staging.place`."""
        return self.address

    def add_described(self, number: int, files: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """See `Staging.add_described`; files that lie on this machine are put at the address and deleted here."""
        for described in files.values():
            local = self.path / described["name"]
            if local.exists():
                self.shelf.put(local, described["name"])
                local.unlink()
        entry = {"part": number, "files": dict(files), **notes}
        text = json.dumps(entry)
        self.shelf.write(f"{number:06d}.json", text.encode())
        self.entries[number] = json.loads(text)

    def discard(self) -> None:
        """See `Staging.discard`."""
        for number in list(self.entries):
            self.shelf.remove(f"{number:06d}.json")
            for described in self.entries.pop(number)["files"].values():
                self.shelf.remove(described["name"])
        self.resumed_parts = 0

    def note(self, name: str, value: Any) -> None:
        """See `Staging.note`."""
        self.shelf.write(f"{name}.json", json.dumps(value).encode())

    def read_note(self, name: str) -> Any:
        """See `Staging.read_note`."""
        return _read_json(self.shelf, f"{name}.json")

    def files(self, what: str) -> list[Path]:
        """See `Staging.files`: places at the address."""
        return [self.address / path.name for path in super().files(what)]

    def fetch(self, what: str) -> list[Path]:
        """See `Staging.fetch`."""
        ordered = (self.entries[number]["files"] for number in sorted(self.entries))
        return [fetch_part(self.shelf, files[what], self.path, self.address) for files in ordered if what in files]

    def seal(self) -> None:
        """Write the journal, by which `read_finished_parts` knows that all parts are there."""
        lines = [{"key": self.key}, *(self.entries[number] for number in sorted(self.entries))]
        self.shelf.write(JOURNAL, "".join(json.dumps(line) + "\n" for line in lines).encode())


@contextlib.contextmanager
def open_far_staging(place: Path, key: str) -> Iterator[FarStaging]:
    """Open the staging folder at an address: finished parts of the same key are kept, others thrown away.

    Raises:
        RunError: something else stands there, or the file system refuses.
    """
    with explain_far(place), tempfile.TemporaryDirectory(prefix="prefboost-") as scratch:
        shelf = open_shelf(place)
        entries = _read_entries(shelf)
        header = _read_json(shelf, _KEY)
        if header is None and (entries or shelf.list_files("") or shelf.exists("")):
            raise RunError(
                "this place is needed for parts, but prefboost did not write what stands there",
                remedy="move it away, or give another output with -o",
                place=Place(format_place(place)),
            )
        deleted_parts = 0
        if header != {"key": key}:
            deleted_parts, entries = len(entries), {}
            shelf.clear()
            shelf.write(_KEY, json.dumps({"key": key}).encode())
        staging = FarStaging(place, Path(scratch), key, entries, deleted_parts=deleted_parts)
        try:
            yield staging
        except BaseException:
            # An input that cannot be read leaves nothing behind; whatever took work to make stays.
            if not staging.entries and set(shelf.list_files("")) <= {_KEY}:
                shelf.clear()
            raise


def fill_folder(place: Path, key: str, fill: Callable[[Staging], object]) -> dict[int, dict[str, Any]]:
    """Make a folder of finished parts, unless it is there; the same call resumes.

    Args:
        place: a path, or an address.
        key: fingerprint of everything that the parts depend on.
        fill: makes the parts that an open staging folder lacks.

    Returns:
        the parts by number.

    Raises:
        RunError: something else stands there, or another process makes the same folder.
    """
    is_far = find_address(place) is not None
    refusal = RunError(
        "a shard of other settings or another input stands here",
        remedy="move it away",
        place=Place(format_place(place)),
    )
    # At an address nothing can be renamed: there a journal tells that all parts have come.
    if not path_exists(place / JOURNAL):
        if not is_far and place.exists():
            raise refusal
        with open_far_staging(place, key) if is_far else open_staging(place, key) as staging:
            fill(staging)
            if isinstance(staging, FarStaging):
                staging.seal()
        if not is_far:
            locate_staging(place).rename(place)
    found_key, entries = read_finished_parts(place)
    if found_key != key:
        raise refusal
    return entries


def read_finished_parts(place: Path) -> tuple[str | None, dict[int, dict[str, Any]]]:
    """Read key and parts of a folder of finished parts, here or at an address.

    Parts whose files are damaged are left out: on this machine by their checksums, at an address by their sizes, since
    whoever fetches them compares the checksums.
    """
    if find_address(place) is None:
        return read_parts(place)
    with explain_far(place):
        shelf = open_shelf(place)
        try:
            header, *lines = (json.loads(line) for line in shelf.read(JOURNAL).splitlines())
        except FileNotFoundError:
            return None, {}
        sizes = shelf.list_files("")
    return header.get("key"), {line["part"]: line for line in lines if _has_sizes(line, sizes)}


def fetch_part(shelf: Shelf, described: Mapping[str, Any], folder: Path, place: Path) -> Path:
    """Copy one file of a part to a folder of this machine.

    Raises:
        RunError: its bytes are not those that were described.
    """
    content = shelf.read(described["name"])
    if not check_bytes(content, described):
        raise RunError(
            f"the part {described['name']} is damaged: its checksum differs",
            remedy="delete it, and run the command again that made it",
            place=Place(format_place(place)),
        )
    target = folder / str(described["name"])
    target.write_bytes(content)
    return target


def list_damaged_parts(
    place: Path, files: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int] | None = None
) -> list[str]:
    """List the files of a part, here or at an address, that are missing or not as they were described.

    Args:
        place: the folder.
        files: as they were described.
        sizes: of all files at the address, where these are enough; None: the bytes are read and compared.
    """
    if find_address(place) is None:
        return list_damaged(place, files)
    if sizes is not None:
        return [str(each["name"]) for each in files.values() if sizes.get(each["name"]) != each["bytes"]]
    shelf = open_shelf(place)
    damaged = []
    for described in files.values():
        with contextlib.suppress(FileNotFoundError):
            if check_bytes(shelf.read(described["name"]), described):
                continue
        damaged.append(str(described["name"]))
    return damaged


def put_whole(place: Path, write: Callable[[Path], object]) -> dict[str, Any]:
    """Write a file aside, put it in its place whole, and describe it: another node may be writing the same one."""
    is_far = find_address(place) is not None
    with tempfile.TemporaryDirectory(dir=None if is_far else place.parent, prefix="part-") as folder:
        path = Path(folder) / place.name
        write(path)
        described = describe_file(path)
        if is_far:
            open_shelf(place.parent).put(path, place.name)
        else:
            path.replace(place)
    return described


def check_bytes(content: bytes, described: Mapping[str, Any]) -> bool:
    """Tell whether bytes are those of a file as `prefboost.runs.folder.staging.describe_file` describes it."""
    size, checksum = int(described["bytes"]), int(described["crc32"])
    return len(content) == size and zlib.crc32(content) == checksum


def _read_entries(shelf: Shelf) -> dict[int, dict[str, Any]]:
    sizes = shelf.list_files("")
    names = sorted(name for name in sizes if _PART.fullmatch(name))
    with ThreadPoolExecutor(_READERS, thread_name_prefix="entries") as readers:
        read = readers.map(lambda name: _read_json(shelf, name), names)
    return {entry["part"]: entry for entry in read if entry is not None and _has_sizes(entry, sizes)}


def _has_sizes(entry: Mapping[str, Any], sizes: Mapping[str, int]) -> bool:
    return all(sizes.get(file["name"]) == file["bytes"] for file in entry["files"].values())


def _read_json(shelf: Shelf, name: str) -> Any:
    try:
        return json.loads(shelf.read(name))
    except FileNotFoundError:
        return None
