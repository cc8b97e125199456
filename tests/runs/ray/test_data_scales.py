"""Scales fitted to counts of scores are those that are fitted to the scores."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.preferences import fit_scales
from prefboost.preferences.scales.fit import IdentityScale
from prefboost.preferences.scales.kinds import DeclaredRange, MinMax, Percentile, Quantile, Scale
from prefboost.runs.ray.data_scales import count_score_values, expand_scores, merge_counts
from prefboost.tables import SCORED_COMPLETIONS, Table

SCORES = st.one_of(
    st.sampled_from([-1.0, 0.0, 1.0, 5.0, 9.5, 10.0, 999.0, float("nan"), float("inf")]),
    st.floats(-20, 20, width=32).map(lambda score: score + 0.0),
    st.none(),
)


def build_table(scores: list[float | None]) -> Table:
    columns = {"score": scores, "score.help": scores[::-1]}
    return Table(SCORED_COMPLETIONS, pl.DataFrame(columns, dict.fromkeys(columns, pl.Float64)))


def fit(scale: Scale, tables: list[Table]) -> object:
    try:
        return fit_scales(scale, tables, aspects=["help"])
    except DataError as error:
        return error.message


@pytest.mark.parametrize("scale", [DeclaredRange(), MinMax(), Quantile(), Percentile(steps=7), IdentityScale()])
@settings(max_examples=30)
@given(scores=st.lists(SCORES, min_size=1, max_size=40), cut=st.integers(1, 9), fan=st.integers(1, 4))
def test_every_scale_is_fitted_to_the_same_numbers(
    scale: Scale, scores: list[float | None], cut: int, fan: int
) -> None:
    tables = [build_table(scores[at : at + cut]) for at in range(0, len(scores), cut)]
    leaves = [count_score_values(iter([table])) for table in reversed(tables)]
    merged = merge_counts([merge_counts(leaves[at : at + fan]) for at in range(0, len(leaves), fan)])
    whole = pl.concat([table.frame for table in tables])
    assert fit(scale, list(expand_scores(merged, None))) == fit(scale, [Table(SCORED_COMPLETIONS, whole)])


def test_counts_tell_zeros_and_missing_scores_apart() -> None:
    counts = count_score_values(iter([build_table([0.0, -0.0, 0.0, None])]))
    (table, _) = expand_scores(counts, None)
    scores = table.frame["score"].to_numpy()
    assert sorted(np.signbit(scores).tolist()) == [False, False, True]
