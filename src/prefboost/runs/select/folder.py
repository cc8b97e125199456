"""The output folder of `select`: a file for each range of the input's records, rejects, a manifest and a card.

Files are cut by the number of the record that a row comes from, so that they have the same bytes whoever writes them:
one process, shards that are merged, or the nodes of a cluster.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from prefboost import __version__
from prefboost.runs.folder.far_place import locate_place, makes_commits, stage_locally
from prefboost.runs.folder.far_staging import put_whole
from prefboost.runs.folder.manifest import hash_values
from prefboost.runs.folder.output_place import (
    OutputPlace,
    decide_file_type,
    divide_by_split,
    explain_write_faults,
    hash_source,
    join_rejects,
    name_part_files,
    name_source,
    write_manifest,
)
from prefboost.runs.folder.staging import Staging, locate_staging
from prefboost.runs.select.counts import sum_counts
from prefboost.runs.select.settings import SelectCompletions
from prefboost.sources import Source
from prefboost.sources.readers.memory import hash_data
from prefboost.sources.write import find_table_export, find_table_extras, shape
from prefboost.sources.writers.file_types import FileType
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.tables import REJECTS, Table

__all__ = ["RangeForm", "SelectFolder", "cut_ranges", "write_parts_of", "write_range"]

Made = tuple[Table, Sequence[Mapping[str, Any]]]
"""The table without its rows, and the counts of its parts."""


@dataclass(frozen=True)
class RangeForm:
    """The form in which the rows of a range are written.

    Args:
        kind: type of the files.
        format: of the rows: trl or prefboost.
        extras: see `prefboost.sources.write.find_extras`, of the whole table.
    """

    kind: FileType
    format: str
    extras: Sequence[str]


@dataclass(frozen=True)
class SelectFolder:
    """An output folder of `select`.

    Args:
        place: of the folder.
        kind: type of its files.
        how: settings.
        source: as the user named it.
        fingerprint: of the input.
    """

    place: OutputPlace
    kind: FileType
    how: SelectCompletions
    source: str
    fingerprint: str

    @classmethod
    def at(
        cls, out: str | Path, how: SelectCompletions, source: str | Path | Source | Table, *, in_place: bool = False
    ) -> SelectFolder | None:
        """Describe the output folder at a path or an address; None where the name is that of a single file.

        Args:
            out: the output.
            how: settings.
            source: of the completions.
            in_place: an input at an address is read through for its fingerprint, instead of being fetched.

        Raises:
            DataError, SettingsError: see `prefboost.runs.folder.output_place.decide_file_type`.
            RunError: the output is an input, or lies around or inside one.
        """
        path, kind, single = decide_file_type(Path(out), how.file_type)
        if single:
            return None
        refuse_inputs([path, locate_staging(path)], [source], far=True)
        if isinstance(source, Table):
            name = source.path or "table"
            steps = [asdict(step) for step in source.steps]
            fingerprint = hash_values(name, hash_data(source.frame), hash_data(source.rejects), steps)
        else:
            name, (fingerprint, _) = name_source(source), hash_source(source, in_place=in_place)
        versions = (__version__, metadata.version("polars"))
        key = hash_values(how.model_dump(mode="json"), fingerprint, name, versions, kind.ending)
        return cls(locate_place("select", path, key, single=False), kind, how, name, fingerprint)

    def read_finished(self) -> dict[str, Any] | None:
        """Read the counts of the same output where it is already there, else None."""
        report = self.place.read_report()
        return None if report is None else {**report, "skipped": True}

    def refuse_existing(self, *, overwrite: bool) -> None:
        """Raise where something stands at the place that may not be replaced; see `OutputPlace.refuse_existing`."""
        self.place.refuse_existing(self.how.model_dump(mode="json"), {}, overwrite=overwrite)

    def finish(self, make: Callable[[Staging], Made], *, overwrite: bool) -> dict[str, Any]:
        """Write the folder, unless it is there; the same call resumes after the files that are written.

        Args:
            make: writes every part that the staging folder lacks.
            overwrite: what `select` wrote may be replaced.

        Returns:
            the counts of the manifest; with ``skipped`` where the output was there already.

        Raises:
            RunError: something stands there that may not be replaced, or the disk refuses.
        """
        counts = self.read_finished()
        if counts is None:
            self.refuse_existing(overwrite=overwrite)
            # Every file at such a place is a commit, so the folder is put there once it is whole.
            staged = stage_locally(self.place, overwrite=overwrite)
            with staged if makes_commits(self.place.path) else nullcontext(self.place) as place:
                here = replace(self, place=place)
                with explain_write_faults(place), place.open_staging() as staging:
                    counts = here.publish(staging, *make(staging))
                place.clear()
        self.place.clear()
        return counts

    def publish(self, staging: Staging, head: Table, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Put the parts, their rejects, the manifest and the card in their place.

        Args:
            staging: with every part.
            head: the table without its rows.
            parts: counts of the parts (`prefboost.runs.select.counts.count_part`).

        Returns:
            the counts of the manifest.
        """
        if not any(what.startswith("data ") for each in staging.entries.values() for what in each["files"]):
            # A reader of the folder finds the columns, although no row is left.
            number = max(staging.entries, default=-1) + 1
            empty = shape(head.frame.clear(), find_table_export(head, self.how.format), self.kind, path=head.path)
            file = put_whole(staging.place / f"{number:06d}.train", partial(self.kind.write, empty.frame))
            staging.add_described(number, {"data train": file}, {"made": {"rows": {}, "rejected": {}}})
        rows: Counter[str] = Counter()
        rejected: Counter[str] = Counter()
        for entry in staging.entries.values():
            rows.update(entry["made"]["rows"])
            rejected.update(entry["made"]["rejected"])
        counts = sum_counts(parts, rejected)

        def write_final(final: Path) -> dict[str, Path]:
            named = name_part_files(staging, self.kind.ending)
            if not join_rejects(staging, final / "rejects.parquet"):
                pl.DataFrame(schema=REJECTS).write_parquet(final / "rejects.parquet")
            (final / "README.md").write_text(self.format_card(named, rows, counts), encoding="utf-8")
            moved = {name: part for files in named.values() for name, part in files.items()}
            steps = json.loads(json.dumps([asdict(step) for step in head.steps], default=str))
            content = {
                "source": self.source,
                "input_fingerprint": self.fingerprint,
                "settings": self.how.model_dump(mode="json"),
                "steps": steps,
                "versions": {name: metadata.version(name) for name in ("polars", "pyarrow")},
                "report": counts,
            }
            write_manifest(self.place, final, staging, moved, content)
            return moved

        self.place.publish(staging, write_final)
        return counts

    def format_card(
        self, named: Mapping[str, Mapping[str, Path]], rows: Mapping[str, int], counts: Mapping[str, Any]
    ) -> str:
        """Write the card, whose front matter tells every reader of data sets which files are rows."""
        files = [f"  - split: {split}\n    path: data/{split}-*" for split in named]
        splits = [f"- {split}: {rows.get(split, 0):,} rows" for split in named]
        rejects = [f"- {count:,} x {reason}" for reason, count in counts["rejected"].items()]
        return "\n".join(
            [
                "---\nconfigs:\n- config_name: default\n  data_files:", *files, "---\n",
                f"# {self.place.path.name}\n",
                f"Completions that `prefboost select` {__version__} kept of `{self.source}`, format {self.how.format}: "
                f"{counts['kept']:,} of {counts['rows']:,}, of {counts['prompts kept']:,} of {counts['prompts']:,} "
                "prompts. `prefboost.json` has the settings, what was done, and the checksum of every file.\n",
                *splits, "\nNot kept (`rejects.parquet`):\n", *(rejects or ["- nothing"]), "",
            ]
        )  # fmt: skip


def write_range(
    number: int, rows: pl.DataFrame, rejects: pl.DataFrame, head: Table, form: RangeForm, folder: Path
) -> dict[str, Any]:
    """Write the rows of one range, a file per split, and its rejects.

    Args:
        number: of the range.
        rows: of the table, in order.
        rejects: of the same records.
        head: the table without its rows.
        form: in which they are written.
        folder: a path, or an address.

    Returns:
        ``files`` as they are described, ``rows`` by split, and ``rejected`` by reason.
    """
    files: dict[str, Any] = {}
    heights: dict[str, int] = {}
    export, aside = find_table_export(head, form.format), [rejects]
    for split, frame in divide_by_split(rows) if rows.height else ():
        shaped = shape(frame.rechunk(), export, form.kind, path=head.path, extras=form.extras)
        aside.append(shaped.rejects)
        if shaped.frame.height:
            files[f"data {split}"] = put_whole(folder / f"{number:06d}.{split}", partial(form.kind.write, shaped.frame))
            heights[split] = shaped.frame.height
    ordered = pl.concat(aside).sort("row", maintain_order=True).rechunk()
    if ordered.height:
        files["rejects"] = put_whole(folder / f"{number:06d}.rejects", ordered.write_parquet)
    return {"files": files, "rows": heights, "rejected": dict(Counter(ordered["reason"].to_list()))}


def write_parts_of(
    table: Table, parts: Sequence[Mapping[str, Any]], form: tuple[FileType, SelectCompletions], staging: Staging
) -> Made:
    """Write the parts of a table that this process holds; those that are there already are passed over.

    Args:
        table: the rows that were selected, with their rejects.
        parts: counts of the table, or of the parts that it was made of.
        form: type of the files, and settings.
        staging: open.
    """
    kind, how = form
    extras = find_table_extras(table, find_table_export(table, how.format))
    empty = pl.DataFrame(schema=table.schema)
    head = Table(table.spec, empty, pl.DataFrame(schema=REJECTS), table.steps, table.scales, table.path)
    whole = RangeForm(kind, how.format, extras)
    # Rejects without a record come first, as they are sorted.
    at = pl.col("row").fill_null(0) // how.file_records
    ranges, aside = cut_ranges(table, at), _cut_frames(table.read_sorted_rejects(), at)
    held, left = next(ranges, None), next(aside, None)
    while numbers := [each[0] for each in (held, left) if each is not None]:
        number, rows, rejects = min(numbers), empty, head.rejects
        if held is not None and held[0] == number:
            rows, held = held[1], next(ranges, None)
        if left is not None and left[0] == number:
            rejects, left = left[1], next(aside, None)
        if number not in staging.entries:
            entry = write_range(number, rows, rejects, head, whole, staging.place)
            staging.add_described(number, entry.pop("files"), {"made": entry})
    return head, parts


def cut_ranges(table: Table, number: pl.Expr) -> Iterator[tuple[int, pl.DataFrame]]:
    """Cut the rows of a table at the ends of ranges; yield the number of each range, in order, and its rows."""
    is_sorted = table.read_columns(["row"])["row"].is_sorted()
    frames = table.read_frames() if is_sorted else iter([table.frame.sort(number, maintain_order=True)])
    yield from _cut_frames(frames, number)


def _cut_frames(frames: Iterator[pl.DataFrame], number: pl.Expr) -> Iterator[tuple[int, pl.DataFrame]]:
    """Cut frames in the order of ranges at the ends of these."""
    held: list[pl.DataFrame] = []
    before = 0
    for frame in frames:
        parts = frame.with_columns(_at=number).partition_by("_at", maintain_order=True, include_key=False, as_dict=True)
        for (at,), part in parts.items():
            if held and at != before:
                yield before, pl.concat(held)
                held = []
            before = at
            held.append(part)
    if held:
        yield before, pl.concat(held)
