"""`augment` on one shard: its parts wait in a folder of their own until all shards are merged.

A shard makes every N-th part of ``batch_rows`` records. Scales are fitted to the whole input by every shard, and rows
that are selected by what was seen before are selected among all, so that the parts are those of a single run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from prefboost.addresses import find_address, format_place
from prefboost.errors import Place, RunError
from prefboost.progress import Tell
from prefboost.runs.augment.augment import finish_output, make_parts, place_report, write_here, write_parts
from prefboost.runs.augment.goals import load_goals, read_inputs
from prefboost.runs.augment.output import Output
from prefboost.runs.augment.settings import Augment, AugmentReport
from prefboost.runs.folder.far_staging import fetch_part, fill_folder, read_finished_parts
from prefboost.runs.folder.staging import Staging, link, open_staging, remove
from prefboost.runs.shards import Shard
from prefboost.shelf import open_shelf
from prefboost.sources import Source
from prefboost.sources.readers.remote import path_exists

__all__ = ["augment_shard", "gather_parts", "merge_shards"]


def augment_shard(
    source: str | Path | Source, out: str | Path, settings: Augment, shard: Shard, *, progress: Tell | None = None
) -> tuple[int, int]:
    """Make the parts of one shard, in the folder that `Shard.locate` names; the same call resumes.

    Args:
        source, out, settings, progress: see `prefboost.runs.augment.augment.augment`.
        shard: which parts.

    Returns:
        parts and goal pairs in them.

    Raises:
        RunError: something else stands at the folder's place, or the disk is full.
        DataError: the source cannot be read.
    """
    output = Output.at(out, settings, source)

    def fill(staging: Staging) -> None:
        goals = load_goals(source, settings, staging)
        write_parts(read_inputs(source, settings), goals, output, staging, progress, shard)

    entries = fill_folder(shard.locate(output.path), output.place.key, fill)
    return len(entries), sum(entry["made"]["goal_pairs"] for entry in entries.values())


def merge_shards(
    source: str | Path | Source,
    out: str | Path,
    settings: Augment,
    shards: Sequence[Path],
    *,
    progress: Tell | None = None,
) -> AugmentReport:
    """Put the parts of all shards together: the output is that of `augment`, and nothing is computed.

    Args:
        source, out, settings, progress: see `prefboost.runs.augment.augment.augment`.
        shards: paths or addresses of all of them.

    Raises:
        RunError: the output exists, a part is damaged, or the shards are of other settings or another input.
    """
    begin = time.monotonic()
    with write_here(Output.at(out, settings, source), overwrite=False) as output:
        gather_parts(output, shards)
        make = partial(make_parts, output, source, progress)
        report = finish_output(output, source, make, overwrite=False, progress=progress)
    return replace(place_report(report, out), seconds=time.monotonic() - begin)


def gather_parts(output: Output, folders: Sequence[Path]) -> None:
    """Put the parts of all shards where `augment` looks for those that an earlier call has finished.

    Raises:
        RunError: another process is writing the output, or the shards are of other settings or another input.
    """
    with open_staging(output.path, output.place.key) as staging:
        for folder in folders:
            key, entries = read_finished_parts(folder)
            if key != output.place.key:
                raise RunError(
                    "this shard was made with other settings, versions or input",
                    remedy="merge where the shards were made, or run the shard again",
                    place=Place(format_place(folder)),
                )
            for number, entry in entries.items():
                files = {what: staging.path / described["name"] for what, described in entry["files"].items()}
                for what, path in files.items():
                    remove(path)
                    if find_address(folder) is None:
                        link(folder / path.name, path)
                    else:
                        fetch_part(open_shelf(folder), entry["files"][what], staging.path, folder)
                staging.add(number, files, {"made": entry["made"]})
            if staging.read_note("said") is None and path_exists(folder / "said.json"):
                staging.note("said", json.loads(open_shelf(folder).read("said.json")))
