"""The place of a verb's output: a folder, or a single file with others beside it; and whether it is finished.

A manifest names the files with their sizes and checksums, and the key: a fingerprint of all that they depend on. The
same command finds its own output by that, and nothing else is ever replaced.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from prefboost import __version__
from prefboost.addresses import find_address, format_place
from prefboost.errors import Place, RunError, SettingsError
from prefboost.runs.folder.manifest import hash_path, hash_values, list_input_files
from prefboost.runs.folder.staging import (
    Staging,
    clear_staging,
    describe_file,
    link,
    link_kept_files,
    locate_staging,
    open_staging,
    remove,
    replace_folder,
)
from prefboost.sources import InMemory, Source
from prefboost.sources.readers.remote import list_far_files
from prefboost.sources.writers.file_types import FILE_TYPES, FileType, find_file_type, names_single_file

__all__ = [
    "BESIDE",
    "MANIFEST",
    "OutputPlace",
    "decide_file_type",
    "divide_by_split",
    "explain_write_faults",
    "hash_source",
    "join_rejects",
    "name_part_files",
    "name_source",
    "write_manifest",
]

MANIFEST = "prefboost.json"
BESIDE = ("card.md", MANIFEST, "rejects.parquet")
"""Endings of the files beside a single file, behind its name."""

_READ_AS_DATA = ("data/", "README.md", "rejects.parquet", "dataset_info.json")
_NOT_WRITTEN = (".csv", ".tsv", ".json", ".ndjson", ".arrow", ".txt", ".gz", ".zst")
_FULL = (errno.ENOSPC, errno.EDQUOT)

WriteFinal = Callable[[Path], Mapping[str, Path]]
"""Writes the files of an output into a folder; returns the name of each further file -> the part whose bytes it has."""


@dataclass(frozen=True)
class OutputPlace:
    """A folder, or one file with its card, manifest and rejects beside it.

    Args:
        verb: that writes it.
        path: of the folder or file.
        single: whether it is one file.
        key: fingerprint of everything that the output depends on.
        executor: of its parts, where it numbers them differently than one process does.
    """

    verb: str
    path: Path
    single: bool
    key: str
    executor: str = ""

    @property
    def parts_key(self) -> str:
        """Fingerprint of unfinished parts."""
        return hash_values(self.key, self.executor) if self.executor else self.key

    def read_report(self) -> dict[str, Any] | None:
        """Read the report of the same output where it is already there, else None."""
        manifest = self.read_manifest()
        if manifest.get("key") != self.key or self.measure(manifest["files"]) != manifest["files"]:
            return None
        report: dict[str, Any] = manifest["report"]
        return report

    def refuse_existing(self, settings: Mapping[str, Any], data: Mapping[str, Any], *, overwrite: bool) -> None:
        """Raise where something stands at the place that may not be replaced.

        Args:
            settings: of the verb, as JSON values.
            data: settings of the source.
            overwrite: what the verb wrote may be replaced; nothing else ever is.

        Raises:
            RunError: names what differs, or the files that prefboost did not write.
        """
        existing = self.list_existing()
        if not existing:
            return
        manifest, verb = self.read_manifest(), f"prefboost {self.verb}"
        if overwrite and manifest:
            # Files that would be overwritten, or read as data of the new output, must be in the manifest.
            ours = {*manifest["files"], self.beside(MANIFEST)}
            taken = "" if self.single else _READ_AS_DATA
            strange = [name for name in existing if name not in ours and name.startswith(taken)]
            if strange:
                raise RunError(
                    f"{strange[0]} was not written by {verb}, but would be replaced or read as new data",
                    remedy="move it away, or give another -o",
                    place=Place(format_place(self.path)),
                )
            return
        old = manifest.get("settings", {})
        differ = [name for name in settings if old.get(name) != settings[name]] if manifest else []
        differ += ["data"] if manifest and manifest.get("data", {}) != data else []
        origin = f"it was not made by {verb}" if not manifest else "it was made of another input or version"
        why = f"it was made with other settings: {', '.join(differ)}" if differ else origin
        raise RunError(
            f"the output exists: {why}",
            remedy="give another -o, or --overwrite to replace it"
            if manifest
            else f"give another -o, or move it away: --overwrite replaces only what {verb} wrote",
            place=Place(format_place(self.path)),
        )

    def list_existing(self) -> list[str]:
        """List what stands at the place: names of files in its folder, or beside a single file."""
        if self.single or self.path.is_file():
            names = (self.path.name, *map(self.beside, BESIDE if self.single else ()))
            return [name for name in names if self.path.with_name(name).exists()]
        if not self.path.is_dir():
            return []
        return _list_files(self.path) or [path.name for path in self.path.iterdir()]

    def measure(self, names: Iterable[str]) -> dict[str, int]:
        """Measure the bytes of files of the output; those that are missing are left out."""
        base = self.path.parent if self.single else self.path
        return {name: (base / name).stat().st_size for name in names if (base / name).is_file()}

    def read_manifest(self) -> dict[str, Any]:
        """Read the manifest of what stands at the place; empty where the verb did not write it."""
        try:
            manifest = json.loads(self.read_file(MANIFEST))
        except (OSError, ValueError):
            return {}
        # Only `augment` wrote manifests before they named the verb.
        is_ours = isinstance(manifest, dict) and "report" in manifest and manifest.get("verb", "augment") == self.verb
        return manifest if is_ours else {}

    def read_file(self, name: str) -> bytes:
        """Read a file of the output that is no data."""
        return self.locate(name).read_bytes()

    def beside(self, name: str) -> str:
        """Return the name of a file of the output that is no data: in its folder, or beside a single file."""
        return f"{self.path.name}.{name}" if self.single else name

    def locate(self, name: str) -> Path:
        """Return the path of a file of the output that is no data."""
        return self.path.with_name(self.beside(name)) if self.single else self.path / name

    @contextmanager
    def open_staging(self) -> Iterator[Staging]:
        """Open the folder where finished parts wait; see `prefboost.runs.folder.staging.open_staging`."""
        with open_staging(self.path, self.parts_key) as staging:
            yield staging

    def publish(self, staging: Staging, write_final: WriteFinal) -> None:
        """Put the files of the output in their place; a kill leaves all or nothing."""
        final = staging.path / "final"
        remove(final)
        final.mkdir()
        for name, part in write_final(final).items():
            link(part, final / name)
        if not self.single:
            if self.path.is_dir():
                written = {*self.read_manifest().get("files", ()), MANIFEST}
                link_kept_files([name for name in _list_files(self.path) if name not in written], self.path, final)
            replace_folder(final, self.path)
            return
        remove(self.locate("rejects.parquet"))
        remove(self.locate(MANIFEST))
        for path in sorted(final.iterdir(), key=lambda each: each.name.endswith(MANIFEST)):
            path.replace(self.path.with_name(path.name))

    def clear(self) -> None:
        """Delete the staging folder."""
        clear_staging(self.path)


def decide_file_type(path: Path, file_type: str | None) -> tuple[Path, FileType, bool]:
    """Decide by its name whether an output is a folder or one file, and the type of its files.

    Args:
        path: as the user named it.
        file_type: ending that the settings ask for; None: that of a single file's name, Parquet in a folder.

    Returns:
        the path with links resolved, the type, and whether it is a single file.

    Raises:
        DataError: the name ends in a type that is not written.
        SettingsError: the settings ask for another type than the name.
    """
    path = path.expanduser()
    if path.is_symlink() or path.name in ("", ".."):
        path = path.resolve()  # what a link points to is replaced, not the link; and "." has no name to build on
    single = names_single_file(path)
    if not single and path.suffix in _NOT_WRITTEN and not path.is_dir():
        find_file_type(path)
    kind = find_file_type(path) if single else FILE_TYPES[file_type or "parquet"]
    if single and file_type not in (None, kind.ending):
        raise SettingsError(
            f"file_type is {file_type}, but the output's name ends in .{kind.ending}",
            remedy="leave file_type out, or rename the output",
        )
    return path, kind, single


def name_source(source: str | Path | Source) -> str:
    """Name a source as the user named it: by its path, else its kind."""
    if isinstance(source, str | Path):
        return str(source)
    return str(getattr(source, "path", None) or getattr(source, "kind", type(source).__name__))


def hash_source(source: str | Path | Source, *, in_place: bool = False) -> tuple[str, tuple[Path, ...]]:
    """Hash the name and the content of a source.

    Args:
        source: of a verb.
        in_place: an input at an address is read through, instead of being fetched.

    Returns:
        the fingerprint, and the files that the source is read from.
    """
    name = name_source(source)
    address = find_address(name) if in_place else None
    files = list_input_files(name) if address is None else list_far_files(address)
    contents = (
        [source.hash_content()] if isinstance(source, InMemory) else [hash_path(file, in_place=True) for file in files]
    )
    return hash_values(name, contents), tuple(files)


def divide_by_split(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the rows of each split, under a name that a file can have; rows without one are trained on."""
    if "split" not in frame.columns:
        yield "train", frame
        return
    names = frame["split"].fill_null("train").str.replace_all(r"\W+", "_").str.to_lowercase()
    splits = names.unique(maintain_order=True).to_list()
    for name in splits:
        yield name or "train", frame if len(splits) == 1 else frame.filter(names == name)


def name_part_files(staging: Staging, ending: str, *, folder_per_split: bool = False) -> dict[str, dict[str, Path]]:
    """Name the data files of a folder, of the parts that are described as ``data SPLIT``.

    Args:
        staging: open, with all parts.
        ending: of the files.
        folder_per_split: whether several splits lie in folders of their own.

    Returns:
        split -> name of a file -> its part.
    """
    kinds = sorted({what for entry in staging.entries.values() for what in entry["files"] if what.startswith("data ")})
    named: dict[str, dict[str, Path]] = {}
    for what in kinds:
        split, parts = what.removeprefix("data "), staging.files(what)
        folder = f"data/{split}" if folder_per_split and len(kinds) > 1 else "data"
        named[split] = {
            f"{folder}/{split}-{number:05d}-of-{len(parts):05d}.{ending}": part for number, part in enumerate(parts)
        }
    return named


def join_rejects(staging: Staging, target: Path) -> bool:
    """Put the rejects of all parts into one file, in order; return whether there are any."""
    rejects = staging.fetch("rejects")
    if rejects:
        pl.scan_parquet(rejects, glob=False).sink_parquet(target, maintain_order=True)
    return bool(rejects)


def write_manifest(
    place: OutputPlace, final: Path, staging: Staging, moved: Mapping[str, Path], content: Mapping[str, Any]
) -> None:
    """Write the manifest of an output, once its other files are written.

    Args:
        place: of the output.
        final: folder with these files.
        staging: open, with the parts.
        moved: name of each further file -> the part whose bytes it has.
        content: what the manifest says besides names, sizes and checksums.
    """
    parts = {described["name"]: described for described in staging.list_described()}
    files = {name: parts[part.name] for name, part in moved.items()}
    files |= {
        path.relative_to(final).as_posix(): describe_file(path) for path in sorted(final.rglob("*")) if path.is_file()
    }
    ordered = sorted(files.items())
    manifest = {
        "prefboost": __version__,
        "verb": place.verb,
        "key": place.key,
        **content,
        "files": {name: described["bytes"] for name, described in ordered},
        "crc32": {name: described["crc32"] for name, described in ordered},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str) + "\n"
    (final / place.beside(MANIFEST)).write_text(text, "utf-8")


@contextmanager
def explain_write_faults(place: OutputPlace) -> Iterator[None]:
    """Explain what a disk refuses within the block, and that finished parts stay.

    Raises:
        RunError: the disk is full, or cannot be written.
    """
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        full = getattr(error, "errno", None) in _FULL or "No space left" in str(error)
        if not full and not isinstance(error, OSError):
            raise
        fault = "the disk is full" if full else f"cannot write: {getattr(error, 'strerror', None) or error}"
        first = "free some space" if full else "correct that"
        waiting = format_place(locate_staging(place.path))
        raise RunError(
            fault,
            remedy=f"{first} and run the same command again: it resumes after the finished parts in {waiting}",
            place=Place(format_place(place.path)),
        ) from error


def _list_files(folder: Path) -> list[str]:
    """List files and links below a folder by their relative paths."""
    entries = [
        (Path(at) / name).relative_to(folder).as_posix()
        for at, folders, files in os.walk(folder)
        for name in (*files, *(each for each in folders if (Path(at) / each).is_symlink()))
    ]
    return sorted(entries)
