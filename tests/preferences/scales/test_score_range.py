"""Ranges that nobody declared: what the scores show is kept or fitted, and never loses the bulk of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import scored_table

from prefboost.preferences import DeclaredRange, apply_scale
from prefboost.preferences.scales.fit import fit_scale
from prefboost.preferences.scales.score_range import infer_score_range

draw = np.random.default_rng(0)

CASES = {
    "stars": (np.tile([1, 2, 3, 4, 5], 40), "declared", (1, 5)),
    "means of stars": (np.round(draw.uniform(1, 5, 200), 2), "declared", (1, 5)),
    "marks out of ten": (np.tile([1, 3.5, 7, 8, 10], 40), "declared", (1, 10)),
    "marks out of ten with a few slips": (np.array([*np.tile([1, 4, 9, 10], 30), 99, 98, 0]), "declared", (1, 10)),
    "marks from 0 to 10": (np.tile([0, 2, 9, 10], 40), "declared", (0, 10)),
    "marks from 0 to 4": (np.tile([0, 1, 4], 40), "declared", (0, 4)),
    "percent": (np.tile([0, 35, 50, 100], 40), "declared", (0, 100)),
    "probabilities": (draw.uniform(0, 1, 500), "min_max", None),
    "logits": (draw.normal(0, 4, 500), "min_max", None),
    "logits of which most lie between 1 and 10": (draw.normal(4, 1.7, 2000), "min_max", None),
    "negative scores": (draw.uniform(-30, -2, 500), "min_max", None),
    "negative marks": (np.tile([-3, -1, 2, 3], 40), "min_max", (-3, 3)),
    "heavy tails": (draw.standard_t(1.2, 3000), "quantile", None),
    "thousands": (draw.uniform(800, 1500, 200), "min_max", None),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_range_is_told_by_the_distribution(case: str) -> None:
    scores, kind, ends = CASES[case]
    shown = infer_score_range(np.asarray(scores, dtype=float))
    assert shown.kind == kind
    assert ends is None or shown.ends == ends
    assert "no range is declared" in shown.because


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60).filter(lambda found: min(found) < max(found)))
def test_nearly_all_scores_stay_and_keep_their_order(scores: list[float]) -> None:
    fitted = fit_scale(DeclaredRange(), [scored_table([("q", scores)]).frame["score"]])
    made = apply_scale(scored_table([("q", scores)]), fitted)
    marks = sum(scores.count(mark) for mark in fitted.missing)
    assert len(made) + marks >= 0.95 * len(scores)
    pairs = sorted(zip(scores, [fitted.apply(score) for score in scores], strict=True))
    assert [mapped for _, mapped in pairs] == sorted(mapped for _, mapped in pairs)
    assert fitted.because


def test_without_scores_the_published_scale_stands() -> None:
    assert infer_score_range(np.empty(0)).ends == (1, 10)


def test_one_score_alone_within_the_published_scale_is_no_fault() -> None:
    assert fit_scale(DeclaredRange(), [scored_table([("q", [7.0, 7.0])]).frame["score"]]).knots == (1, 10)


@pytest.mark.parametrize("high", [3, 4, 6, 7, 9])
def test_whole_marks_that_end_between_the_usual_scales_are_told_with_the_range_to_declare(high: int) -> None:
    shown = infer_score_range(np.tile(np.arange(1.0, high + 1), 40))
    assert shown.ends == ((1, 5) if high < 6 else (1, 10))
    assert shown.because.endswith(f"data.score_range=[1,{high}]")


@pytest.mark.parametrize(
    "scores",
    [np.tile([1, 2, 3, 4, 5], 40), np.tile(np.arange(1, 11), 40), np.tile([1, 2, 3, 5, 7], 40), np.arange(1, 8)],
)
def test_no_range_is_suggested_where_the_marks_are_those_of_the_scale_or_too_few(scores: np.ndarray) -> None:
    assert "data.score_range" not in infer_score_range(scores.astype(float)).because
