"""`select` on one shard: the completions of its prompts wait in a folder of their own until all shards are merged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from prefboost import __version__
from prefboost.addresses import find_address
from prefboost.errors import Place, RunError
from prefboost.preferences.score_hint import refuse_unscored_completions
from prefboost.preferences.score_selection import UNSCORED, select_by_score
from prefboost.runs.folder.far_staging import fetch_part, fill_folder, read_finished_parts
from prefboost.runs.folder.manifest import hash_path, hash_values, list_input_files
from prefboost.runs.folder.output_place import decide_file_type
from prefboost.runs.folder.staging import Staging
from prefboost.runs.outputs import write_output
from prefboost.runs.select.counts import count_part, sum_counts
from prefboost.runs.select.folder import SelectFolder, write_parts_of
from prefboost.runs.select.select import limit_completions
from prefboost.runs.select.settings import SelectCompletions
from prefboost.runs.shards import Shard
from prefboost.shelf import open_shelf
from prefboost.sources.readers.frames import read_frame, write_frame
from prefboost.sources.stored import RowFile, read_stored
from prefboost.sources.writers.file_types import cut_groups
from prefboost.sources.writers.outputs import list_output_files, refuse_foreign, refuse_inputs
from prefboost.tables import SCORED_COMPLETIONS, RejectFile, Step, StoredTable, refuse_other_tables, sum_part_steps

__all__ = ["merge_selection", "read_shard_frames", "select_shard"]

_PIECE_RECORDS = 20_000
"""Records whose rows are in memory at a time while shards are merged."""


def select_shard(source: str, how: SelectCompletions, out: Path, shard: Shard) -> Mapping[str, Any]:
    """Select the completions of a shard's prompts, and keep them in the folder that `Shard.locate` names.

    The whole source is read, since it settles the ids. All else compares rows of one prompt alone: rows of equal
    prompts have one id by then, so that duplicates, too, are rows of one shard.

    Args:
        source: a file, folder or hub id.
        how: see `select_completions`.
        out: the output of the whole.
        shard: which part.

    Returns:
        the counts of the part (`count_part`).

    Raises:
        DataError: the table is of another kind, or the output's name ends in no type of file.
        MissingScores: no completion of the whole source has a score.
        RunError: something else stands at the folder's place, or the output is the input.
    """
    decide_file_type(out, how.file_type)
    folder = shard.locate(out)
    refuse_inputs([*list_output_files(out, ".select.json"), folder], [source], far=True)

    def fill(staging: Staging) -> None:
        table = read_stored(source, columns=how.columns)
        refuse_other_tables(table, SCORED_COMPLETIONS, task="selection by score", remedy="score the completions first")
        refuse_unscored_completions(table, "selected by it")
        mine = shard.take(table)
        selected = select_by_score(limit_completions(mine, how), how.strategy, is_part=True)
        files: dict[str, Path] = {}
        # In several files, of which `merge_selection` holds one at a time.
        for what, frames in (("rows", selected.read_frames()), ("rejects", selected.read_rejects())):
            for at, frame in enumerate(cut_groups(frames)):
                files[f"{what} {at}"] = staging.path / f"{shard.index:06d}.{what}.{at:04d}"
                write_frame(frame, files[f"{what} {at}"])
        notes = {"path": table.path, "steps": list(map(asdict, selected.steps)), "counts": count_part(mine, selected)}
        staging.add(shard.index, files, {"made": notes})

    inputs = [hash_path(path) for path in list_input_files(source)]
    key = hash_values(source, inputs, how.model_dump(mode="json"), __version__, metadata.version("polars"))
    entries = fill_folder(folder, key, fill)
    return {name: count for entry in entries.values() for name, count in entry["made"]["counts"].items()}


def merge_selection(shards: Sequence[Path], how: SelectCompletions, out: Path) -> Mapping[str, Any]:
    """Put the selections of all shards together: the files are those of `select_completions`.

    Args:
        shards: paths or addresses of all of them.
        how: with which all were made.
        out: see `select_completions`.

    Returns:
        the counts that are written to ``OUT.select.json``.

    Raises:
        RunError: the shards are of different calls, a part is damaged, or the output is not of `select` or holds other
            rows.
        MissingScores: no completion within the limits has a score.
    """
    finished = {folder: read_finished_parts(folder) for folder in shards}
    keys = {key for key, _ in finished.values()}
    parts = [entry["made"] for _, entries in finished.values() for entry in entries.values()]
    files, source = list_output_files(out, ".select.json"), parts[0]["path"]
    whole = SelectFolder.at(out, how, source)
    refuse_inputs(files, [*shards, source], far=True)
    if whole is None:
        refuse_foreign(files, files[-1:], "select")
    if len(keys) > 1:
        raise RunError(
            "these shards were made with different settings, versions or inputs",
            remedy="run all shards again, with one version",
            place=Place(str(shards[0])),
        )
    steps = [[Step(**step) for step in part["steps"]] for part in parts]
    # All have read the whole source, and what comes then is summed.
    summed = (steps[0][0], *(sum_part_steps(line) for line in list(zip(*steps, strict=True))[1:]))
    # A record is in one shard, so that its rows keep their order.
    rows, aside = RowFile(_PIECE_RECORDS), RejectFile()
    for folder, (_, entries) in finished.items():
        for what, frame in read_shard_frames(folder, entries):
            (rows if what == "rows" else aside).add(frame)
    selected = StoredTable(SCORED_COMPLETIONS, rows.read_pieces(), aside.finish(), summed, path=source)
    if summed[-1].rejected.get(UNSCORED) == summed[-1].rows_in > 0:
        one_row = pl.DataFrame(schema=selected.schema).clear(1)
        refuse_unscored_completions(selected.replace_fields(frame=one_row), "selected by it")
    if whole is not None:
        put_parts = partial(write_parts_of, selected, [part["counts"] for part in parts], (whole.kind, how))
        return whole.finish(put_parts, overwrite=False)
    counts = sum_counts([part["counts"] for part in parts], selected.count_rejects())
    write_output(selected, out, history={"select": lambda _: counts}, format=how.format, overwrite=False)
    return counts


def read_shard_frames(folder: Path, entries: Mapping[int, Mapping[str, Any]]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Read the files of a shard, here or at an address, one at a time: ``rows`` or ``rejects``, and a frame of them."""
    is_far = find_address(folder) is not None
    with tempfile.TemporaryDirectory(prefix="prefboost-") as here:
        for entry in entries.values():
            for what, described in entry["files"].items():
                path = fetch_part(open_shelf(folder), described, Path(here), folder) if is_far else None
                yield what.partition(" ")[0], read_frame(path or folder / described["name"])
                if path is not None:
                    path.unlink()
