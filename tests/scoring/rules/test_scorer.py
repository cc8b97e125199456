"""The verifiable scorer."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.scoring import SCORERS, RulesScorer
from prefboost.scoring.rules.counts import AtMostWords
from prefboost.scoring.rules.formats import Lowercase
from prefboost.scoring.rules.kinds import rules_json
from prefboost.scoring.rules.rule import Rule
from prefboost.scoring.rules.scorer import join_turns
from prefboost.scoring.rules.wording import NoCommas
from prefboost.tables import COMPLETIONS, MESSAGES, PROMPTS, SCORED_COMPLETIONS, Table

FOUR: list[Rule] = [AtMostWords(count=2), Lowercase(), NoCommas(), AtMostWords(count=3)]


def completions(rows: Sequence[tuple[str, str | None]]) -> Table:
    """Completions with their rules."""
    frame = pl.DataFrame(
        [
            {
                "row": row,
                "prompt_id": f"p{row}",
                "prompt": [{"role": "user", "content": "Say it.", "extra": None}],
                "completion_id": f"p{row}/0",
                "completion": [{"role": "assistant", "content": text, "extra": None}],
                "rules": rules,
                "goal": 7.0,
            }
            for row, (text, rules) in enumerate(rows)
        ],
        schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "rules": pl.String},
    )
    return Table(COMPLETIONS, frame, path="completions.parquet")


@given(st.lists(st.sampled_from(FOUR), min_size=1, max_size=4), st.text())
def test_scores_lie_between_1_and_10_and_count_rules(rules: list[Rule], text: str) -> None:
    [score] = RulesScorer().score(completions([(text, rules_json(rules))])).frame["score"]
    assert 1 <= score <= 10
    if text.strip():
        assert score == 1 + 9 * sum(rule.holds(text) for rule in rules) / len(rules)


def test_an_empty_completion_scores_1_whatever_it_could_not_break() -> None:
    empty = rules_json([NoCommas()])
    table = RulesScorer().score(completions([("", empty), (" \n", empty)]))
    assert table.frame["score"].to_list() == [1, 1]
    assert table.steps[-1].notes == {"empty completions, scored 1": 2}


def test_completions_become_scored_completions_with_their_scale_and_goal() -> None:
    scored = RulesScorer().score(
        completions([("one two, three", rules_json(FOUR)), ("One", rules_json([Lowercase()]))])
    )
    assert scored.spec is SCORED_COMPLETIONS
    assert scored.frame["score"].to_list() == [5.5, 1]
    assert scored.frame["goal"].to_list() == [7, 7]
    assert (scored.scales[""].knots, scored.scales[""].top) == ((1, 10), 10)


def test_each_kind_of_rule_can_be_an_aspect() -> None:
    rows = [("one two three", rules_json(FOUR)), ("One", rules_json([Lowercase()]))]
    scored = RulesScorer(aspects=True).score(completions(rows))
    assert scored.frame["score.at_most_words"].to_list() == [5.5, None]
    assert scored.frame["score.lowercase"].to_list() == [10, 1]
    assert set(scored.scales) == {"", "at_most_words", "lowercase", "no_commas"}


def test_scoring_again_replaces_the_scores() -> None:
    once = RulesScorer(aspects=True).score(completions([("one", rules_json(FOUR))]))
    assert "score.lowercase" not in RulesScorer().score(once).frame.columns


def test_rows_without_usable_rules_are_counted_rejects() -> None:
    table = completions([("a", rules_json(FOUR)), ("b", None), ("c", "[]"), ("d", "[{"), ("e", '["upper"]')])
    scored = RulesScorer().score(table)
    assert len(scored) == 1
    assert scored.steps[-1].rejected == {
        "the prompt has no rules to check": 2,
        "the rules of the prompt cannot be read": 2,
    }
    assert scored.rejects["row"].to_list() == [1, 2, 3, 4]
    assert len(table) == len(scored) + scored.rejects.height


def test_a_table_without_rules_is_refused_with_an_example() -> None:
    table = completions([("a", None)])
    with pytest.raises(DataError, match="no column 'rules'"):
        RulesScorer().score(Table(COMPLETIONS, table.frame.drop("rules")))
    with pytest.raises(DataError, match="found Prompts"):
        RulesScorer().score(Table(PROMPTS, table.frame.drop("completion", "completion_id")))


def test_only_what_the_assistant_says_is_looked_at() -> None:
    turns = [
        {"role": "assistant", "content": "a"},
        {"role": "tool", "content": "b,"},
        {"role": "assistant", "content": "c"},
    ]
    assert join_turns(turns) == "a\nc"


def test_the_scorer_is_listed_under_its_kind() -> None:
    assert SCORERS["rules"]().score.__self__.kind == "rules"  # type: ignore[attr-defined]
