"""A whole table by many: tasks read, select and change its parts, and put the rows that are left in order.

It is the table that `prefboost.read` and the verbs make in one process, in the order of the file. Only verbs that treat
each prompt by itself can be given; what compares rows of the whole table is settled by passes over hash buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from prefboost import __version__
from prefboost.addresses import find_address
from prefboost.errors import DataError, Place, RunError
from prefboost.preferences import FittedScale, fit_scales
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.preferences.scales.kinds import DeclaredRange, Scale
from prefboost.runs.augment.settings import Augment
from prefboost.runs.folder.far_staging import list_damaged_parts, open_far_staging
from prefboost.runs.folder.manifest import describe_version, hash_values
from prefboost.runs.folder.staging import Staging, clear_staging, locate_staging, open_staging
from prefboost.runs.ray.data_order import OrderedRows, RowFormat, order_parts, read_record, write_ranges, write_record
from prefboost.runs.ray.data_plan import Item, Spread, list_items, plan_source, record_plan, restore_plan
from prefboost.runs.ray.data_rows import Rows, compare_rows
from prefboost.runs.ray.data_scales import count_score_values, expand_scores, merge_all, merge_counts
from prefboost.settings import kind_of
from prefboost.shelf import open_shelf
from prefboost.sources import Collection
from prefboost.sources.read import resolve_source, sum_read_steps
from prefboost.sources.readers.frames import read_frame, write_frame
from prefboost.sources.readers.verdict_files import holds_verdicts
from prefboost.tables import TABLES, Step, Table, sum_part_steps

__all__ = ["TableJob", "Verbs", "find_collection", "hash_table", "make_table_item", "open_table"]

Verbs = Callable[[Table], Table]
"""Verbs over one part, which treat each prompt by itself; sent to tasks, so importable by name."""

Count = Callable[[Table, Table], Mapping[str, Any]]
"""Counts a part: the rows that were read, and those that are left."""

_AS_IT_IS = RowFormat()


@dataclass(frozen=True)
class TableJob:
    """A table that tasks make, with what an earlier call has made of it.

    Args:
        spread: runs the tasks.
        rows: of the source.
        staging: where the parts wait.
    """

    spread: Spread
    rows: Rows
    staging: Staging

    def cut_ranges(self, records: int) -> TableJob:
        """Return the same job, which puts rows in order in ranges of so many records, each a file of a folder."""
        plan = replace(self.rows.plan, range_records=records)
        return replace(self, rows=replace(self.rows, plan=plan))

    def make(
        self, verbs: Verbs, *, scales: Mapping[str, FittedScale] | None = None, count: Count | None = None
    ) -> tuple[Table, list[Mapping[str, Any]]]:
        """Make all parts that are not there yet.

        Args:
            verbs: what is done to the selected rows of each part.
            scales: that the verbs have put the scores on.
            count: what else is counted.

        Returns:
            the table without its rows, which `order` puts in the order of the file, and the counts of the parts.

        Raises:
            DataError: the source holds no record.
        """
        entries: dict[int, Any] = {}
        waiting, folder = [], self.rows.plan.folder
        # An address tells no more than sizes, unless every file is fetched.
        sizes = None if find_address(folder) is None else open_shelf(folder).list_files("")
        for item in list_items(self.rows.plan, self.spread.tasks):
            finished = _read_entries(self.rows, item)
            if finished is None or any(list_damaged_parts(folder, each["files"], sizes) for each in finished.values()):
                waiting.append(item)
            else:
                entries |= finished
        for finished in self.spread(partial(make_table_item, self.rows, verbs, count), waiting):
            entries |= finished
        parts, path = [entries[number] for number in sorted(entries)], self.rows.plan.opened.source.path
        if not parts:
            raise DataError("the source holds no record", place=Place(path))
        lines = zip(*([Step(**step) for step in part["steps"]] for part in parts), strict=True)
        steps = tuple(sum_read_steps(line) if line[0].verb == "read" else sum_part_steps(line) for line in lines)
        # Of a part with rows where there is one: another may lack columns.
        example = next((part for part in parts if part["rows"]), parts[0])
        name = next(each["name"] for what, each in example["files"].items() if what.startswith("rows"))
        head = Table(
            TABLES[example["spec"]], read_frame(folder / name).clear(), steps=steps, scales=scales or {}, path=path
        )
        return head, [part["counts"] for part in parts]

    def order(self, head: Table, form: RowFormat = _AS_IT_IS) -> OrderedRows:
        """Put the rows that `make` has left in the order of the file, in the form that they are written in."""
        return order_parts(self.spread, self.rows.plan, head, form)

    def fit(self, scale: Scale, aspects: Sequence[str]) -> dict[str, FittedScale]:
        """Fit scales to the scores of all selected rows, as `fit_scales` does."""
        items, declared = list_items(self.rows.plan, self.spread.tasks), None
        for item in items:
            # The range that a source declares stands in the notes of its first batch, which may be in a later item.
            (ranges,) = self.spread(partial(find_first_range, self.rows), [item])
            if ranges:
                declared = ranges[0]
                break
        filled = scale.fill_ends(declared) if isinstance(scale, DeclaredRange) and declared is not None else scale
        counts: list[Path] = []
        if filled.needs_scores or aspects:
            counted = list(self.spread(partial(count_selected, self.rows), items))
            counts = merge_all(self.spread, self.rows.plan.folder, counted)
        (fitted,) = self.spread(partial(fit_to_counts, scale, tuple(aspects), declared), [counts])
        scales: dict[str, FittedScale] = fitted
        return scales


def hash_table(source: Any, selection: Augment, verbs: Any) -> str:
    """Hash all that the parts of a table depend on: input by its version, selection, verbs, and libraries.

    Args:
        source: of files.
        selection: see `open_table`.
        verbs: settings of the verbs, as JSON values.

    Raises:
        RunError: the source is no files.
    """
    files = find_collection(source)
    stats = [describe_version(name) for name in (files.path, *selection.decontaminate)]
    versions = (__version__, metadata.version("polars"))
    return hash_values([selection.model_dump(mode="json"), files.model_dump(mode="json")], stats, versions, verbs)


@contextmanager
def open_table(
    spread: Spread,
    source: Any,
    place: Path,
    selection: Augment,
    *,
    begin: Verbs | None = None,
    key: str,
) -> Iterator[TableJob]:
    """Plan the parts of a table, or take up what an earlier call has made; all of that is deleted in the end.

    Args:
        spread: runs the tasks.
        source: of files.
        place: a file on a disk that all tasks see, or its address; parts wait beside it.
        selection: ``columns``, ``batch_rows``, ``select``, ``decontaminate`` and ``tokenizer`` play a part.
        begin: a verb before the selection, which decides row by row.
        key: fingerprint of everything that the parts depend on, such as `hash_table` makes.

    Raises:
        RunError: the source is no files, or another process makes the same output.
    """
    files = find_collection(source)
    is_far = find_address(place) is not None
    waiting = open_far_staging(locate_staging(place), key) if is_far else open_staging(place, key)
    with waiting as staging:
        folder = staging.place
        recalled = restore_plan(spread, files, selection.columns, folder)
        if recalled is not None:
            yield TableJob(spread, Rows(recalled[0], selection, whole=True, begin=begin), staging)
        else:
            plan = plan_source(spread, files, selection.columns, selection.batch_rows, folder)
            job = TableJob(spread, Rows(plan, selection, whole=True, begin=begin), staging)
            compare_rows(spread, job.rows)
            record_plan(plan, {})
            yield job
    if is_far:
        open_shelf(folder).clear()
    else:
        clear_staging(place)


def find_collection(source: Any) -> Collection:
    """Return the settings of a source that many can read.

    Raises:
        RunError: it is none.
    """
    files = resolve_source(source)
    is_verdicts = kind_of(files) == "file" and holds_verdicts(str(getattr(files, "path", "")))
    if not isinstance(files, Collection) or kind_of(files) == "in_memory" or is_verdicts:
        raise RunError(
            "only files and data sets are read by many, not verdicts, tables in memory or sources that plug in",
            remedy="leave --executor ray out; in a recipe write executor: local",
        )
    return files


def make_table_item(rows: Rows, verbs: Verbs, count: Count | None, item: Item) -> dict[int, Any]:
    """Make the parts of an item, and describe them: files, steps, kind of table, counts."""
    entries = {}
    for number, table in rows.read(item):
        left = verbs(rows.select(number, table))
        entries[number] = {
            "files": write_ranges(rows.plan, number, left),
            "rows": len(left),
            "steps": [asdict(step) for step in left.steps],
            "spec": left.spec.name,
            "counts": {} if count is None else count(table, left),
        }
    write_record(_locate_record(rows, item), {str(number): entry for number, entry in entries.items()})
    # As they will be found there: tuples are lists, and paths are texts.
    return _read_entries(rows, item) or {}


def find_first_range(rows: Rows, item: Item) -> list[tuple[float, float] | None]:
    """Find the range that the first part of an item notes; empty where the item has no part."""
    return [find_declared_range(table) for _, table in islice(rows.read(item), 1)]


def count_selected(rows: Rows, item: Item) -> Path:
    """Count the scores of the selected rows of an item; return the file of counts."""
    path = rows.plan.folder / f"scores.{item.name}.arrow"
    selected = (rows.select(number, table) for number, table in rows.read(item))
    write_frame(count_score_values(selected), path)
    return path


def fit_to_counts(
    scale: Scale, aspects: Sequence[str], declared: tuple[float, float] | None, paths: Sequence[Path]
) -> dict[str, FittedScale]:
    """Fit scales to counts of scores."""
    counts = merge_counts([read_frame(path) for path in paths])
    return fit_scales(scale, expand_scores(counts, None), aspects=aspects, declared=declared)


def _locate_record(rows: Rows, item: Item) -> Path:
    return rows.plan.folder / f"made.{item.name}.json"


def _read_entries(rows: Rows, item: Item) -> dict[int, Any] | None:
    record = read_record(_locate_record(rows, item))
    return None if record is None else {int(number): entry for number, entry in record.items()}
