"""Sources: settings that say where data are, and the stream of declared tables that they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import polars as pl
from pydantic import Field

from prefboost.addresses import find_address
from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.preferences.score_hint import NUMBERS
from prefboost.settings import Settings
from prefboost.sources.columns import Columns
from prefboost.sources.layouts.fitted import (
    LATER_LAYOUTS,
    FittedReader,
    add_later_parts,
    count_layouts,
    list_seen_columns,
    list_struct_fields,
)
from prefboost.sources.layouts.layout import Layout, guess
from prefboost.sources.layouts.sample import sample_records
from prefboost.sources.layouts.score_columns import find_score_forms, list_number_columns, refuse_score_fields
from prefboost.sources.layouts.unmapped import UNMAPPED, count_unmapped, sum_unmapped
from prefboost.sources.layouts.whole_conversations import SplitReader, find_conversation_column
from prefboost.sources.messages.conversations import NULL_KEYS, count_null_keys
from prefboost.sources.messages.encoded import DECODED_ROWS, count_encoded
from prefboost.sources.readers.decoded import DECODED, DecodedReader, StoredReader, find_encoded, list_plain_columns
from prefboost.sources.readers.files import FORMATS, open_far_reader, open_path_reader
from prefboost.sources.readers.hub import HubReader, SavedReader, is_hub_id, is_saved_folder
from prefboost.sources.readers.raw import ROW, RawBatch, Reader, WrappedReader
from prefboost.sources.rows.faults import FAULT, add_fault, build_no_faults, split_rejects
from prefboost.sources.rows.grouping import group_prompts
from prefboost.sources.rows.identity import (
    NO_IDS,
    REPEATED,
    Convert,
    DisputedIds,
    assign_ids,
    find_repeated_ids,
    find_source_disputes,
    settle_frame,
)
from prefboost.sources.rows.parts import read_column, read_labels
from prefboost.sources.rows.record_shapes import PAIRS, SHAPES, concat_declared
from prefboost.sources.rows.said_goals import refuse_said_goals
from prefboost.sources.rows.scores import (
    MARKED,
    choose_score,
    contradicts_range,
    count_tens_for_ones,
    find_range_faults,
    find_rank_ends,
    get_rank_score_range,
    guess_score_range,
)
from prefboost.tables import Step, Table, conform

__all__ = ["Collection", "File", "OpenedSource", "Source", "SourceFacts", "convert_batch"]


@runtime_checkable
class Source(Protocol):
    """Place of preference data; anyone's settings class with these two plugs in."""

    @property
    def kind(self) -> str:
        """The name under which the source stands in recipes."""
        ...

    def batches(self, columns: Columns, rows: int | None) -> Iterator[Table]:
        """Yield declared tables, each of whole prompts and about ``rows`` records, in bounded memory."""
        ...


class Collection(Settings):
    """A source made of files or of a data set on the hub; the families below differ in columns and cleaning."""

    path: str = Field(..., description="File, folder, glob, saved data set, or hub id (organisation/name).")
    split: str | None = Field(
        None, description="Split to read; default: train on the hub and of saved data, all elsewhere."
    )
    revision: str | None = Field(None, description="Commit, branch or tag on the hub.")
    config: str | None = Field(None, description="Name of the configuration on the hub.")
    streaming: bool = Field(False, description="Read from the hub as a stream instead of fetching it first.")
    score: str = Field("overall", description="Score to use: overall as found, mean of the aspects, or an aspect.")
    score_range: tuple[float, float] | None = Field(
        None, description="Lowest and highest score there may be; rows outside are rejected."
    )
    columns: Columns = Field(Columns(), description="Columns named by the user; the others are guessed.")
    whole_prompts: bool = Field(
        True, description="Keep all records of a prompt in one batch; without it, pairs stream as they stand."
    )

    def batches(self, columns: Columns, rows: int | None) -> Iterator[Table]:
        """Yield the declared tables of this source: see `prefboost.read_batches`."""
        opened = self.open_source(columns)
        reader, layout = opened.reader, opened.layout
        facts = SourceFacts(opened.split, find_repeated_ids(reader, layout, rows), find_source_disputes(*opened.ids))
        for batch in group_prompts(reader, layout, rows) if opened.groups else reader.batches(None, rows):
            yield convert_batch(opened.source, batch, layout, facts)

    def open_source(self, columns: Columns, *, in_place: bool = False) -> OpenedSource:
        """Open the source and guess what its columns mean; a file at an address is read ``in_place``, or fetched."""
        reader, layout, names = self._guess_layout(columns, in_place=in_place)
        scored = self.model_copy(update={"score": self.resolve_score(layout)})
        return OpenedSource(scored, reader, layout, tuple(names), _find_split_column(self, reader, layout))

    def score_tables(self, columns: Columns, rows: int | None) -> Iterator[Table]:
        """Yield the rows of `batches` to fit a scale to, without grouping them.

        Only columns that play a part are read, where the format can leave others.
        """
        yield from self.open_source(columns).read_scores(rows)

    def resolve_score_range(self, columns: Columns) -> tuple[float, float] | None:
        """Return the lowest and highest possible score: ``score_range``, or what the makers declare of data like these.

        A range that is only told by the names of columns counts if the scores do not contradict it.
        """
        layout = self._guess_layout(columns)[1]
        if not self.doubts_range(layout):
            return self.score_range or self.find_makers_range(layout)
        return self.check_range(layout, [table.frame for table in self.score_tables(columns, None)])

    def doubts_range(self, layout: Layout) -> bool:
        """Tell whether the range follows from names of columns alone, so that the scores may contradict it."""
        declared = self.score_range or self.find_makers_range(layout)
        return declared is not None and self._is_guessed(declared)

    def check_range(self, layout: Layout, frames: Sequence[pl.DataFrame]) -> tuple[float, float] | None:
        """Return the range of scores, unless it is doubted and the scores of the whole source contradict it."""
        declared = self.score_range or self.find_makers_range(layout)
        return None if declared and self._is_guessed(declared) and contradicts_range(frames, declared) else declared

    def _is_guessed(self, declared: tuple[float, float]) -> bool:
        """Tell whether a range follows from the names of columns alone."""
        return (
            declared == MARKED
            and self.score_range is None
            and type(self).find_makers_range is Collection.find_makers_range
        )

    def find_makers_range(self, layout: Layout) -> tuple[float, float] | None:
        """Return the range of scores that a family's makers declare (a hook); None where it is not known."""
        if layout.ranks is not None and self.score == "overall":
            return get_rank_score_range(layout.ranks)
        return guess_score_range(layout.parts, layout.aspects, self.score)

    def ranks(self, reader: Reader, layout: Layout) -> tuple[float, float] | None:
        """Return the best and the worst rank (a hook of families); None where the ranks do not tell."""
        return find_rank_ends(reader, layout, None)

    def _guess_layout(self, columns: Columns, *, in_place: bool = False) -> tuple[Reader, Layout, list[str]]:
        """Open the source; return its reader, the meaning of its columns, and their names."""
        named = columns.over(self.columns)
        stays_there = in_place and find_address(self.path) is not None
        # As a path is written, which is how rejects name the file.
        far = open_far_reader(str(Path(self.path)), self.config, self.split) if stays_there else None
        reader: Reader = StoredReader(far or self.open_reader())
        sample = sample_records(reader)
        encoded = find_encoded(sample, named, self.path)
        if encoded:
            reader = DecodedReader(reader, encoded)
        if type(self).arrange is not Collection.arrange:
            reader = _ArrangedReader(reader, self.arrange)
        # Decoded or rearranged records have other columns, so the sample is drawn again.
        if encoded or isinstance(reader, _ArrangedReader):
            sample = sample_records(reader)
        if (whole := find_conversation_column(sample, named)) is not None:
            reader = SplitReader(reader, whole)
            sample = sample_records(reader)
        layout = guess(sample, named, self.path)
        refuse_said_goals(sample, layout, self.path)
        score, aspects = self.resolve_score(layout), layout.aspects
        names = ["overall", *(["mean"] if aspects else []), *aspects]
        if score not in names:
            raise DataError(
                f"score={score!r} is not in these data; they have {', '.join(names)}",
                remedy="choose one of them, or name aspects with columns.aspects=[...]",
                place=Place(self.path),
            )
        refuse_score_fields(sample, layout, self.path)
        if plain := list_plain_columns(sample, layout, named):
            reader = DecodedReader(reader, plain, rare=True)
        layout = replace(layout, forms=find_score_forms(sample, layout))
        fitted = add_later_parts(layout)
        fields = list_struct_fields(sample, layout.parts.get("completions"))
        reader = FittedReader(reader, named, list_seen_columns(sample, layout), fitted, fields)
        # Only a run over the whole source tells the ranks: the first records may lack the worst one.
        if "rank" in layout.parts:
            fitted = replace(fitted, ranks=self.ranks(reader, fitted))
        return reader, fitted, sample.columns

    def open_reader(self) -> Reader:
        """Open the place where the records stand (a hook of sources that are no files)."""
        path = Path(self.path).expanduser()
        if path.is_dir() and is_saved_folder(path):
            return SavedReader(str(path), self.split)
        reader = open_path_reader(str(path), self.config, self.split)
        if reader is not None:
            return reader
        # A path that does not exist was meant as a file's by its ending, or by the folder that it is in.
        names_a_file = path.suffix.lower() in (*FORMATS, ".txt", ".gz", ".zst") or path.parent.is_dir()
        if is_hub_id(self.path) and not names_a_file:
            return HubReader(self.path, self.split, self.revision, self.config, self.streaming)
        raise UnreadableFile(
            "no such file, folder or match",
            remedy="check the path; a data set on the hub is written organisation/name",
            place=Place(self.path),
        )

    def arrange(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rearrange raw records before their columns are guessed (a hook of families); their number stays."""
        return frame

    def resolve_score(self, layout: Layout) -> str:
        """Choose what the score is in data of this layout: overall, mean or an aspect (a hook of families)."""
        return self.score

    def doubts(self, rows: pl.DataFrame) -> pl.Series:
        """Give a reason to reject each converted row, null where it stays (a hook of families)."""
        return build_no_faults(rows.height)

    def repair(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Correct converted rows before their score is chosen (a hook of families)."""
        return rows


@dataclass(frozen=True)
class OpenedSource:
    """An opened source: what all its batches are read by.

    Args:
        source: its settings, with the score that was chosen.
        reader: of its records.
        layout: what its columns mean.
        names: of its columns.
        split: the column that tells splits apart; None where all records are read.
    """

    source: Collection
    reader: Reader
    layout: Layout
    names: tuple[str, ...]
    split: str | None

    @property
    def groups(self) -> bool:
        """Whether records are grouped: a pair is complete, but the completions of a prompt must meet in one batch."""
        return self.source.whole_prompts or self.layout.shape not in PAIRS

    @property
    def ids(self) -> tuple[Reader, Layout, Sequence[str], Convert, tuple[str, str] | None]:
        """Arguments of `find_source_disputes`."""
        split = None if self.split is None or self.source.split is None else (self.split, self.source.split)
        return self.reader, self.layout, self.names, SHAPES[self.layout.shape].rows, split

    def read_scores(self, rows: int | None) -> Iterator[Table]:
        """See `Collection.score_tables`."""
        layout, heads = self.layout, self.layout.list_heads(self.names)
        if "prompt_id" not in layout.parts:
            # Nobody reads ids in this pass, and the number of the record spares a hash per prompt.
            layout = replace(layout, parts={**layout.parts, "prompt_id": ROW})
        for batch in self.reader.batches(heads, rows):
            yield convert_batch(self.source, batch, layout, SourceFacts(self.split, counts_texts=False))


class File(Collection):
    """A file, folder, glob, saved data set or hub id of any shape; what its columns mean is guessed."""

    kind: Literal["file"] = Field("file", description="Any file, folder or data set.")


@dataclass(frozen=True)
class _ArrangedReader(WrappedReader):
    """A reader whose records a family rearranges; it needs all columns for that."""

    arrange: Callable[[pl.DataFrame], pl.DataFrame]

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        for batch in self.reader.batches(None, rows):
            yield RawBatch(tuple(map(self.arrange, batch.frames)), batch.rejects)


def _find_split_column(source: Collection, reader: Reader, layout: Layout) -> str | None:
    """Find the column that tells splits apart; None where all records are read."""
    while (inner := getattr(reader, "reader", None)) is not None:
        reader = inner
    if source.split is None or isinstance(reader, HubReader | SavedReader) or getattr(reader, "is_one_split", False):
        return None
    if "split" not in layout.parts:
        raise DataError(
            f"split={source.split!r} is set, but no column names the split of a row",
            remedy="leave split out, name the column (columns.split=...), or give the file of that split",
            place=Place(source.path),
        )
    return layout.parts["split"]


@dataclass(frozen=True)
class SourceFacts:
    """Facts of the whole source for each of its batches.

    Args:
        split: the column of splits; None where all records are read.
        repeated: hashes of ids that occur more than once.
        disputed: ids that stand for several prompts, and prompts under several ids.
        counts_texts: whether columns and texts that look odd are counted, which takes a look at all of them.
    """

    split: str | None = None
    repeated: pl.Series = field(default_factory=lambda: NO_IDS)
    disputed: DisputedIds = field(default_factory=DisputedIds)
    counts_texts: bool = True


def convert_batch(source: Collection, batch: RawBatch, layout: Layout, facts: SourceFacts) -> Table:
    """Convert raw records to a declared table with its rejects."""
    shape, split, decoded, nulls = SHAPES[layout.shape], facts.split, 0, 0
    spec = shape.scored if layout.scored else shape.bare
    rejects, frames, rows_in, other = [batch.rejects], [], batch.rejects.height, 0
    unmapped: list[dict[str, dict[str, int]]] = []
    for raw in batch.frames:
        chosen = raw if split is None else raw.filter(read_labels(read_column(raw, split)) == source.split)
        other += raw.height - chosen.height
        if chosen.height == 0:
            continue
        rows = _apply_score(source, shape.rows(chosen, layout), layout)
        rows_in += rows.height
        values = {name.removeprefix("raw."): name for name in rows.columns if name.startswith("raw.")}
        accepted, aside = split_rejects(rows, source.path, values)
        frames.append(accepted)
        rejects.append(aside)
        decoded += accepted.height if DECODED in raw.columns else 0
        # Columns are counted in the rows that stay: a rejected row changes no question.
        stay = chosen.filter(pl.col(ROW).is_in(accepted["row"].implode())) if aside.height else chosen
        if facts.counts_texts:
            unmapped.append(count_unmapped(stay, layout))
            nulls += count_null_keys(stay, layout.list_heads(stay.columns), layout.parts.get("tools"))
    frame, disagreeing = settle_frame(concat_declared(frames, layout, spec), facts.disputed)
    frame, distinguished = assign_ids(frame, facts.repeated)
    aside = pl.concat(rejects)
    declared = source.score_range or source.find_makers_range(layout)
    if declared and source._is_guessed(declared) and contradicts_range([frame], declared):
        declared = None
    findings = {
        REPEATED: distinguished,
        NUMBERS: None if layout.scored else list_number_columns(batch.frames, layout),
        UNMAPPED: sum_unmapped(unmapped),
        **disagreeing,
        **count_tens_for_ones(frame),
        **(count_encoded(frame) if facts.counts_texts else {}),
        DECODED_ROWS: decoded,
        NULL_KEYS: nulls,
        LATER_LAYOUTS: sum_unmapped(map(count_layouts, batch.frames)),
        "score range": list(declared) if declared and layout.scored else None,
    }
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
            "guess": {**layout.describe(), **({} if source.score == "overall" else {"score": source.score})},
            **{name: value for name, value in findings.items() if value},
        },
    )
    return Table(spec, conform(frame, spec, path=source.path), aside, (step,), path=source.path)


def _apply_score(source: Collection, rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Make the chosen score the score of each row, and add the faults that have to do with it."""
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
        faults[family] = find_range_faults(repaired, family, source.score_range)
    judged = add_fault(repaired, faults)
    doubted = pl.coalesce(FAULT, pl.lit(source.doubts(judged)))
    return judged.with_columns(doubted.alias(FAULT))
