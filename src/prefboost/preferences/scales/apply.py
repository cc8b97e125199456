"""`apply_scale`: map scores onto fitted scales; reject those outside, and those that stand for a missing one."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from prefboost.preferences.scales.fit import find_score_columns
from prefboost.preferences.scales.kinds import FittedScale
from prefboost.preferences.scales.missing_marks import MARK_REASON, is_mark, reject_marks
from prefboost.tables import (
    PREFERENCE_PAIRS,
    SCORED_COMPLETIONS,
    Table,
    refuse_other_tables,
    reject_where,
)

__all__ = ["apply_scale"]


def apply_scale(table: Table, fitted: FittedScale | Mapping[str, FittedScale]) -> Table:
    """Bring a table's scores onto fitted scales, which are stored with it.

    Args:
        table: ScoredCompletions or PreferencePairs.
        fitted: the overall score's scale, or one per aspect (`fit_scales`); aspects without one keep their scores.

    Returns:
        The table, scores in units of the scale. Rejects, counted by reason, are rows whose overall score stands for a
        missing one, and those whose overall score lies outside a strict scale. An aspect's score that stands for a
        missing one becomes null, as for an aspect that is not rated.

    Raises:
        DataError: the table is of another kind.
    """
    refuse_other_tables(table, SCORED_COMPLETIONS, PREFERENCE_PAIRS, task="a scale", remedy="apply it before relabel")
    by_aspect = {"": fitted} if isinstance(fitted, FittedScale) else dict(fitted)
    fitted = by_aspect[""]
    overall = [name for name in find_score_columns(table) if "." not in name]
    scales = {name: by_aspect.get(name.partition(".")[2]) for name in find_score_columns(table)}
    ends = f"{fitted.knots[0]:g} to {fitted.knots[-1]:g}"
    outside_reason = f"a score lies outside the declared range {ends}"
    if fitted.because:
        outside_reason = (
            f"a score lies outside the range {ends}, assumed since none is declared (data.score_range, scale)"
        )

    def map_scores(frame: pl.DataFrame, _: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        frame, rejects = reject_marks(frame, overall, fitted.missing, stage="scale", path=table.path)
        if fitted.strict:
            outside = pl.any_horizontal(~pl.col(name).is_between(fitted.knots[0], fitted.knots[-1]) for name in overall)
            frame, beyond = reject_where(
                frame,
                outside,
                stage="scale",
                reason=outside_reason,
                path=table.path,
                value=pl.concat_str([pl.col(name) for name in overall], separator=" and ", ignore_nulls=True),
            )
            rejects = pl.concat([rejects, beyond])
        unrated = {
            name: is_mark(name, scale.missing) for name, scale in scales.items() if scale is not None and scale.missing
        }
        frame = frame.with_columns(pl.when(~mark).then(name).alias(name) for name, mark in unrated.items())
        mapped = [
            pl.Series(name, scale.apply_many(frame[name].to_numpy()), nan_to_null=True, dtype=pl.Float64)
            for name, scale in scales.items()
            if scale is not None and not scale.is_identity
        ]
        return (frame.with_columns(mapped) if mapped else frame), rejects

    frame, rejects = table.split(map_scores, [MARK_REASON, outside_reason])
    step = table.build_step("scale", fitted.model_dump(), frame, rejects)
    return table.derive(table.spec, frame, step, rejects=rejects, scales={**table.scales, **by_aspect})
