"""What every source is: settings that say where data are, and a stream of declared tables out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import polars as pl
from pydantic import Field

from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.preferences.score_hint import NUMBERS
from prefboost.settings import Settings
from prefboost.sources.columns import Columns
from prefboost.sources.layouts.fitted import (
    LATER_LAYOUTS,
    FittedReader,
    columns_seen,
    count_layouts,
    fields_of,
    with_later_parts,
)
from prefboost.sources.layouts.layout import Layout, guess
from prefboost.sources.layouts.sample import sample_records
from prefboost.sources.layouts.score_columns import number_columns, refuse_score_fields
from prefboost.sources.layouts.unmapped import UNMAPPED, count_unmapped, sum_unmapped
from prefboost.sources.layouts.whole_conversations import SplitReader, find_whole
from prefboost.sources.messages.encoded import count_encoded
from prefboost.sources.readers.decoded import DecodedReader, StoredReader, find_encoded
from prefboost.sources.readers.files import FORMATS, find_files
from prefboost.sources.readers.hub import HubReader, SavedReader, is_hub_id, is_saved_folder
from prefboost.sources.readers.raw import ROW, RawBatch, Reader
from prefboost.sources.rows.comparisons import preference_rows
from prefboost.sources.rows.completions import INDEX, flat_rows, nested_rows, parallel_rows
from prefboost.sources.rows.faults import FAULT, nothing_wrong, set_aside, with_fault
from prefboost.sources.rows.grouping import whole_prompts
from prefboost.sources.rows.identifiers import NO_IDS, REPEATED, identified, repeated_ids
from prefboost.sources.rows.pairs import pair_rows
from prefboost.sources.rows.parts import column, label, prompt_rows
from prefboost.sources.rows.prompt_identity import Disputed, agreed, disputed_ids
from prefboost.sources.rows.ranks import rank_ends
from prefboost.sources.rows.said_goals import refuse_said_goals
from prefboost.sources.rows.scores import (
    MARKED,
    SCORES,
    TEN_FOR_ONE,
    choose_score,
    contradict,
    known_range,
    range_fault,
    ranked_range,
    ten_for_one,
)
from prefboost.tables import COMPLETIONS, PREFERENCE_PAIRS, PROMPTS, SCORED_COMPLETIONS, Step, Table, TableSpec, conform

__all__ = ["Collection", "File", "Source"]


@runtime_checkable
class Source(Protocol):
    """Where preference data come from; anyone's settings class with these two plugs in."""

    @property
    def kind(self) -> str:
        """The name under which the source stands in recipes."""
        ...

    def batches(self, columns: Columns, rows: int | None) -> Iterator[Table]:
        """Declared tables, each of whole prompts and about ``rows`` records, in bounded memory."""
        ...


class Collection(Settings):
    """A source made of files or of a data set on the hub; the families below differ in columns and cleaning."""

    path: str = Field(..., description="File, folder, glob, saved data set, or hub id (organisation/name).")
    split: str | None = Field(
        None, description="Which split to read; default: train on the hub and of saved data, all elsewhere."
    )
    revision: str | None = Field(None, description="Commit, branch or tag on the hub.")
    config: str | None = Field(None, description="Name of the configuration on the hub.")
    streaming: bool = Field(False, description="Read from the hub as a stream instead of fetching it first.")
    score: str = Field("overall", description="What is the score: overall as found, mean of the aspects, or an aspect.")
    score_range: tuple[float, float] | None = Field(
        None, description="Lowest and highest score there may be; rows outside are rejected."
    )
    columns: Columns = Field(Columns(), description="Columns named by the user; the others are guessed.")
    whole_prompts: bool = Field(
        True, description="Whether batches hold all records of a prompt; without, pairs stream as they stand."
    )

    def batches(self, columns: Columns, rows: int | None) -> Iterator[Table]:
        """Declared tables of this source: see `prefboost.read_batches`."""
        reader, layout, names = self._understood(columns)
        scored = self.model_copy(update={"score": self.scored_by(layout)})
        chosen = _split_column(self, reader, layout)
        convert = SHAPES[layout.shape].rows
        disputed = disputed_ids(reader, layout, names, convert, _wanted(self, chosen))
        known = _Known(chosen, repeated_ids(reader, layout, rows), disputed)
        together = self.whole_prompts or layout.shape not in PAIRS
        for batch in whole_prompts(reader, layout, rows) if together else reader.batches(None, rows):
            yield _table(scored, batch, layout, known)

    def score_tables(self, columns: Columns, rows: int | None) -> Iterator[Table]:
        """The rows of `batches`, to fit a scale to: nothing is grouped, and only columns that play a part are read
        where the format can leave others.
        """
        reader, layout, names = self._understood(columns)
        scored = self.model_copy(update={"score": self.scored_by(layout)})
        chosen = _split_column(self, reader, layout)
        for batch in reader.batches(layout.heads(names), rows):
            yield _table(scored, batch, layout, _Known(chosen))

    def declared_range(self, columns: Columns) -> tuple[float, float] | None:
        """Lowest and highest score there may be: ``score_range``, or what the makers declare of data like these.

        A range that is only told by the names of columns counts if the scores do not contradict it.
        """
        own = self.score_range or self.own_range(self._understood(columns)[1])
        if own is None or not self._is_guessed(own):
            return own
        return None if contradict([table.frame for table in self.score_tables(columns, None)], own) else own

    def _is_guessed(self, own: tuple[float, float]) -> bool:
        """Whether a range was told by the names of columns alone."""
        return own == MARKED and self.score_range is None and type(self).own_range is Collection.own_range

    def own_range(self, layout: Layout) -> tuple[float, float] | None:
        """Hook of a family: the range of the scores as their makers declare it, None where that is not known."""
        if layout.ranks is not None and self.score == "overall":
            return ranked_range(layout.ranks)
        return known_range(layout.parts, layout.aspects, self.score)

    def ranks(self, reader: Reader, layout: Layout) -> tuple[float, float] | None:
        """Hook of a family: the best and the worst rank, None where the ranks do not tell."""
        return rank_ends(reader, layout, None)

    def _understood(self, columns: Columns) -> tuple[Reader, Layout, list[str]]:
        """The reader of the source, what its columns mean, and their names."""
        named = columns.over(self.columns)
        reader: Reader = StoredReader(_find(self))
        sample = sample_records(reader)
        encoded = find_encoded(sample, named, self.path)
        if encoded:
            reader = DecodedReader(reader, encoded)
        if type(self).arrange is not Collection.arrange:
            reader = _Arranged(reader, self.arrange)
        if encoded or isinstance(reader, _Arranged):
            sample = sample_records(reader)
        if (whole := find_whole(sample, named)) is not None:
            reader = SplitReader(reader, whole)
            sample = sample_records(reader)
        layout = guess(sample, named, self.path)
        refuse_said_goals(sample, layout, self.path)
        _check_score(self.scored_by(layout), layout, self.path)
        refuse_score_fields(sample, layout, self.path)
        fitted = with_later_parts(layout)
        fields = fields_of(sample, layout.parts.get("completions"))
        reader = FittedReader(reader, named, columns_seen(sample, layout), fitted, fields)
        if "rank" in layout.parts:
            fitted = replace(fitted, ranks=self.ranks(reader, fitted))
        return reader, fitted, sample.columns

    def arrange(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Hook of a family: raw records before their columns are guessed; keeps the number of records."""
        return frame

    def scored_by(self, layout: Layout) -> str:
        """Hook of a family: what is the score in data of this layout."""
        return self.score

    def doubts(self, rows: pl.DataFrame) -> pl.Series:
        """Hook of a family: why a converted row is to be set aside, null where it stays."""
        return nothing_wrong(rows.height)

    def repair(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Hook of a family: corrections of converted rows, before scores are chosen."""
        return rows


class File(Collection):
    """A file, folder, glob, saved data set or hub id of any shape; what its columns mean is guessed."""

    kind: Literal["file"] = Field("file", description="Any file, folder or data set.")


@dataclass(frozen=True)
class _Shape:
    """How a shape is converted, and which table it becomes with and without scores."""

    rows: Callable[[pl.DataFrame, Layout], pl.DataFrame]
    unit: str
    scored: TableSpec
    bare: TableSpec


SHAPES = {
    "nested": _Shape(nested_rows, "completions", SCORED_COMPLETIONS, COMPLETIONS),
    "parallel": _Shape(parallel_rows, "completions", SCORED_COMPLETIONS, COMPLETIONS),
    "flat": _Shape(flat_rows, "completions", SCORED_COMPLETIONS, COMPLETIONS),
    "pairs": _Shape(pair_rows, "pairs", PREFERENCE_PAIRS, PREFERENCE_PAIRS),
    "preference": _Shape(preference_rows, "pairs", PREFERENCE_PAIRS, PREFERENCE_PAIRS),
    "prompts": _Shape(prompt_rows, "prompts", PROMPTS, PROMPTS),
}
"""Every shape of `Layout.shape`."""

PAIRS = ("pairs", "preference")
"""Shapes whose records are comparisons by themselves."""


@dataclass(frozen=True)
class _Arranged:
    """A reader whose records a family rearranges; it needs all columns for that."""

    reader: Reader
    arrange: Callable[[pl.DataFrame], pl.DataFrame]

    @property
    def path(self) -> str:
        """The path as it was asked for."""
        return self.reader.path

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        for batch in self.reader.batches(None, rows):
            yield RawBatch(tuple(map(self.arrange, batch.frames)), batch.rejects)


def _find(source: Collection) -> Reader:
    path = Path(source.path).expanduser()
    if path.is_dir() and is_saved_folder(path):
        return SavedReader(str(path), source.split)
    found = find_files(str(path), source.config, source.split)
    if found is not None:
        return found
    if is_hub_id(source.path) and not _names_a_file(path):
        return HubReader(source.path, source.split, source.revision, source.config, source.streaming)
    raise UnreadableFile(
        "no such file, folder or match",
        remedy="check the path; a data set on the hub is written organisation/name",
        place=Place(source.path),
    )


def _names_a_file(path: Path) -> bool:
    """Whether a path that does not exist was meant as a file's: by its ending, or by the folder that it is in."""
    return path.suffix.lower() in (*FORMATS, ".txt", ".gz", ".zst") or path.parent.is_dir()


def _check_score(score: str, layout: Layout, path: str) -> None:
    if score in ("overall", *layout.aspects) or (score == "mean" and layout.aspects):
        return
    known = ", ".join(["overall", *(["mean"] if layout.aspects else []), *layout.aspects])
    raise DataError(
        f"score={score!r} is not in these data; they have {known}",
        remedy="choose one of them, or name aspects with columns.aspects=[...]",
        place=Place(path),
    )


def _split_column(source: Collection, reader: Reader, layout: Layout) -> str | None:
    """The column by which the records of one split are found, None where all are read."""
    while (inner := getattr(reader, "reader", None)) is not None:
        reader = inner
    if source.split is None or isinstance(reader, HubReader | SavedReader) or getattr(reader, "is_one_split", False):
        return None
    if "split" not in layout.parts:
        raise DataError(
            f"split={source.split!r} is asked for, but no column tells splits apart",
            remedy="leave split out, name the column (columns.split=...), or give the file of that split",
            place=Place(source.path),
        )
    return layout.parts["split"]


@dataclass(frozen=True)
class _Known:
    """What the whole source tells about each of its batches: the column of splits, ids that stand there again or for
    several prompts.
    """

    split: str | None = None
    repeated: pl.Series = field(default_factory=lambda: NO_IDS)
    disputed: Disputed = field(default_factory=Disputed)


def _wanted(source: Collection, split: str | None) -> tuple[str, str] | None:
    return None if split is None or source.split is None else (split, source.split)


def _table(source: Collection, batch: RawBatch, layout: Layout, known: _Known) -> Table:
    shape, split = SHAPES[layout.shape], known.split
    spec = shape.scored if layout.scored else shape.bare
    rejects, frames, rows_in, other = [batch.rejects], [], batch.rejects.height, 0
    unmapped: list[dict[str, dict[str, int]]] = []
    for raw in batch.frames:
        wanted = raw if split is None else raw.filter(label(column(raw, split)) == source.split)
        other += raw.height - wanted.height
        if wanted.height == 0:
            continue
        rows = _judged(source, shape.rows(wanted, layout), layout)
        rows_in += rows.height
        kept, aside = set_aside(rows, source.path, _shown(rows))
        frames.append(kept.select(*_declared(kept, spec), *([INDEX] if INDEX in kept.columns else [])))
        rejects.append(aside)
        stay = wanted.filter(pl.col(ROW).is_in(kept["row"].implode())) if aside.height else wanted
        unmapped.append(count_unmapped(stay, layout))
    frame, disagreeing = agreed(_together(frames, layout, spec), known.disputed)
    frame, distinguished = identified(frame, known.repeated)
    aside = pl.concat(rejects)
    declared = source.score_range or source.own_range(layout)
    if declared and source._is_guessed(declared) and contradict([frame], declared):
        declared = None
    step = Step(
        "read",
        source.model_dump(),
        rows_in,
        frame.height,
        dict(Counter(aside["reason"].to_list())),
        {
            "unit": shape.unit,
            "records": batch.records - other,
            "records of other splits": other,
            "guess": {**layout.described(), **({} if source.score == "overall" else {"score": source.score})},
            **({REPEATED: distinguished} if distinguished else {}),
            **({} if layout.scored else {NUMBERS: number_columns(batch.frames, layout)}),
            **({UNMAPPED: counts} if (counts := sum_unmapped(unmapped)) else {}),
            **disagreeing,
            **_contradicted(frame),
            **count_encoded(frame),
            **({LATER_LAYOUTS: layouts} if (layouts := sum_unmapped(map(count_layouts, batch.frames))) else {}),
            **({"score range": list(declared)} if declared and layout.scored else {}),
        },
    )
    return Table(spec, conform(frame, spec, path=source.path), aside, (step,), path=source.path)


def _contradicted(frame: pl.DataFrame) -> dict[str, int]:
    """The note `TEN_FOR_ONE`, where any of the rows that stay has such a score."""
    doubted = [
        frame.select(ten_for_one(frame.columns, family).sum()).item() for family in SCORES if family in frame.columns
    ]
    count = sum(int(each or 0) for each in doubted)
    return {TEN_FOR_ONE: count} if count else {}


def _judged(source: Collection, rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Rows with the chosen score, and the faults that have to do with it."""
    repaired = source.repair(rows)
    families = [name for name in ("score", "score_chosen", "score_rejected") if name in repaired.columns]
    faults = {}
    for family in families:
        repaired = choose_score(repaired, source.score, family)
        if source.score != "overall":
            missing = pl.when(pl.col(family).is_null()).then(pl.lit("is missing"))
            faults[f"{family} of the {'completion' if family == 'score' else 'pair'}"] = repaired.select(
                missing
            ).to_series()
        faults[family] = range_fault(repaired, family, source.score_range)
    judged = with_fault(repaired, faults)
    doubted = pl.coalesce(FAULT, pl.lit(source.doubts(judged)))
    return judged.with_columns(doubted.alias(FAULT))


def _shown(rows: pl.DataFrame) -> dict[str, str]:
    return {name.removeprefix("raw."): name for name in rows.columns if name.startswith("raw.")}


def _declared(frame: pl.DataFrame, spec: TableSpec) -> list[str]:
    names = {item.name for item in spec.columns if not item.name.endswith(".*")}
    families = tuple(item.name.removesuffix("*") for item in spec.columns if item.name.endswith(".*"))
    return [name for name in frame.columns if name in names or name.startswith(families or ("\0",))]


def _together(frames: list[pl.DataFrame], layout: Layout, spec: TableSpec) -> pl.DataFrame:
    if not frames:
        return _empty(layout, spec)
    if len(frames) == 1:
        return frames[0]
    order = ["row", *([INDEX] if INDEX in frames[0].columns else [])]
    return pl.concat(frames, how="diagonal").sort(order)


def _empty(layout: Layout, spec: TableSpec) -> pl.DataFrame:
    columns: dict[str, pl.DataType | type[pl.DataType]] = {}
    for item in spec.columns:
        if item.name.endswith(".*"):
            columns |= {item.name[:-1] + aspect: item.dtype for aspect in layout.aspects}
        elif item.required or item.name in layout.parts:
            columns[item.name] = item.dtype
    return pl.DataFrame(schema=columns)
