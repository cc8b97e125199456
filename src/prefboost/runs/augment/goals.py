"""Goals of an output of `augment`: their wording and the scales that they are said on, settled before any part is made.

Scales are fitted to the scores of the whole input. Reading it once for these alone takes a third of the time, so that
the first batch decides where that is safe, and all scores are held against it when the parts are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl

from prefboost.errors import DataError
from prefboost.preferences import fit_scales
from prefboost.preferences.scales.fit import IdentityScale, find_declared_range, find_score_columns
from prefboost.preferences.scales.kinds import DeclaredRange, FittedScale
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.runs.augment.settings import Augment
from prefboost.runs.folder.staging import Staging
from prefboost.runs.preparation import build_renderer, list_goal_aspects
from prefboost.sources import Collection, Source, read_batches
from prefboost.sources.layouts.unmapped import refuse_unmapped
from prefboost.sources.read import resolve_source
from prefboost.sources.rows.scores import is_named_range_possible
from prefboost.tables import Table

__all__ = ["assume_goals", "load_goals", "note_goals", "read_inputs", "revise_goals", "settle_goals", "suggest_range"]

_NOTE = "said"
"""Name of the staging folder's note."""


def load_goals(source: str | Path | Source, settings: Augment, staging: Staging) -> StatedGoals:
    """Return how goals are said and their scales, from the staging folder where an earlier call has settled them.

    Otherwise the whole source is read for its scores.
    """
    record = staging.read_note(_NOTE)
    if record is not None:
        return StatedGoals.from_record(record)
    resolved, declared = resolve_source(source), None
    # A fitted scale needs no range, but what lies in a declared one is no mark of missing scores.
    if isinstance(resolved, Collection):
        fitted = not isinstance(settings.scale, DeclaredRange | None)
        declared = resolved.score_range if fitted else resolved.resolve_score_range(settings.columns)
    goals = settle_goals(settings, _read_scored(source, settings), declared)
    note_goals(goals, staging)
    return goals


def note_goals(goals: StatedGoals, staging: Staging) -> None:
    """Note settled goals in the staging folder, where `load_goals` finds them."""
    staging.note(_NOTE, goals.record())


def assume_goals(
    source: str | Path | Source, settings: Augment, tables: Iterator[Table], staging: Staging
) -> tuple[StatedGoals | None, Iterator[Table]]:
    """Settle the goals by the first batch, where the others most likely have the same scales.

    That is likely where both halves of the batch have the scale of the whole batch, as printed marks (1 to 10, 1 to 5)
    have; the lowest and highest of any numbers do not. It is certain where there is no second batch.

    Args:
        source, settings: of the output.
        tables: all batches.
        staging: the output's, whose note is believed.

    Returns:
        the goals, None where the whole source has to be read for them; and all batches.
    """
    first = None if staging.read_note(_NOTE) is not None else next(tables, None)
    if first is None:
        return None, tables
    if isinstance(resolve_source(source), Collection) and is_named_range_possible(first.frame.columns):
        return None, chain([first], tables)
    half = len(first) // 2
    pieces = (first.frame, first.frame[:half], first.frame[half:])
    declared = _find_declared(source, settings, first)
    try:
        whole, *halves = [_fit(settings, [replace(first, frame=piece)], declared) for piece in pieces]
    except DataError:
        return None, chain([first], tables)
    if not all(_have_equal_scales(whole, other) for other in halves):
        second = next(tables, None)
        if second is not None:
            return None, chain([first, second], tables)
    return _state_goals(settings, whole), chain([first], tables)


def revise_goals(
    goals: StatedGoals, source: str | Path | Source, settings: Augment, scored: Sequence[Table]
) -> tuple[StatedGoals, bool]:
    """Settle assumed goals by all scores.

    Args:
        goals: from `assume_goals`.
        source, settings: of the output.
        scored: all batches, of which only the scores are read.

    Returns:
        the goals; and whether they are the assumed ones, whatever reasons they give for their scales.
    """
    scales = _fit(settings, scored, _find_declared(source, settings, scored[0]))
    if _have_equal_scales(scales, goals.scales):
        return replace(goals, scales=scales), True
    return _state_goals(settings, scales), False


def settle_goals(settings: Augment, tables: Iterable[Table], declared: tuple[float, float] | None) -> StatedGoals:
    """Fit the scales to tables, and settle how goals are said on them."""
    return _state_goals(settings, _fit(settings, tables, declared))


def _fit(settings: Augment, tables: Iterable[Table], declared: tuple[float, float] | None) -> dict[str, FittedScale]:
    scale = IdentityScale(ends=declared) if settings.scale is None else settings.scale
    return fit_scales(scale, tables, aspects=list_goal_aspects(settings), declared=declared)


def _state_goals(settings: Augment, scales: Mapping[str, FittedScale]) -> StatedGoals:
    render = None
    if settings.tokenizer is not None:  # transformers is loaded only where a tokenizer is named
        from prefboost.engines.models.weights import load_tokenizer

        render = build_renderer(load_tokenizer(settings.tokenizer))
    return StatedGoals.settle(settings.condition, scales, list_goal_aspects(settings), render)


def _find_declared(source: str | Path | Source, settings: Augment, table: Table) -> tuple[float, float] | None:
    """Return the range that `load_goals` takes for the declared one, as a batch tells it."""
    resolved = resolve_source(source)
    if not isinstance(resolved, Collection):
        return None
    fitted = not isinstance(settings.scale, DeclaredRange | None)
    return resolved.score_range if fitted else find_declared_range(table)


def _have_equal_scales(first: Mapping[str, FittedScale], second: Mapping[str, FittedScale]) -> bool:
    """Tell whether scales map all scores alike, whatever reasons they give."""
    plain = [
        {name: scale.model_copy(update={"because": ""}) for name, scale in each.items()} for each in (first, second)
    ]
    return plain[0] == plain[1]


def suggest_range(error: DataError, source: str | Path | Source, settings: Augment) -> DataError:
    """Add the range that the scores have to an error, where all of them lie outside the declared one."""
    resolved = resolve_source(source)
    if "outside the" not in error.message or not isinstance(resolved, Collection):
        return error
    whole = resolved.model_copy(update={"score_range": None})
    pieces = [
        table.frame[name]
        for table in _read_scored(whole, settings)
        for name in find_score_columns(table)
        if "." not in name
    ]
    scores = pl.concat([piece.rename("score").cast(pl.Float64) for piece in pieces]).drop_nulls() if pieces else None
    if scores is None or scores.is_empty():
        return error
    low, high = (float(end) for end in np.quantile(scores.to_numpy(), [0, 1]))
    return DataError(
        f"{error.message} (they range from {low:.6g} to {high:.6g})",
        remedy=f"declare the range of the scores: data.score_range=[{low:.6g},{high:.6g}]; or fit a scale: "
        "scale=min_max, or scale=quantile if a few are outliers",
        place=error.place,
    )


def _read_scored(source: str | Path | Source, settings: Augment) -> Iterator[Table]:
    """Read what a scale is fitted to."""
    resolved = resolve_source(source)
    if isinstance(resolved, Collection):
        return resolved.score_tables(settings.columns, settings.batch_rows)
    return read_inputs(source, settings)


def read_inputs(source: str | Path | Source, settings: Augment) -> Iterator[Table]:
    """Read batches, one per part; all rows of a prompt come in one batch only where its pairs are capped."""
    resolved = resolve_source(source)
    if isinstance(resolved, Collection):
        resolved = resolved.model_copy(update={"whole_prompts": settings.pair.cap is not None})
    return map(refuse_unmapped, read_batches(resolved, columns=settings.columns, rows=settings.batch_rows))
