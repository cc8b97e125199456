"""The output of `augment`: a folder or a single file, its manifest and its card; and whether it is finished."""

from __future__ import annotations

from collections.abc import Sequence
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
from prefboost.runs.folder.far_place import locate_place
from prefboost.runs.folder.manifest import hash_input, hash_values
from prefboost.runs.folder.output_place import (
    BESIDE,
    OutputPlace,
    decide_file_type,
    divide_by_split,
    hash_source,
    join_rejects,
    name_part_files,
    name_source,
    write_manifest,
)
from prefboost.runs.folder.staging import Staging, locate_staging
from prefboost.sources import Source
from prefboost.sources.write import shape
from prefboost.sources.writers.exports import find_export
from prefboost.sources.writers.file_types import FileType
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.tables import REJECTS, Table

__all__ = ["Output", "count_records"]


@dataclass(frozen=True)
class Output:
    """An output of `augment`: a folder, or a single file with others beside it.

    Args:
        place: of the folder or file.
        kind: type of the files.
        about: input and settings.
        files: of the input.
    """

    place: OutputPlace
    kind: FileType
    about: AugmentFacts
    files: tuple[Path, ...] = ()

    @classmethod
    def at(cls, out: str | Path, settings: Augment, source: str | Path | Source, *, in_place: bool = False) -> Output:
        """Describe the output at a path or an address.

        Args:
            out: a folder or file, or an address.
            settings, source: of `augment`.
            in_place: an input at an address is read through for its fingerprint, instead of being fetched.

        Raises:
            DataError, SettingsError: its name asks for a type that is not written or that the trainer does not load, or
                for another than ``file_type``.
            RunError: it is an input, or lies around or inside one.
        """
        path, kind, single = decide_file_type(Path(out), settings.file_type)
        find_export(settings.format).refuse_ending(kind.ending, single=single)
        if single and settings.test_share:
            raise SettingsError("a single file cannot hold a test split", remedy="write a folder: -o FOLDER")
        beside = [path.with_name(f"{path.name}.{name}") for name in BESIDE] if single else []
        inputs = [source, settings.tokenizer, *settings.decontaminate]
        refuse_inputs([path, *beside, locate_staging(path)], [source], inputs, far=find_address(path) is not None)
        name, data = name_source(source), list_source_settings(source)
        print_of_input, files = hash_source(source, in_place=in_place)
        versions = (__version__, metadata.version("polars"))
        benchmarks = [hash_input(each) for each in settings.decontaminate]
        key = hash_values(
            settings.model_dump(mode="json"), benchmarks, print_of_input, name, data, versions, kind.ending, single
        )
        about = AugmentFacts(name, print_of_input, path.name, single, settings, data, kind.ending)
        return cls(locate_place("augment", path, key, single=single), kind, about, files)

    @property
    def path(self) -> Path:
        """Path of the folder or file."""
        return self.place.path

    @property
    def single(self) -> bool:
        """Whether the output is one file."""
        return self.place.single

    def read_finished(self) -> AugmentReport | None:
        """Return the report of the same output where it is already there, else None."""
        report = self.place.read_report()
        if report is None:
            return None
        rejects, left_out = (tuple(Reject(**each) for each in report.pop(name)) for name in ("rejects", "left_out"))
        report["findings"] = tuple(report.get("findings", ()))
        here = {"out": str(self.path), "rejects_path": report["rejects_path"] and self.rejects_path}
        return AugmentReport(**{**report, **here}, rejects=rejects, left_out=left_out, skipped=True)

    def refuse_existing(self, *, overwrite: bool) -> None:
        """Raise where something stands at the output's place that may not be replaced.

        Raises:
            RunError: see `OutputPlace.refuse_existing`.
        """
        self.place.refuse_existing(self.about.settings.model_dump(mode="json"), self.about.data, overwrite=overwrite)

    def refuse_file(self, fault: str) -> None:
        """Raise where the output is a single file."""
        if self.single:
            raise RunError(fault, remedy="-o FOLDER", place=Place(str(self.path)))

    def records_total(self) -> int | None:
        """Count the input's records where its files tell cheaply, else None; estimate them for plain JSON lines."""
        return count_records(self.files)

    def write_part(self, number: int, table: Table, folder: Path) -> tuple[dict[str, Path], PartCounts]:
        """Write the goal pairs of a part and its rejects.

        Returns:
            what a file holds -> the file; and the counts.
        """
        export = find_export(self.about.settings.format)
        files: dict[str, Path] = {}
        splits: dict[str, int] = {}
        rejects, trimmed = [table.rejects], 0
        divided = [(ALL, table.frame)] if self.single else divide_by_split(table.frame)
        for split, frame in divided:
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

    def publish(self, staging: Staging, report: AugmentReport, parts: Sequence[PartCounts], goals: StatedGoals) -> None:
        """Put the parts, the card, the manifest and the rejects in their place; a kill leaves all or nothing."""
        self.place.publish(staging, lambda final: self.write_final(final, staging, report, parts, goals))

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
        if not join_rejects(staging, final / self.place.beside("rejects.parquet")) and not self.single:
            pl.DataFrame(schema=REJECTS).write_parquet(final / "rejects.parquet")
        card = write_card(self.about, report, parts, goals.say, patterns)
        name = self.place.beside("card.md" if self.single else "README.md")
        (final / name).write_text(card, encoding="utf-8")
        write_manifest(self.place, final, staging, moved, self._describe(report, parts, goals))
        return moved

    @property
    def rejects_path(self) -> str:
        """Where the rows stand that were set aside."""
        return format_place(self.place.locate("rejects.parquet"))

    def _name_parts(self, staging: Staging, final: Path) -> tuple[dict[str, str], dict[str, Path]]:
        """Name the data files of a folder, and write what a trainer wants beside them.

        Returns:
            split -> pattern of its files; name of a file -> its part.
        """
        export = find_export(self.about.settings.format)
        named = name_part_files(staging, self.kind.ending, folder_per_split=export.folder_per_split)
        folders = {split: next(iter(files)).rpartition("/")[0] for split, files in named.items()}
        for name, text in export.companions(folders if len({*folders.values()}) > 1 else "data").items():
            (final / name).write_text(text, encoding="utf-8")
        patterns = {split: f"{folder}/{split}-*" for split, folder in folders.items()}
        return patterns, {name: part for files in named.values() for name, part in files.items()}

    def _describe(self, report: AugmentReport, parts: Sequence[PartCounts], goals: StatedGoals) -> dict[str, Any]:
        """Return what the manifest says besides names, sizes and checksums."""
        scales = goals.record()["scales"]
        # Parts may have been made with a scale that gave no reason yet, since only the whole input tells it.
        steps = [
            {**step, "settings": scales[""]} if step["verb"] == "scale" and "" in scales else step
            for step in sum_steps(parts)
        ]
        runtime = ("seconds", "parts", "parts_found", "skipped", "messages", "address")
        return {
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
