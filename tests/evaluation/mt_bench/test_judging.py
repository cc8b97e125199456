from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.mt_bench.judging import (
    build_grade_messages,
    build_pair_messages,
    compute_pair_share,
    parse_grade,
    parse_winner,
)

WRITING = BenchmarkPrompt("81", ("Write {answer}.", "Shorter."), "writing")
MATH = BenchmarkPrompt("111", ("1+1?", "Times 2?"), "math", ("2", "4"))
OURS, THEIRS = ("mine one", "mine two <|im_end|> {x}"), ("theirs one", "theirs two")


def test_both_turns_are_graded_with_the_published_prompts():
    built = [build_grade_messages(prompt, turn, OURS) for prompt in (WRITING, MATH) for turn in (1, 2)]
    assert [template for template, _ in built] == [
        "single-v1", "single-v1-multi-turn", "single-math-v1", "single-math-v1-multi-turn",
    ]  # fmt: skip
    texts = [messages[1]["content"] for _, messages in built]
    assert "mine one" in texts[0] and "mine two" not in texts[0] and "Write {answer}." in texts[0]
    assert "mine two <|im_end|> {x}" in texts[1] and "Shorter." in texts[1]
    assert "[The Start of Reference Answer]\n2\n" in texts[2] and "### Reference answer:\n4" in texts[3]
    assert [[message["role"] for message in messages] for _, messages in built] == [["system", "user"]] * 4


def test_pairs_are_shown_in_the_order_given():
    texts = [build_pair_messages(WRITING, 1, *sides)[1][1]["content"] for sides in ((OURS, THEIRS), (THEIRS, OURS))]
    assert texts[0].index("mine one") < texts[0].index("theirs one")
    assert texts[1].index("theirs one") < texts[1].index("mine one")
    assert [build_pair_messages(prompt, turn, OURS, THEIRS)[0] for prompt in (WRITING, MATH) for turn in (1, 2)] == [
        "pair-v2", "pair-v2-multi-turn", "pair-math-v1", "pair-math-v1-multi-turn",
    ]  # fmt: skip


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
    assert (parse_grade(reply, "official"), parse_grade(reply, "robust")) == (official, robust)


def test_the_published_reading_prefers_a_whatever_the_judge_says_last():
    reply = "Were it shorter I would say [[A]], but: [[C]]"
    assert (parse_winner(reply, "official"), parse_winner(reply, "robust")) == ("A", "tie")
    assert parse_winner("B is better") is None


@given(st.text(max_size=100))
def test_any_reply_is_read_without_an_error(reply):
    for mode in ("official", "robust"):
        assert parse_grade(reply, mode) is None or parse_grade(reply, mode) >= 0
        assert parse_winner(reply, mode) in (None, "A", "B", "tie")


def test_a_share_follows_the_place_of_the_model():
    shares = [compute_pair_share(winner, game) for game in (1, 2) for winner in ("A", "B", "tie", None)]
    assert shares == [1, 0, 0.5, None, 0, 1, 0.5, None]
