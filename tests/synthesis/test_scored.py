"""Drafts to scorers and back."""

from __future__ import annotations

from collections.abc import Callable

from made_writer import LengthScorer

from prefboost.synthesis.proposal import Draft, Item
from prefboost.synthesis.scored import completions_table, scores_of


def test_scores_come_back_to_their_prompt_and_number(items: Callable[[int], list[Item]]) -> None:
    drafts = [[Draft("one"), Draft(fault=("x", "")), Draft("one two")], [Draft("a b c"), Draft("")]]
    table = completions_table(items(2), drafts)
    assert len(table) == 3
    assert scores_of(LengthScorer().score(table)) == {("q0", 0): {"": 1}, ("q0", 2): {"": 2}, ("q1", 0): {"": 3}}


def test_no_drafts_are_an_empty_table(items: Callable[[int], list[Item]]) -> None:
    assert len(completions_table(items(1), [[]])) == 0
