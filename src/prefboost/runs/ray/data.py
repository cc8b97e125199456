"""`augment` by many: the parts are made by tasks of a cluster, and put together here.

The same pure functions as in one process read, select, pair, relabel and condition; the output has the same bytes. A
finished part lies in the staging folder before its task ends, so that a dead worker or node costs the part in flight,
and the same command after the death of this process resumes.
"""

from __future__ import annotations

import copy
import json
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from prefboost.addresses import find_address
from prefboost.errors import RunError
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.progress import Tell
from prefboost.runs.augment.augment import Made, finish_output, report_work
from prefboost.runs.augment.far_output import locate_output
from prefboost.runs.augment.output import Output
from prefboost.runs.augment.selection import Selection, find_owners, hash_rows
from prefboost.runs.augment.settings import Augment, AugmentReport
from prefboost.runs.folder.far_staging import list_damaged_parts
from prefboost.runs.folder.staging import Staging, describe_file
from prefboost.runs.preparation import make_goal_pairs
from prefboost.runs.ray.data_plan import (
    Item,
    ReadPlan,
    Spread,
    gather_files,
    list_items,
    plan_source,
    read_facts,
    read_groups,
    scatter,
)
from prefboost.runs.ray.data_scales import settle_scales
from prefboost.settings import kind_of
from prefboost.shelf import open_shelf
from prefboost.sources import Collection, Source
from prefboost.sources.collection import convert_batch
from prefboost.sources.layouts.unmapped import refuse_unmapped
from prefboost.sources.read import resolve_source
from prefboost.sources.readers.frames import list_frames, read_frame, write_frame
from prefboost.sources.readers.verdict_files import holds_verdicts
from prefboost.tables import Table

__all__ = ["Job", "augment_on", "find_later", "note_rows", "write_item"]

_BETWEEN = "between"
"""Folder within the staging folder: what one pass leaves for the next."""

_PLAN = "plan.pickle"


@dataclass(frozen=True)
class Job:
    """All that a task has to know.

    Args:
        plan: of the source.
        output: what is written where.
        parts: the staging folder, a path or an address.
        goals: how goals are said, and their scales (`StatedGoals.record`).
    """

    plan: ReadPlan
    output: Output
    parts: Path
    goals: Mapping[str, Any]

    @property
    def settings(self) -> Augment:
        """Settings of `augment`."""
        return self.output.about.settings


def augment_on(
    spread: Spread,
    source: str | Path | Source,
    out: str | Path,
    settings: Augment,
    *,
    overwrite: bool = False,
    progress: Tell | None = None,
) -> AugmentReport:
    """Do what `prefboost.runs.augment.augment.augment` does, by tasks that see the same disk.

    Args:
        spread: runs the tasks.
        source: of files; not a stream.
        out: a folder or file on a disk that all tasks see, or an address that all of them reach.
        settings, overwrite, progress: see there.

    Raises:
        RunError: the source is no files.
        DataError: the source cannot be read, or nothing came out.
    """
    files = resolve_source(source)
    is_verdicts = kind_of(files) == "file" and holds_verdicts(str(getattr(files, "path", "")))
    if not isinstance(files, Collection) or kind_of(files) == "in_memory" or is_verdicts:
        raise RunError(
            "only files and data sets are read by many, not verdicts, tables in memory or sources that plug in",
            remedy="leave --executor ray out",
        )
    files = files.model_copy(update={"whole_prompts": settings.pair.cap is not None})
    output = replace(locate_output(out, settings, source), executor="ray")

    def make(staging: Staging) -> Made:
        try:
            job = open_job(spread, files, output, staging, progress)
        except BaseException:
            if not staging.entries:
                open_shelf(staging.place / _BETWEEN).clear()
            raise
        make_items(spread, job, list_items(job.plan, spread.tasks), staging, progress)
        stored = job.plan.stored
        note = (
            f"{len(stored):,} files cannot be cut, so that one reader reads each of them first: {', '.join(stored[:3])}"
        )
        return StatedGoals.from_record(job.goals), [note] if stored else []

    return finish_output(output, source, make, overwrite=overwrite, progress=progress)


def open_job(spread: Spread, source: Collection, output: Output, staging: Staging, progress: Tell | None) -> Job:
    """Run the passes before the parts, or take up what an earlier call has found out."""
    parts, folder = staging.place, staging.place / _BETWEEN
    shelf = open_shelf(folder)
    if shelf.exists(_PLAN):
        plan, goals = pickle.loads(shelf.read(_PLAN))
        return Job(plan, output, parts, goals)
    if progress is not None:
        progress(report_work(0, output.records_total(), 0, "finding the parts"))
    settings = output.about.settings
    plan = plan_source(spread, source, settings.columns, settings.batch_rows, folder)
    goals = settle_scales(spread, plan, source, settings)
    job = Job(plan, output, parts, goals)
    compare_rows(spread, job)
    shelf.write(_PLAN, pickle.dumps((plan, goals)))
    return job


def compare_rows(spread: Spread, job: Job) -> None:
    """Find the rows that are repeated in later parts, where they are dropped: first by prompt, then by row."""
    items, plan = list_items(job.plan, spread.tasks), job.plan
    dedupe = "none" if job.settings.select is None else job.settings.select.dedupe
    passes = {"owners": dedupe == "prompt", "seen": dedupe != "none"}
    for name in (name for name, is_due in passes.items() if is_due):
        for _ in spread(partial(note_rows, job, name), items):
            pass
        for _ in spread(partial(find_later, plan, name), range(plan.buckets)):
            pass


def note_rows(job: Job, name: str, item: Item) -> None:
    """Write hashes of the rows of an item's parts, with the number of the part."""
    for number, table in _read_tables(job, item):
        selection = _open_selection(job, number)
        frame = selection.limit(table).frame
        if name == "owners":
            hashes = find_owners(frame).rename({"_prompt": "key", "_owner": "id"})
        else:
            rows = selection.drop_repeated_prompts(selection.limit(table)).frame
            hashes = hash_rows(rows).unique(maintain_order=True).alias("key").to_frame()
        hashes = hashes.with_columns(part=pl.lit(number, dtype=pl.Int64))
        scatter(job.plan, hashes, "key", f"noted-{name}", number)


def find_later(plan: ReadPlan, name: str, bucket: int) -> None:
    """Write the hashes of a bucket that an earlier part has too, for each later part."""
    noted = gather_files(plan.folder, f"noted-{name}.{bucket}")
    if noted.height:
        first = noted.sort("part").unique("key", keep="first", maintain_order=True)
        later = noted.select("key", "part").join(first, on="key", suffix="_first")
        write_frame(later.filter(pl.col("part") > pl.col("part_first")), plan.folder / f"later-{name}.{bucket}.arrow")


def make_items(spread: Spread, job: Job, items: list[Item], staging: Staging, progress: Tell | None) -> None:
    """Make all parts that are not there yet, and note each item as it is finished."""
    records = goal_pairs = 0

    def take(entries: Mapping[str, Any]) -> None:
        nonlocal records, goal_pairs
        for number, entry in sorted((int(key), value) for key, value in entries.items()):
            if number not in staging.entries:
                staging.add_described(number, entry["files"], {"made": entry["made"]})
            steps = entry["made"]["steps"]
            records += int(steps[0]["notes"].get("records", steps[0]["rows_in"]))
            goal_pairs += entry["made"]["goal_pairs"]
        if progress is not None:
            progress(report_work(records, job.plan.records, goal_pairs, "augmenting"))

    waiting = []
    for item in items:
        entries = _read_entries(job.plan.folder / f"{item.name}.json")
        if entries is None or not all(int(number) in staging.entries for number in entries):
            waiting.append(item)
        else:
            take(entries)
    for entries in spread(partial(write_item, job), waiting):
        take(entries)


def write_item(job: Job, item: Item) -> Mapping[str, Any]:
    """Make the parts of an item; those that an earlier attempt has finished are taken as they are."""
    goals = StatedGoals.from_record(job.goals)
    entries: dict[str, Any] = {}
    for number, table in _read_tables(job, item):
        record = job.plan.folder / f"part-{number:06d}.json"
        entry = _read_entries(record)
        if entry is None or list_damaged_parts(job.parts, entry["files"]):
            selected = _open_selection(job, number).apply(table)
            pairs = make_goal_pairs(selected, job.settings, goals.scales, goals.say)
            is_far = find_address(job.parts) is not None
            # Written aside and moved whole, since another node may be writing the same part.
            with tempfile.TemporaryDirectory(dir=None if is_far else job.plan.folder, prefix="part-") as folder:
                files, counts = job.output.write_part(number, pairs, Path(folder))
                described = {what: describe_file(path) for what, path in files.items()}
                for path in files.values():
                    if is_far:
                        open_shelf(job.parts).put(path, path.name)
                    else:
                        path.replace(job.parts / path.name)
            entry = {"files": described, "made": asdict(counts)}
            _write_entries(record, entry)
        entries[str(number)] = entry
    _write_entries(job.plan.folder / f"{item.name}.json", entries)
    return entries


def _write_entries(place: Path, entries: Mapping[str, Any]) -> None:
    open_shelf(place.parent).write(place.name, json.dumps(entries).encode())


def _read_entries(path: Path) -> dict[str, Any] | None:
    try:
        entries: dict[str, Any] = json.loads(open_shelf(path.parent).read(path.name))
        return entries
    except (OSError, ValueError):
        return None


def _read_tables(job: Job, item: Item) -> Iterator[tuple[int, Table]]:
    """Yield the number and the rows of each part of an item."""
    opened = job.plan.opened
    facts = replace(read_facts(job.plan.folder, job.plan.run), split=opened.split)
    for number, batch in read_groups(job.plan, item):
        yield number, refuse_unmapped(convert_batch(opened.source, batch, opened.layout, facts))


def _open_selection(job: Job, number: int) -> Selection:
    """Open a selection that remembers what the parts before this one would have left in it."""
    selection = copy.copy(load_selection(job.settings.model_dump_json(), job.plan.run))
    for name in ("owners", "seen"):
        paths = list_frames(job.plan.folder, f"later-{name}.*.arrow")
        if paths:
            later = pl.concat([read_frame(path).filter(pl.col("part") == number) for path in paths])
            if name == "owners":
                selection.owners = later.select(_prompt="key", _owner="id")
            else:
                selection.seen = np.sort(later["key"].to_numpy())
    return selection


@lru_cache(maxsize=1)
def load_selection(settings: str, run: str) -> Selection:
    """Load tokenizer and benchmarks once for all tasks of a process."""
    assert run
    return Selection(Augment.model_validate_json(settings))
