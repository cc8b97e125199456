"""The base of rules, and how words are counted."""

from __future__ import annotations

import pytest

from prefboost.scoring.rules.rule import Rule, compare, format_count, words_of


@pytest.mark.parametrize(
    ("count", "relation", "holds"),
    [(3, "at least", True), (2, "at least", False), (3, "at most", True), (4, "at most", False), (3, "exactly", True)],
)
def test_relations_compare_as_they_say(count: int, relation: str, holds: bool) -> None:
    assert compare(count, relation, 3) is holds  # type: ignore[arg-type]


def test_words_are_counted_as_ifeval_counts_them() -> None:
    assert words_of("It's 3.5 km, isn't it?") == ["It", "s", "3", "5", "km", "isn", "t", "it"]


def test_numbers_agree_with_their_noun() -> None:
    assert (format_count(1, "word"), format_count(2, "word")) == ("1 word", "2 words")


def test_a_rule_without_a_check_says_what_it_lacks() -> None:
    with pytest.raises(NotImplementedError, match="needs holds"):
        Rule(kind="empty").holds("text")
    with pytest.raises(NotImplementedError, match="needs say"):
        Rule(kind="empty").say()
