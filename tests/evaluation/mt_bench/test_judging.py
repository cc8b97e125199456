from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.evaluation.mt_bench.judging import (
    MtQuestion,
    MtRules,
    PairGame,
    category_of,
    grade_of,
    grading_requests,
    pair_requests,
    stored_grades,
    winner_of,
)

WRITING = MtQuestion("81", "writing", ("Write {answer}.", "Shorter."))
MATH = MtQuestion("111", "math", ("1+1?", "Times 2?"), ("2", "4"))
ANSWERS = {"81": ("mine one", "mine two <|im_end|> {x}"), "111": ("three", "six")}
BASELINE = {"81": ("theirs one", "theirs two"), "111": ("two", "four")}


def test_both_turns_are_graded_with_the_published_prompts():
    requests = grading_requests([WRITING, MATH], ANSWERS, "ours")
    assert [request.template for request in requests] == [
        "single-v1", "single-v1-multi-turn", "single-math-v1", "single-math-v1-multi-turn",
    ]  # fmt: skip
    texts = [request.messages[1]["content"] for request in requests]
    assert "mine one" in texts[0] and "mine two" not in texts[0] and "Write {answer}." in texts[0]
    assert "mine two <|im_end|> {x}" in texts[1] and "Shorter." in texts[1]
    assert "[The Start of Reference Answer]\n2\n" in texts[2] and "### Reference answer:\n4" in texts[3]
    assert {len(request.messages) for request in requests} == {2}


def test_pairs_are_shown_in_both_orders():
    requests = pair_requests([WRITING, MATH], ANSWERS, BASELINE, "ours")
    assert [(r.question.question_id, r.turn, r.game) for r in requests[:4]] == [
        ("81", 1, 1), ("81", 1, 2), ("81", 2, 1), ("81", 2, 2),
    ]  # fmt: skip
    first, second = (request.messages[1]["content"] for request in requests[:2])
    assert first.index("mine one") < first.index("theirs one") and second.index("theirs one") < second.index("mine one")
    assert [request.template for request in requests[::2]] == [
        "pair-v2", "pair-v2-multi-turn", "pair-math-v1", "pair-math-v1-multi-turn",
    ]  # fmt: skip


def test_missing_answers_and_references_are_named():
    with pytest.raises(DataError, match="1 of 2 questions have no answer of ours or of the baseline, such as 111"):
        grading_requests([WRITING, MATH], {"81": ("a", "b")}, "ours")
    with pytest.raises(DataError, match="1 questions of math, reasoning, coding have no reference answers, such as 9"):
        grading_requests([MtQuestion("9", "math", ("a", "b"))], {"9": ("a", "b")}, "ours")


@pytest.mark.parametrize(
    ("reply", "official", "robust"),
    [
        ("Rating: [[7]]", 7, 7),
        ("Rating: [[7.5]] or [[3]]", 7.5, 7.5),
        ("Rating: [6]", 6, 6),
        ("as [1] says ... Rating: [[9]]", 9, 9),
        ("Rating: [[85]]", 85, None),
        ("Rating: [[0]]", 0, None),
        ("Rating: [[ 7 ]]", None, None),
        ("seven of ten", None, None),
    ],
)
def test_a_grade_is_the_first_number_in_brackets(reply, official, robust):
    assert (grade_of(reply, "official"), grade_of(reply, "robust")) == (official, robust)


def test_the_published_reading_prefers_a_whatever_the_judge_says_last():
    reply = "Were it shorter I would say [[A]], but: [[C]]"
    assert (winner_of(reply, "official"), winner_of(reply, "robust")) == ("A", "tie")
    assert winner_of("B is better") is None


@given(st.text(max_size=100))
def test_any_reply_is_read_without_an_error(reply):
    for mode in ("official", "robust"):
        assert grade_of(reply, mode) is None or grade_of(reply, mode) >= 0
        assert winner_of(reply, mode) in (None, "A", "B", "tie")


def test_a_share_follows_the_place_of_the_model():
    shares = [
        PairGame("81", "writing", 1, "m", game, winner).share for game in (1, 2) for winner in ("A", "B", "tie", None)
    ]
    assert shares == [1, 0, 0.5, None, 0, 1, 0.5, None]


def test_published_questions_have_their_category_by_number():
    assert [category_of(str(at)) for at in (81, 90, 101, 160)] == ["writing", "writing", "reasoning", "humanities"]
    assert [category_of(name) for name in ("80", "161", "mine")] == ["other"] * 3


def test_a_record_that_is_no_grade_is_named():
    with pytest.raises(DataError, match="record 0 is no grade of MT-Bench: it has no judgment"):
        list(stored_grades([{"question_id": 81, "model": "m", "turn": 1, "g1_judgment": "x"}], MtRules()))
    with pytest.raises(DataError, match="no turn 1 or 2"):
        list(stored_grades([{"question_id": 81, "model": "m", "turn": 3, "judgment": "x"}], MtRules()))
