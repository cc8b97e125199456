"""`augment` by many: the parts are made by tasks of a cluster, and put together here.

The same pure functions as in one process read, select, pair, relabel and condition; the output has the same bytes. A
finished part lies in the staging folder before its task ends, so that a dead worker or node costs the part in flight,
and the same command after the death of this process resumes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from prefboost.addresses import find_address
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.progress import Tell
from prefboost.runs.augment.augment import GoalsAndMessages, finish_output, report_work
from prefboost.runs.augment.output import Output
from prefboost.runs.augment.settings import Augment, AugmentReport
from prefboost.runs.folder.far_staging import list_damaged_parts
from prefboost.runs.folder.staging import Staging, describe_file
from prefboost.runs.preparation import make_goal_pairs
from prefboost.runs.ray.data_order import read_record, write_record
from prefboost.runs.ray.data_plan import Item, ReadPlan, Spread, list_items, plan_source, record_plan, restore_plan
from prefboost.runs.ray.data_rows import Rows, compare_rows
from prefboost.runs.ray.data_scales import settle_scales
from prefboost.runs.ray.data_tables import find_collection
from prefboost.shelf import open_shelf
from prefboost.sources import Collection, Source

__all__ = ["Job", "augment_on", "write_item"]

_BETWEEN = "between"
"""Folder within the staging folder: what one pass leaves for the next."""


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

    @property
    def rows(self) -> Rows:
        """Rows of the parts."""
        return Rows(self.plan, self.settings)


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
    files = find_collection(source)
    files = files.model_copy(update={"whole_prompts": settings.pair.cap is not None})
    output = Output.at(out, settings, source, in_place=True)
    output = replace(output, place=replace(output.place, executor="ray"))

    def make(staging: Staging) -> GoalsAndMessages:
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
    parts, folder, settings = staging.place, staging.place / _BETWEEN, output.about.settings
    recalled = restore_plan(spread, source, settings.columns, folder)
    if recalled is not None:
        return Job(recalled[0], output, parts, recalled[1])
    if progress is not None:
        progress(report_work(0, output.records_total(), 0, "finding the parts"))
    plan = plan_source(spread, source, settings.columns, settings.batch_rows, folder)
    job = Job(plan, output, parts, settle_scales(spread, plan, source, settings))
    compare_rows(spread, job.rows)
    record_plan(plan, job.goals)
    return job


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
        entries = read_record(job.plan.folder / f"{item.name}.json")
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
    for number, table in job.rows.read(item):
        record = job.plan.folder / f"part-{number:06d}.json"
        entry = read_record(record)
        if entry is None or list_damaged_parts(job.parts, entry["files"]):
            pairs = make_goal_pairs(job.rows.select(number, table), job.settings, goals.scales, goals.say)
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
            write_record(record, entry)
        entries[str(number)] = entry
    write_record(job.plan.folder / f"{item.name}.json", entries)
    return entries
