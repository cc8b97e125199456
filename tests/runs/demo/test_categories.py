from __future__ import annotations

from prefboost.runs.demo.categories import HELD_OUT_CATEGORIES, MEMBERS, TRAIN_CATEGORIES


def test_every_category_has_members_and_is_on_one_side() -> None:
    assert {*TRAIN_CATEGORIES, *HELD_OUT_CATEGORIES} == set(MEMBERS)
    assert not set(TRAIN_CATEGORIES) & set(HELD_OUT_CATEGORIES)
    assert all(len(words) > 40 for words in MEMBERS.values())
    assert all(word.isalpha() and word.islower() for words in MEMBERS.values() for word in words)
