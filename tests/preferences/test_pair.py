from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_table, prompt_scores, scored_table

from prefboost.errors import DataError, MissingScores
from prefboost.preferences import (
    Adjacent,
    AllPairs,
    BestVsRandom,
    BestVsWorst,
    MarginAtLeast,
    PairStrategy,
    RewardAugmented,
    pair,
    relabel,
)
from prefboost.tables import MESSAGES

STRATEGIES = st.sampled_from(
    [
        BestVsRandom(),
        BestVsRandom(seed=7, cap=1),
        BestVsWorst(),
        AllPairs(),
        AllPairs(cap=2),
        Adjacent(),
        MarginAtLeast(margin=2.0),
    ]
)
Prompts = list[tuple[str, list[float | None]]]


def scored(prompts: Prompts) -> bool:
    return any(score is not None for _, scores in prompts for score in scores)


@given(prompt_scores.filter(scored), STRATEGIES)
def test_chosen_is_scored_above_rejected_and_ids_are_unique(prompts: Prompts, strategy: PairStrategy) -> None:
    made = pair(scored_table(prompts), strategy)
    assert (made.frame["score_chosen"] > made.frame["score_rejected"]).all()
    assert made.frame["pair_id"].is_unique().all()
    assert sum(made.steps[-1].rejected.values()) == made.rejects.height


@given(prompt_scores.filter(scored), STRATEGIES)
def test_the_order_of_rows_and_shards_does_not_matter(prompts: Prompts, strategy: PairStrategy) -> None:
    whole = pair(scored_table(prompts), strategy).frame.drop("row").sort("pair_id")
    usable = [entry for entry in prompts if scored([entry])]
    shards = [pair(scored_table([entry]), strategy).frame.drop("row") for entry in reversed(usable)]
    assert pl.concat(shards).sort("pair_id").equals(whole)


@given(prompt_scores.filter(scored))
def test_best_vs_random_takes_the_best_and_one_pair_a_prompt(prompts: Prompts) -> None:
    made = pair(scored_table(prompts)).frame
    best = {name: max(s for s in scores if s is not None) for name, scores in prompts if scored([(name, scores)])}
    assert made["prompt_id"].is_unique().all()
    assert all(row["score_chosen"] == best[row["prompt_id"]] for row in made.iter_rows(named=True))


def test_the_random_rejected_completion_is_uniform() -> None:
    prompts: Prompts = [(f"q{n}", [10.0, 1.0, 2.0, 3.0, 4.0]) for n in range(2000)]
    drawn = pair(scored_table(prompts)).frame["score_rejected"].value_counts()["count"].to_list()
    assert min(drawn) > 430 and max(drawn) < 570
    other = pair(scored_table(prompts), BestVsRandom(seed=1)).frame["score_rejected"]
    assert not other.equals(pair(scored_table(prompts)).frame["score_rejected"])


def test_every_strategy_gives_the_pairs_it_promises() -> None:
    table = scored_table([("q", [1.0, 4.0, 9.0, 6.0])])
    found = {
        type(strategy).__name__: sorted(pair(table, strategy).frame.select("score_chosen", "score_rejected").rows())
        for strategy in (BestVsWorst(), Adjacent(), MarginAtLeast(margin=5.0), AllPairs(cap=1))
    }
    assert found == {
        "BestVsWorst": [(9, 1)],
        "Adjacent": [(4, 1), (6, 4), (9, 6)],
        "MarginAtLeast": [(6, 1), (9, 1), (9, 4)],
        "AllPairs": [(9, 1)],
    }


@pytest.mark.parametrize(
    ("among", "pairs"),
    [
        ("all", [(5, 1), (6, 1), (9, 1), (9, 5)]),
        ("best", [(9, 1), (9, 5)]),
        ("best_vs_worst", [(9, 1)]),
        ("adjacent", [(5, 1)]),
    ],
)
def test_a_margin_is_asked_of_all_pairs_or_of_those_named(among: str, pairs: list[tuple[float, float]]) -> None:
    strategy = MarginAtLeast.model_validate({"margin": 4.0, "among": among})
    made = pair(scored_table([("q", [1.0, 5.0, 9.0, 6.0]), ("r", [3.0, 4.0])]), strategy)
    assert sorted(made.frame.select("score_chosen", "score_rejected").rows()) == pairs


def test_ties_are_dropped_and_counted_or_kept_for_relabel_to_mark() -> None:
    table = scored_table([("b", [3.0, 3.0])])
    assert pair(table, BestVsWorst()).steps[-1].rejected == {"both completions have the same score": 1}
    kept = pair(table, BestVsWorst(ties="keep"))
    assert kept.frame.select("score_chosen", "score_rejected").rows() == [(3.0, 3.0)]
    assert relabel(kept, RewardAugmented(ties="mark")).frame["view"].to_list() == ["tie"]


def test_what_cannot_be_paired_is_counted_with_its_reason() -> None:
    made = pair(scored_table([("a", [1.0]), ("b", [3.0, 3.0]), ("c", [2.0, None, 5.0])]), BestVsWorst())
    assert made.steps[-1].rejected == {
        "both completions have the same score": 1,
        "the completion has no score": 1,
        "the prompt has fewer than two scored completions": 1,
    }


def test_aspects_and_texts_travel_with_their_completion() -> None:
    made = pair(scored_table([("q", [1.0, 9.0])], {"wit": [3.0, 4.0]})).frame.row(0, named=True)
    assert (made["score_chosen.wit"], made["score_rejected.wit"]) == (4.0, 3.0)
    assert made["chosen"][0]["content"] == "answer 1 to q"


def test_unscored_completions_are_refused_with_the_remedy() -> None:
    with pytest.raises(MissingScores, match=r"columns\.score"):
        pair(scored_table([("q", [None, None])]))


def test_goal_pairs_cannot_be_paired_again() -> None:
    with pytest.raises(DataError, match="found GoalPairs"):
        pair(relabel(pair(scored_table([("q", [1.0, 2.0])]))))


@given(prompt_scores.filter(scored), STRATEGIES)
def test_a_pair_says_why_each_of_its_completions_ended(prompts: Prompts, strategy: PairStrategy) -> None:
    table = scored_table(prompts)
    why = pl.when(pl.col("row") % 2 == 0).then(pl.lit("length")).otherwise(pl.lit("stop"))
    made = pair(replace(table, frame=table.frame.with_columns(finish_reason=why)), strategy).frame
    known = {str(row["completion"]): ("length", "stop")[row["row"] % 2] for row in table.frame.iter_rows(named=True)}
    for row in made.iter_rows(named=True):
        for side in ("chosen", "rejected"):
            assert row[f"finish_{side}"] == known[str(row[side])]


def test_prompts_without_a_pair_of_the_margin_are_counted() -> None:
    made = pair(scored_table([("a", [1.0, 9.0]), ("b", [5.0, 6.0, 5.5])]), MarginAtLeast(margin=3))
    assert made.frame["prompt_id"].to_list() == ["a"]
    assert made.rejects.select("id", "reason", "found").rows() == [
        ("b/1", "no scores differ by 3 or more between two completions of the prompt", "6.0")
    ]


def test_a_margin_is_asked_of_data_that_are_pairs_already() -> None:
    made = pair(pair_table([(9.0, 1.0), (5.0, 4.0), (1.0, 8.0), (None, 3.0)]), MarginAtLeast(margin=3))
    assert made.frame["pair_id"].to_list() == ["p0/0", "p2/0", "p3/0"]
    assert made.rejects["reason"].to_list() == ["the two scores differ by less than 3"]
    with pytest.raises(MissingScores, match="no margin can be asked"):
        pair(pair_table([(None, None)]), MarginAtLeast(margin=3))


def test_unscored_completions_with_scored_aspects_are_refused_with_the_aspects() -> None:
    with pytest.raises(MissingScores, match=r"data\.score=help\b"):
        pair(scored_table([("a", [None, None])], {"help": [1.0, 2.0], "style": [1.0, 2.0]}))


def test_answers_to_different_questions_are_not_compared_because_a_table_in_memory_gives_them_one_id() -> None:
    table = scored_table([("a", [7.0, 3.0]), ("b", [8.0, 2.0])])
    prompts = [[{"role": "user", "content": text, "extra": None}] for text in ("one?", "one?", "two?", "two?")]
    frame = table.frame.with_columns(prompt=pl.Series(prompts, dtype=MESSAGES))
    assert len(pair(replace(table, frame=frame))) == 2
    with pytest.raises(DataError, match="different prompts have the prompt_id 'same'"):
        pair(replace(table, frame=frame.with_columns(prompt_id=pl.lit("same"))))
