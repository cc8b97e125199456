"""Completions kept by their scores: properties of each strategy, and what is counted."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_of import assert_same_table, cut_evenly, pair_table, prompt_scores, scored_table

from prefboost.errors import DataError, MissingScores
from prefboost.preferences import AllPairs, pair
from prefboost.preferences.score_selection import SELECT_STRATEGIES, BestOfN, RejectionSampling, ScoreAtLeast
from prefboost.preferences.select import select
from prefboost.tables import StoredTable, Table

Prompts = list[tuple[str, list[float | None]]]
scored_prompts = prompt_scores.filter(lambda prompts: any(s is not None for _, found in prompts for s in found))
strategies = st.one_of(
    st.builds(BestOfN, count=st.integers(1, 3)),
    st.builds(ScoreAtLeast, score=st.integers(1, 10)),
    st.builds(RejectionSampling, beta=st.sampled_from([0.01, 1, 100]), count=st.sampled_from([None, 1, 2, 9])),
)


def by_prompt(table: Table) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for prompt, score in table.frame.select("prompt_id", "score").iter_rows():
        found.setdefault(prompt, []).append(score)
    return found


@given(scored_prompts, strategies)
@settings(max_examples=60)
def test_every_completion_is_kept_once_or_counted_and_order_stays(prompts: Prompts, strategy: object) -> None:
    table = scored_table(prompts)
    chosen = select(table, strategy)  # type: ignore[arg-type]
    assert len(chosen) + chosen.rejects.height == len(table)
    rows = chosen.frame["row"].to_list()
    assert all(one < other for one, other in pairwise(rows))
    assert sum(chosen.steps[-1].rejected.values()) == chosen.rejects.height


@given(scored_prompts, strategies, st.integers(1, 5))
@settings(max_examples=60)
def test_completions_in_pieces_are_selected_as_those_of_one_frame(
    prompts: Prompts, strategy: object, height: int
) -> None:
    table = scored_table(prompts)
    stored = select(cut_evenly(table, height), strategy)  # type: ignore[arg-type]
    assert isinstance(stored, StoredTable)
    assert_same_table(stored, select(table, strategy))  # type: ignore[arg-type]


@given(scored_prompts, st.integers(1, 4))
@settings(max_examples=60)
def test_best_of_n_keeps_the_highest_scores_of_each_prompt(prompts: Prompts, count: int) -> None:
    kept = by_prompt(select(scored_table(prompts), BestOfN(count=count)))
    for prompt, scores in prompts:
        known = sorted((score for score in scores if score is not None), reverse=True)
        assert sorted(kept.get(prompt, []), reverse=True) == known[:count]


@given(scored_prompts, st.integers(1, 3), st.integers(0, 5))
@settings(max_examples=60)
def test_rejection_sampling_with_a_small_beta_keeps_scores_of_the_best_of_n(
    prompts: Prompts, count: int, seed: int
) -> None:
    table = scored_table(prompts)
    best, drawn = BestOfN(count=count), RejectionSampling(beta=1e-6, count=count, seed=seed)
    kept = [{prompt: sorted(found) for prompt, found in by_prompt(select(table, how)).items()} for how in (best, drawn)]
    assert kept[0] == kept[1]


@given(scored_prompts, st.integers(1, 4))
@settings(max_examples=60)
def test_rejection_sampling_fills_its_count_where_there_are_enough(prompts: Prompts, count: int) -> None:
    kept = by_prompt(select(scored_table(prompts), RejectionSampling(count=count)))
    for prompt, scores in prompts:
        assert len(kept.get(prompt, [])) == min(count, sum(score is not None for score in scores))


def test_one_round_keeps_a_completion_with_the_papers_probability() -> None:
    """exp((r - r_max) / beta) with r = 8, r_max = 10, beta = 2: 0.3679 of 4,000; standard error 0.0076."""
    table = scored_table([(f"q{at}", [10.0, 8.0]) for at in range(4000)])
    kept = by_prompt(select(table, RejectionSampling(beta=2.0)))
    assert all(10.0 in found for found in kept.values())
    assert sum(8.0 in found for found in kept.values()) / 4000 == pytest.approx(math.exp(-1), abs=0.03)


def test_with_a_large_beta_each_completion_is_as_likely_as_another() -> None:
    table = scored_table([(f"q{at}", [1.0, 5.0, 10.0]) for at in range(3000)])
    kept = [
        score for found in by_prompt(select(table, RejectionSampling(beta=1e6, count=1))).values() for score in found
    ]
    assert len(kept) == 3000
    assert all(kept.count(score) / 3000 == pytest.approx(1 / 3, abs=0.03) for score in (1.0, 5.0, 10.0))


def test_draws_do_not_depend_on_the_other_prompts() -> None:
    prompts = [(f"q{at}", [1.0, 2.0, 3.0]) for at in range(20)]
    how = RejectionSampling(beta=2.0)
    together, alone = by_prompt(select(scored_table(prompts), how)), by_prompt(select(scored_table(prompts[7:8]), how))
    assert together["q7"] == alone["q7"]


def test_what_is_selected_can_be_paired() -> None:
    chosen = select(scored_table([("a", [9.0, 8.0, 1.0]), ("b", [2.0, 1.0])]), ScoreAtLeast(score=2.0))
    pairs = pair(chosen, AllPairs())
    assert pairs.frame.select("score_chosen", "score_rejected").rows() == [(9.0, 8.0)]


def test_best_of_n_may_ask_for_a_least_score_and_says_how_many_prompts_are_left() -> None:
    chosen = select(scored_table([("a", [9.0, 8.0]), ("b", [2.0, None])]), BestOfN(at_least=5.0))
    assert by_prompt(chosen) == {"a": [9.0]}
    assert chosen.steps[-1].notes == {"prompts in": 2, "prompts out": 1}
    assert chosen.steps[-1].rejected == {
        "the completion has no score": 1, "the completion was not selected by its score": 2
    }  # fmt: skip


def test_pairs_and_completions_without_scores_are_refused() -> None:
    with pytest.raises(DataError, match="found PreferencePairs"):
        select(pair_table([(2.0, 1.0)]), BestOfN())
    with pytest.raises(MissingScores, match=r"none can be selected by it\n  -> name the score's column"):
        select(scored_table([("a", [None])]), BestOfN())
    bare = scored_table([("a", [None])])
    rated = replace(bare, frame=bare.frame.with_columns(pl.lit(2.0).alias("score.style")))
    with pytest.raises(MissingScores, match=r"the aspects style are scored: take one of them \(data\.score=style\)"):
        select(rated, BestOfN())


def test_every_strategy_stands_under_its_kind() -> None:
    assert {kind: arm.model_fields["kind"].default for kind, arm in SELECT_STRATEGIES.items()} == {
        kind: kind for kind in SELECT_STRATEGIES
    }
