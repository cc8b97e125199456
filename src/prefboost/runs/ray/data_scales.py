"""Scales fitted by many: exact counts of the scores of each piece, merged as a tree, and fitted in one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from prefboost.preferences.scales.fit import IdentityScale, find_score_columns
from prefboost.preferences.scales.kinds import DeclaredRange
from prefboost.runs.augment.goals import settle_goals
from prefboost.runs.augment.settings import Augment
from prefboost.runs.preparation import list_goal_aspects
from prefboost.runs.ray.data_plan import ReadPlan, Spread
from prefboost.sources import Collection
from prefboost.sources.readers.frames import read_frame, write_frame
from prefboost.tables import PREFERENCE_PAIRS, SCORED_COMPLETIONS, Table

__all__ = ["count_score_values", "expand_scores", "merge_all", "merge_counts", "settle_scales"]

_FAN_IN = 16
_NO_SCORES = pl.DataFrame(schema={"column": pl.String, "bits": pl.UInt64, "count": pl.Int64})


def settle_scales(spread: Spread, plan: ReadPlan, source: Collection, settings: Augment) -> Mapping[str, Any]:
    """Fit the scales of goals to all scores of a source, as `prefboost.runs.augment.goals.load_goals` does.

    The scores themselves go nowhere: a piece is reduced to how often each of its scores occurs, so that the numbers
    are those of a fit to all of them.

    Returns:
        how goals are said, and their scales (`StatedGoals.record`).
    """
    counts: list[Path] = []
    if needs_scores(plan, source, settings):
        counts = merge_all(spread, plan.folder, list(spread(partial(count_piece, plan), range(len(plan.pieces)))))
    (record,) = spread(partial(settle_counts, plan, source, settings), [counts])
    settled: Mapping[str, Any] = record
    return settled


def merge_all(spread: Spread, folder: Path, counts: list[Path]) -> list[Path]:
    """Add files of counts up as a tree, to one file at most."""
    level = 0
    while len(counts) > 1:
        parts = [sorted(counts)[at : at + _FAN_IN] for at in range(0, len(counts), _FAN_IN)]
        named = [(folder / f"scores-{level}.{number:07d}.arrow", part) for number, part in enumerate(parts)]
        counts, level = list(spread(merge_files, named)), level + 1
    return counts


def count_score_values(tables: Iterator[Table]) -> pl.DataFrame:
    """Count how often each score occurs in each column of scores: ``column``, ``bits`` of the float64, ``count``."""
    parts = []
    for table in tables:
        for name in find_score_columns(table):
            scores = table.frame[name].drop_nulls().cast(pl.Float64).to_numpy()
            # As bits, since 0.0 and -0.0 are equal, and NaN is not.
            bits, counts = np.unique(scores.view(np.uint64), return_counts=True)
            # A column without scores is one all the same: no score of 0.
            bits, counts = np.append(bits, np.uint64(0)), np.append(counts, 0)
            parts.append(pl.DataFrame({"column": [name] * len(bits), "bits": bits, "count": counts}, _NO_SCORES.schema))
    return merge_counts(parts)


def merge_counts(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Add counts up."""
    merged = pl.concat([_NO_SCORES, *parts]).group_by("column", "bits").agg(pl.col("count").sum())
    return merged.sort("column", "bits")


def expand_scores(counts: pl.DataFrame, path: str | None) -> Iterator[Table]:
    """Yield tables of one column of scores each, in which every score stands as often as it occurs."""
    for (name,), part in counts.partition_by("column", as_dict=True, maintain_order=True).items():
        spec = PREFERENCE_PAIRS if str(name).startswith(("score_chosen", "score_rejected")) else SCORED_COMPLETIONS
        scores = np.repeat(part["bits"].to_numpy().view(np.float64), part["count"].to_numpy())
        yield Table(spec, pl.DataFrame({str(name): scores}), path=path)


def needs_scores(plan: ReadPlan, source: Collection, settings: Augment) -> bool:
    """Tell whether anything is fitted to the scores, or a range that names of columns tell is held against them."""
    declared = source.score_range
    if isinstance(settings.scale, DeclaredRange | None):
        if source.doubts_range(plan.opened.layout):
            return True
        declared = source.score_range or source.find_makers_range(plan.opened.layout)
    scale = IdentityScale(ends=declared) if settings.scale is None else settings.scale
    if isinstance(scale, DeclaredRange) and declared is not None:
        scale = scale.fill_ends(declared)
    return bool(scale.needs_scores or list_goal_aspects(settings))


def count_piece(plan: ReadPlan, number: int) -> Path:
    """Count the scores of a piece; return the file of counts."""
    path = plan.folder / f"scores.{number:07d}.arrow"
    write_frame(count_score_values(plan.view(number).read_scores(None)), path)
    return path


def merge_files(files: tuple[Path, Sequence[Path]]) -> Path:
    """Add files of counts up to another one, which is returned."""
    target, parts = files
    write_frame(merge_counts([read_frame(path) for path in parts]), target)
    return target


def settle_counts(plan: ReadPlan, source: Collection, settings: Augment, paths: Sequence[Path]) -> Mapping[str, Any]:
    """Fit the scales to all counts; return how goals are said, as `settle_scales` does."""
    counts = merge_counts([read_frame(path) for path in paths])
    tables = list(expand_scores(counts, source.path))
    declared = source.score_range
    if isinstance(settings.scale, DeclaredRange | None):
        declared = source.check_range(plan.opened.layout, [table.frame for table in tables])
    return settle_goals(settings, tables, declared).record()
