"""`select` on files: the best of scored completions in, rows to fine-tune on out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from prefboost import __version__
from prefboost.addresses import find_address
from prefboost.errors import Place, RunError
from prefboost.preferences.scales.kinds import Scores
from prefboost.preferences.score_hint import refuse_unscored_completions
from prefboost.preferences.score_selection import SELECT_STRATEGIES, UNSCORED, SelectStrategy, select_by_score
from prefboost.preferences.select import Select, select
from prefboost.runs.folder.far_staging import fetch_part, fill_folder, read_finished_parts
from prefboost.runs.folder.manifest import hash_path, hash_values, list_input_files
from prefboost.runs.folder.staging import Staging
from prefboost.runs.outputs import write_output
from prefboost.runs.shards import Shard
from prefboost.settings import Settings, choice
from prefboost.shelf import open_shelf
from prefboost.sources import Columns, read
from prefboost.sources.readers.frames import read_frame, write_frame
from prefboost.sources.writers.file_types import find_file_type
from prefboost.sources.writers.outputs import companions, refuse_foreign, refuse_inputs
from prefboost.tables import SCORED_COMPLETIONS, Step, Table, refuse_other_tables, reject_where, sum_part_steps

__all__ = [
    "SelectCompletions",
    "count_part",
    "count_selection",
    "drop_cut_completions",
    "merge_selection",
    "select_completions",
    "select_shard",
    "sum_counts",
    "sum_exactly",
]


class SelectCompletions(Settings):
    """Settings of `select`: which completions are kept, and the shape in which they are written."""

    strategy: Annotated[SelectStrategy, choice(SELECT_STRATEGIES)] = Field(
        description="Choice of a prompt's completions by their scores."
    )
    select: Select | None = Field(None, description="Limits that a completion passes before scores are compared.")
    cut: Literal["drop", "keep"] = Field(
        "drop",
        description="Completions that generation cut at the token limit: rejected before scores are compared (a "
        "trainer would teach an end of turn there), or kept.",
    )
    format: Literal["trl", "prefboost"] = Field(
        "trl", description="trl: prompt and completion as lists of messages, for SFTTrainer; prefboost: every column."
    )
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")


def select_completions(
    table: Table, how: SelectCompletions, out: str | Path | None = None, *, overwrite: bool = False
) -> Table:
    """Keep the best completions of every prompt, and write them.

    Args:
        table: ScoredCompletions.
        how: which, and in what shape they are written.
        out: ``.parquet`` or ``.jsonl`` file to write, with what was done in ``OUT.select.json`` and what was not kept
            in ``OUT.rejects.parquet``, reason by reason.
        overwrite: replace other rows that `select` wrote; a file that it did not write is never replaced.

    Returns:
        ScoredCompletions, those left out as rejects.

    Raises:
        DataError: the table is of another kind, or the output's name ends in no type of file.
        MissingScores: no completion has a score.
        SettingsError: a limit is in tokens, which nothing counts here.
        RunError: the output is the input, is not of `select`, or holds other rows.
    """
    if out is not None:
        find_file_type(Path(out))
        files = companions(out, ".select.json")
        refuse_inputs(files, [table], far=True)
        refuse_foreign(files, files[-1:], "select")
    selected = select_by_score(_limit(table, how), how.strategy)
    if out is None:
        return selected
    history = {"select": lambda written: count_selection(table, written)}
    return write_output(selected, Path(out), history=history, format=how.format, overwrite=overwrite)


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
    find_file_type(out)
    folder = shard.locate(out)
    refuse_inputs([*companions(out, ".select.json"), folder], [source], far=True)

    def fill(staging: Staging) -> None:
        table = read(source, columns=how.columns)
        refuse_other_tables(table, SCORED_COMPLETIONS, task="selection by score", remedy="score the completions first")
        refuse_unscored_completions(table, "selected by it")
        mine = shard.take(table)
        selected = select_by_score(_limit(mine, how), how.strategy, is_part=True)
        files = {what: staging.path / f"{shard.index:06d}.{what}" for what in ("rows", "rejects")}
        write_frame(selected.frame, files["rows"])
        write_frame(selected.rejects, files["rejects"])
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
    with tempfile.TemporaryDirectory(prefix="prefboost-") as scratch:
        keys, parts, frames = set(), [], []
        for folder in shards:
            key, entries = read_finished_parts(folder)
            keys.add(key)
            is_far = find_address(folder) is not None
            for entry in entries.values():
                described = [entry["files"][what] for what in ("rows", "rejects")]
                paths = (
                    fetch_part(open_shelf(folder), each, Path(scratch), folder) if is_far else folder / each["name"]
                    for each in described
                )
                parts.append(entry["made"])
                frames.append(list(map(read_frame, paths)))
    files = companions(out, ".select.json")
    refuse_inputs(files, [*shards, parts[0]["path"]], far=True)
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
    # A record is in one shard, so that its rows keep their order; in one piece, since a file's bytes depend on that.
    rows, rejects = (pl.concat(each).sort("row", maintain_order=True).rechunk() for each in zip(*frames, strict=True))
    selected = Table(SCORED_COMPLETIONS, rows, rejects, summed, path=parts[0]["path"])
    if summed[-1].rejected.get(UNSCORED) == summed[-1].rows_in > 0:
        refuse_unscored_completions(replace(selected, frame=rows.clear(1)), "selected by it")
    reasons = dict(rejects["reason"].value_counts().iter_rows())
    counts = sum_counts([part["counts"] for part in parts], reasons)
    write_output(selected, out, history={"select": lambda _: counts}, format=how.format, overwrite=False)
    return counts


def _limit(table: Table, how: SelectCompletions) -> Table:
    """Keep the completions within the limits, before scores are compared."""
    within = drop_cut_completions(table) if how.cut == "drop" else table
    return within if how.select is None else select(within, how.select)


def drop_cut_completions(table: Table) -> Table:
    """Drop the completions that generation cut at the token limit, where the table tells them."""
    if table.spec is not SCORED_COMPLETIONS or "finish_reason" not in table.frame.columns:
        return table
    cut = (pl.col("finish_reason") == "length").fill_null(value=False)
    reason = "generation cut the completion at the token limit"
    frame, rejects = reject_where(table.frame, cut, stage="select", reason=reason, path=table.path)
    counts = {reason: rejects.height} if len(rejects) else {}
    step = Step("select", {"cut": "drop"}, len(table), frame.height, counts)
    return table.derive(SCORED_COMPLETIONS, frame, step, rejects=rejects)


def count_selection(table: Table, selected: Table) -> dict[str, Any]:
    """Count completions, prompts and mean scores, of all and of those kept, and rejects by reason."""
    reasons = selected.rejects["reason"].value_counts()
    return sum_counts([count_part(table, selected)], dict(reasons.iter_rows()))


def count_part(table: Table, selected: Table) -> dict[str, Any]:
    """Count a part of a table as `count_selection` does the whole; sums of scores are exact, as text."""
    counts: dict[str, Any] = {}
    for name, each in (("", table), (" kept", selected)):
        scores = each.frame["score"].drop_nulls()
        counts[f"rows{name}"] = len(each)
        counts[f"prompts{name}"] = each.frame["prompt_id"].n_unique()
        counts[f"scored{name}"] = len(scores)
        counts[f"sum{name}"] = str(sum_exactly(scores.to_numpy()))
    return counts


def sum_counts(parts: Sequence[Mapping[str, Any]], rejected: Mapping[str, int]) -> dict[str, Any]:
    """Sum the counts of parts (`count_part`) that share no prompt, beside the rejects of all by reason."""

    def sum_over(name: str) -> int:
        return sum(part[name] for part in parts)

    def compute_mean(name: str) -> float | None:
        total, count = sum(Fraction(part[f"sum{name}"]) for part in parts), sum_over(f"scored{name}")
        return float(total / count) if count else None

    return {
        "rows": sum_over("rows"),
        "kept": sum_over("rows kept"),
        "prompts": sum_over("prompts"),
        "prompts kept": sum_over("prompts kept"),
        "score mean": compute_mean(""),
        "score mean kept": compute_mean(" kept"),
        "rejected": dict(sorted(rejected.items(), key=lambda each: (-each[1], each[0]))),
    }


def sum_exactly(numbers: Scores) -> Fraction:
    """Sum finite float64 numbers without any rounding, so that the sum does not depend on their order or grouping."""
    mantissas, exponents = np.frexp(numbers)
    wholes = (mantissas * 2**53).astype(np.int64)
    total = Fraction(0)
    for exponent in np.unique(exponents):
        of_exponent = wholes[exponents == exponent]
        # In two halves, of which no sum of fewer than 2^36 numbers overflows.
        whole = (int((of_exponent >> 26).sum()) << 26) + int((of_exponent & (2**26 - 1)).sum())
        total += Fraction(whole) * Fraction(2) ** (int(exponent) - 53)
    return total
