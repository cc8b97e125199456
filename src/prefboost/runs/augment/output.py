"""The output of `augment`: a folder or a single file, its manifest and its card; and whether it is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from prefboost import __version__
from prefboost.addresses import find_address, format_place
from prefboost.errors import Place, RunError, SettingsError
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.runs.augment.report import ALL, AugmentFacts, PartCounts, list_source_settings, sum_steps, write_card
from prefboost.runs.augment.settings import Augment, AugmentReport, Reject
from prefboost.runs.folder.manifest import hash_path, hash_values, list_input_files
from prefboost.runs.folder.staging import (
    Staging,
    carry_over,
    clear_staging,
    link,
    locate_staging,
    open_staging,
    remove,
    replace_folder,
)
from prefboost.sources import InMemory, Source
from prefboost.sources.write import shape
from prefboost.sources.writers.exports import find_export
from prefboost.sources.writers.file_types import FILE_TYPES, FileType, find_file_type
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.tables import REJECTS, Table

__all__ = ["MANIFEST", "Output", "count_records", "name_source"]

MANIFEST = "prefboost.json"
_BESIDE = ("card.md", MANIFEST, "rejects.parquet")
"""Endings of the files beside a single file, behind its name."""

_NOT_WRITTEN = (".csv", ".tsv", ".json", ".ndjson", ".arrow", ".txt", ".gz", ".zst")


@dataclass(frozen=True)
class Output:
    """A folder, or one file with its card, manifest and rejects beside it."""

    path: Path
    kind: FileType
    single: bool
    about: AugmentFacts
    key: str
    files: tuple[Path, ...] = ()
    executor: str = ""

    @property
    def parts_key(self) -> str:
        """Fingerprint of unfinished parts: executors number them differently."""
        return hash_values(self.key, self.executor) if self.executor else self.key

    @classmethod
    def at(cls, path: Path, settings: Augment, source: str | Path | Source, *, in_place: bool = False) -> Output:
        """Describe the output at a path.

        Args:
            path: of a folder or file, or an address.
            settings, source: of `augment`.
            in_place: an input at an address is read through for its fingerprint, instead of being fetched.

        Raises:
            DataError, SettingsError: its name asks for a type that is not written or that the trainer does not load, or
                for another than ``file_type``.
            RunError: it is an input, or lies around or inside one.
        """
        path = path.expanduser()
        if path.is_symlink() or path.name in ("", ".."):
            path = path.resolve()  # what a link points to is replaced, not the link; and "." has no name to build on
        single = any(path.name.endswith(f".{ending}") for ending in FILE_TYPES)
        if not single and path.suffix in _NOT_WRITTEN and not path.is_dir():
            find_file_type(path)
        kind = find_file_type(path) if single else FILE_TYPES[settings.file_type or "parquet"]
        if single and settings.file_type not in (None, kind.ending):
            raise SettingsError(
                f"file_type is {settings.file_type}, but the output's name ends in .{kind.ending}",
                remedy="leave file_type out, or rename the output",
            )
        find_export(settings.format).refuse_ending(kind.ending, single=single)
        if single and settings.test_share:
            raise SettingsError("a single file cannot hold a test split", remedy="write a folder: -o FOLDER")
        name = name_source(source)
        files = [Path(name)] if in_place and find_address(name) else list_input_files(name)
        beside = [path.with_name(f"{path.name}.{name}") for name in _BESIDE] if single else []
        inputs = [source, settings.tokenizer, *settings.decontaminate]
        refuse_inputs([path, *beside, locate_staging(path)], [source], inputs, far=find_address(path) is not None)
        contents = (
            [source.hash_content()]
            if isinstance(source, InMemory)
            else [hash_path(file, in_place=True) for file in files]
        )
        print_of_input = hash_values(name, contents)
        versions = (__version__, metadata.version("polars"))
        benchmarks = [hash_path(path) for path in settings.decontaminate]
        data = list_source_settings(source)
        key = hash_values(
            settings.model_dump(mode="json"), benchmarks, print_of_input, name, data, versions, kind.ending, single
        )
        about = AugmentFacts(name, print_of_input, path.name, single, settings, data, kind.ending)
        return cls(path, kind, single, about, key, tuple(files))

    def read_finished(self) -> AugmentReport | None:
        """Return the report of the same output where it is already there, else None."""
        manifest = self.read_manifest()
        if manifest.get("key") != self.key or self.measure(manifest["files"]) != manifest["files"]:
            return None
        report = manifest["report"]
        rejects, left_out = (tuple(Reject(**each) for each in report.pop(name)) for name in ("rejects", "left_out"))
        report["findings"] = tuple(report.get("findings", ()))
        here = {"out": str(self.path), "rejects_path": report["rejects_path"] and self.rejects_path}
        return AugmentReport(**{**report, **here}, rejects=rejects, left_out=left_out, skipped=True)

    def refuse_existing(self, overwrite: bool) -> None:
        """Raise where something stands at the output's place that may not be replaced.

        Args:
            overwrite: what `augment` wrote may be replaced; nothing else ever is.

        Raises:
            RunError: names what differs, or the files that prefboost did not write.
        """
        existing = self.list_existing()
        if not existing:
            return
        manifest = self.read_manifest()
        if overwrite and manifest:
            # Files that would be overwritten, or read as data of the new output, must be in the manifest.
            ours = {*manifest["files"], self.beside(MANIFEST)}
            taken = "" if self.single else ("data/", "README.md", "rejects.parquet", "dataset_info.json")
            strange = [name for name in existing if name not in ours and name.startswith(taken)]
            if strange:
                raise RunError(
                    f"{strange[0]} was not written by prefboost augment, but would be replaced or read as new data",
                    remedy="move it away, or give another -o",
                    place=Place(format_place(self.path)),
                )
            return
        old, new = manifest.get("settings", {}), self.about.settings.model_dump(mode="json")
        differ = [name for name in new if old.get(name) != new[name]] if manifest else []
        differ += ["data"] if manifest and manifest.get("data", {}) != self.about.data else []
        origin = "it was not made by prefboost augment" if not manifest else "it was made of another input or version"
        why = f"it was made with other settings: {', '.join(differ)}" if differ else origin
        raise RunError(
            f"the output exists: {why}",
            remedy="give another -o, or --overwrite to replace it"
            if manifest
            else "give another -o, or move it away: --overwrite replaces only what prefboost augment wrote",
            place=Place(format_place(self.path)),
        )

    def list_existing(self) -> list[str]:
        """List what stands at the output's place: names of files in its folder, or beside a single file."""
        if self.single or self.path.is_file():
            names = (self.path.name, *map(self.beside, _BESIDE if self.single else ()))
            return [name for name in names if self.path.with_name(name).exists()]
        if not self.path.is_dir():
            return []
        return _list_files(self.path) or [path.name for path in self.path.iterdir()]

    def measure(self, names: Iterable[str]) -> dict[str, int]:
        """Measure the bytes of files of the output; those that are missing are left out."""
        base = self.path.parent if self.single else self.path
        return {name: (base / name).stat().st_size for name in names if (base / name).is_file()}

    def refuse_file(self, fault: str) -> None:
        """Raise where the output is a single file."""
        if self.single:
            raise RunError(fault, remedy="-o FOLDER", place=Place(str(self.path)))

    def records_total(self) -> int | None:
        """Count the input's records where its files tell cheaply, else None; estimate them for plain JSON lines."""
        return count_records(self.files)

    def by_split(self, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield the rows of each split; a single file holds them all."""
        if self.single or "split" not in frame.columns:
            yield (ALL if self.single else "train"), frame
            return
        names = frame["split"].fill_null("train").str.replace_all(r"\W+", "_").str.to_lowercase()
        splits = names.unique(maintain_order=True).to_list()
        for name in splits:
            yield name or "train", frame if len(splits) == 1 else frame.filter(names == name)

    def write_part(self, number: int, table: Table, folder: Path) -> tuple[dict[str, Path], PartCounts]:
        """Write the goal pairs of a part and its rejects.

        Returns:
            what a file holds -> the file; and the counts.
        """
        export = find_export(self.about.settings.format)
        files: dict[str, Path] = {}
        splits: dict[str, int] = {}
        rejects, trimmed = [table.rejects], 0
        for split, frame in self.by_split(table.frame):
            shaped = shape(frame, export, self.kind, path=table.path)
            rejects.append(shaped.rejects)
            trimmed += shaped.trimmed
            if shaped.frame.height:
                path = folder / f"{number:06d}.{split}"
                (self.kind.write_piece if self.single else self.kind.write)(shaped.frame, path)
                files[f"data {split}"], splits[split] = path, shaped.frame.height
        aside = pl.concat(rejects)
        if aside.height:
            files["rejects"] = folder / f"{number:06d}.rejects"
            aside.write_parquet(files["rejects"])
        counts = PartCounts.of_table(replace(table, rejects=aside), sum(splits.values()), splits, trimmed)
        return files, counts

    @contextmanager
    def open_staging(self) -> Iterator[Staging]:
        """Open the folder where finished parts wait; see `prefboost.runs.folder.staging.open_staging`."""
        with open_staging(self.path, self.parts_key) as staging:
            yield staging

    def publish(self, staging: Staging, report: AugmentReport, parts: Sequence[PartCounts], goals: StatedGoals) -> None:
        """Put the parts, the card, the manifest and the rejects in their place; a kill leaves all or nothing."""
        final = staging.path / "final"
        remove(final)
        final.mkdir()
        for name, part in self.write_final(final, staging, report, parts, goals).items():
            link(part, final / name)
        if not self.single:
            if self.path.is_dir():
                written = {*self.read_manifest().get("files", ()), MANIFEST}
                carry_over([name for name in _list_files(self.path) if name not in written], self.path, final)
            replace_folder(final, self.path)
            return
        remove(self._aside("rejects.parquet"))
        remove(self._aside(MANIFEST))
        for path in sorted(final.iterdir(), key=lambda each: each.name.endswith(MANIFEST)):
            path.replace(self.path.with_name(path.name))

    def write_final(
        self, final: Path, staging: Staging, report: AugmentReport, parts: Sequence[PartCounts], goals: StatedGoals
    ) -> dict[str, Path]:
        """Write every file of the output but the data of a folder, whose parts are not read again.

        Returns:
            the name of each data file -> the part whose bytes it has.
        """
        moved: dict[str, Path] = {}
        if self.single:
            self.kind.join(staging.fetch(f"data {ALL}"), final / self.path.name)
            patterns = {ALL: self.path.name}
        else:
            patterns, moved = self._name_parts(staging, final)
        rejects = staging.fetch("rejects")
        if rejects:
            frame = pl.scan_parquet(rejects, glob=False)
            frame.sink_parquet(final / self.beside("rejects.parquet"), maintain_order=True)
        elif not self.single:
            pl.DataFrame(schema=REJECTS).write_parquet(final / "rejects.parquet")
        card = write_card(self.about, report, parts, goals.say, patterns)
        (final / self.beside("card.md" if self.single else "README.md")).write_text(card, encoding="utf-8")
        sizes = {described["name"]: described["bytes"] for described in staging.list_described()}
        files = {name: sizes[part.name] for name, part in moved.items()}
        files |= {str(path.relative_to(final)): path.stat().st_size for path in final.rglob("*") if path.is_file()}
        manifest = self._manifest(dict(sorted(files.items())), report, parts, goals)
        (final / self.beside(MANIFEST)).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
        return moved

    def clear(self) -> None:
        """Delete the staging folder."""
        clear_staging(self.path)

    @property
    def rejects_path(self) -> str:
        """Where the rows stand that were set aside."""
        return format_place(self._aside("rejects.parquet"))

    def _name_parts(self, staging: Staging, final: Path) -> tuple[dict[str, str], dict[str, Path]]:
        """Name the data files of a folder, and write what a trainer wants beside them.

        Returns:
            split -> pattern of its files; name of a file -> its part.
        """
        kinds = sorted({what for entry in staging.entries.values() for what in entry["files"] if what != "rejects"})
        export, patterns = find_export(self.about.settings.format), {}
        own_folders = export.folder_per_split and len(kinds) > 1
        moved: dict[str, Path] = {}
        for what in kinds:
            split, parts = what.removeprefix("data "), staging.files(what)
            folder = f"data/{split}" if own_folders else "data"
            for number, part in enumerate(parts):
                moved[f"{folder}/{split}-{number:05d}-of-{len(parts):05d}.{self.kind.ending}"] = part
            patterns[split] = f"{folder}/{split}-*"
        folders = {split: pattern.rpartition("/")[0] for split, pattern in patterns.items()}
        for name, text in export.companions(folders if own_folders else "data").items():
            (final / name).write_text(text, encoding="utf-8")
        return patterns, moved

    def beside(self, name: str) -> str:
        """Return the name of a file of the output that is no data: in its folder, or beside a single file."""
        return f"{self.path.name}.{name}" if self.single else name

    def _aside(self, name: str) -> Path:
        return self.path.with_name(self.beside(name)) if self.single else self.path / name

    def read_manifest(self) -> dict[str, Any]:
        """Read the manifest of what stands at the output's place; empty where `augment` did not write it."""
        try:
            manifest = json.loads(self.read_file(MANIFEST))
        except (OSError, ValueError):
            return {}
        return manifest if isinstance(manifest, dict) and "report" in manifest else {}

    def read_file(self, name: str) -> bytes:
        """Read a file of the output that is no data."""
        return self._aside(name).read_bytes()

    def _manifest(
        self, files: Mapping[str, int], report: AugmentReport, parts: Sequence[PartCounts], goals: StatedGoals
    ) -> dict[str, Any]:
        scales = goals.record()["scales"]
        # Parts may have been made with a scale that gave no reason yet, since only the whole input tells it.
        steps = [
            {**step, "settings": scales[""]} if step["verb"] == "scale" and "" in scales else step
            for step in sum_steps(parts)
        ]
        runtime = ("seconds", "parts", "parts_found", "skipped", "messages", "address")
        return {
            "prefboost": __version__,
            "key": self.key,
            "command": report.command,
            "source": self.about.source,
            "data": dict(self.about.data),
            "input_fingerprint": self.about.fingerprint,
            "settings": self.about.settings.model_dump(mode="json"),
            "condition": goals.say.model_dump(mode="json"),
            "scales": scales,
            "guess": report.guess,
            "steps": steps,
            "versions": {name: metadata.version(name) for name in ("polars", "pyarrow")},
            "files": dict(files),
            "report": {
                **{name: value for name, value in report.as_json().items() if name not in runtime},
                "out": self.path.name,
                "rejects_path": report.rejects_path and Path(report.rejects_path).name,
            },
        }


def count_records(files: Sequence[Path]) -> int | None:
    """Count the records of files where they tell cheaply, else None; estimate them for plain JSON lines."""
    counts = [_count_records(path) for path in files]
    return sum(count or 0 for count in counts) if counts and None not in counts else None


def name_source(source: str | Path | Source) -> str:
    """Name a source as the user named it: by its path, else its kind."""
    if isinstance(source, str | Path):
        return str(source)
    return str(getattr(source, "path", None) or getattr(source, "kind", type(source).__name__))


def _count_records(path: Path) -> int | None:
    try:
        if path.suffix in (".parquet", ".pq"):
            return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
        if path.suffix in (".jsonl", ".ndjson"):
            with path.open("rb") as stream:
                head = stream.read(1 << 20)
            return max(1, round(path.stat().st_size * head.count(b"\n") / max(1, len(head))))
    except (OSError, pl.exceptions.PolarsError):
        return None
    return None


def _list_files(folder: Path) -> list[str]:
    """List files and links below a folder by their relative paths."""
    entries = [
        (Path(at) / name).relative_to(folder).as_posix()
        for at, folders, files in os.walk(folder)
        for name in (*files, *(each for each in folders if (Path(at) / each).is_symlink()))
    ]
    return sorted(entries)
