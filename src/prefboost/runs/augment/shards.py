"""`augment` on one shard: its parts wait in a folder of their own until all shards are merged.

A shard makes every N-th part of ``batch_rows`` records. Scales are fitted to the whole input by every shard, and rows
that are selected by what was seen before are selected among all, so that the parts are those of a single run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefboost.errors import Place, RunError
from prefboost.progress import Tell
from prefboost.runs.augment.augment import write_parts
from prefboost.runs.augment.goals import load_goals, read_inputs
from prefboost.runs.augment.output import Output
from prefboost.runs.augment.settings import Augment
from prefboost.runs.folder.staging import link, locate_staging, open_staging, read_parts, remove
from prefboost.runs.shards import Shard
from prefboost.sources import Source

__all__ = ["augment_shard", "gather_parts"]


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
    output = Output.at(Path(out), settings, source)
    folder = shard.locate(output.path)
    if not folder.exists():
        with open_staging(folder, output.key) as staging:
            goals = load_goals(source, settings, staging)
            write_parts(read_inputs(source, settings), goals, output, staging, progress, shard)
        locate_staging(folder).rename(folder)
    key, entries = read_parts(folder)
    if key != output.key:
        raise RunError(
            "a shard of other settings or another input stands here", remedy="move it away", place=Place(str(folder))
        )
    return len(entries), sum(entry["made"]["goal_pairs"] for entry in entries.values())


def gather_parts(output: Output, folders: Sequence[Path]) -> None:
    """Put the parts of all shards where `augment` looks for those that an earlier call has finished.

    Raises:
        RunError: another process is writing the output, or the shards are of other settings or another input.
    """
    with open_staging(output.path, output.key) as staging:
        for folder in folders:
            key, entries = read_parts(folder)
            if key != output.key:
                raise RunError(
                    "this shard was made with other settings, versions or input",
                    remedy="merge where the shards were made, or run the shard again",
                    place=Place(str(folder)),
                )
            for number, entry in entries.items():
                files = {what: staging.path / described["name"] for what, described in entry["files"].items()}
                for path in files.values():
                    remove(path)
                    link(folder / path.name, path)
                staging.add(number, files, {"made": entry["made"]})
            if (note := folder / "said.json").exists() and staging.read_note("said") is None:
                link(note, staging.path / note.name)
