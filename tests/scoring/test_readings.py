"""The tolerant parser: every form that is read, and malformed answers that are not guessed at."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.scoring.readings import Unreadable, read_ratings, read_verdict

ASPECTS = ["honesty", "instruction_following"]


def overall(text: str, high: int = 10) -> Any:
    found = read_ratings(text, ["rating"], 1, (1, high))
    return found.reason if isinstance(found, Unreadable) else found[0]["rating"]


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ('{"rating": 7}', 7),
        ('{"ratings": [{"candidate": 1, "reason": "fine", "rating": 7}]}', 7),
        ('Thinking... it says {"score": 10}, but no.\n```json\n{"rating": "4"}\n```', 4),
        ("{'rating': 3, 'reason': None,}", 3),
        ('{"rating": 7, "reason": "short",}', 7),
        ('{"rating": {"reason": "x", "score": 6}}', 6),
        ("**Rating:** 7/10", 7),
        ("I began with 9.\nOverall score: 8\n", 8),
        ("Score: 1/10", 1),
        ("Score: 10/10", 10),
        ("[[2]]", 2),
        ("It deserves [[3]]... no, [[5]].", 5),
        ("7", 7),
        (" 7.5 ", 7.5),
        ("1.", 1),
        ('{"rating": "N/A"}', None),
        ('{"rating": null}', None),
        ("Rating: N/A", None),
    ],
)  # fmt: skip
def test_these_forms_are_read(text: str, rating: float | None) -> None:
    assert overall(text) == rating


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the answer is empty"),
        ("I cannot rate this.", "the answer holds no ratings"),
        ('{"rating": 11}', "a rating lies outside of the rubric's range"),
        ('{"rating": 0}', "a rating lies outside of the rubric's range"),
        ('{"rating": 1e999}', "a rating is no number"),
        ('{"rating": NaN}', "a rating is no number"),
        ('{"rating": true}', "a rating is no number"),
        ('{"rating": "very good"}', "a rating is no number"),
        ('{"rating": "4/5"}', "a rating is no number"),
        ('{"ratings": [{"rating": 3}, {"rating": 4}]}', "the answer rates another number of completions"),
        ('{"rating": 7', "the answer holds no ratings"),
        ("[" * 100_000, "the answer holds no ratings"),
        ("I give 10 out of many", "the answer holds no ratings"),
    ],
)
def test_these_are_set_aside_with_a_reason(text: str, reason: str) -> None:
    assert overall(text) == reason


def test_the_highest_rating_behind_a_slash_must_be_the_rubrics() -> None:
    assert overall("4/5", high=5) == 4 and overall("Rating: 4 out of 5", high=5) == 4
    assert overall("Rating: 4/5", high=10) == "a rating is no number"


def test_aspects_are_read_from_json_and_from_lines_in_any_spelling() -> None:
    expected = [{"honesty": 4.0, "instruction_following": None}]
    for text in (
        '{"Honesty": 4, "Instruction Following": "n/a"}',
        "- honesty: 4\n- instruction-following: N/A",
        "**Honesty**: 4 (good)\n**Instruction following**: not applicable",
    ):
        assert read_ratings(text, ASPECTS, 1, (1, 5)) == expected, text
    assert read_ratings('{"honesty": 4}', ASPECTS, 1, (1, 5)) == Unreadable("a rating is missing")


def test_several_completions_are_told_by_their_numbers() -> None:
    expected = [{"rating": 1.0}, {"rating": 2.0}]
    for text in (
        '{"ratings": [{"rating": 1}, {"rating": 2}]}',
        '{"ratings": [{"candidate": 2, "rating": 2}, {"candidate": 1, "rating": 1}]}',
        '[{"completion": "Completion 1", "rating": 1}, {"completion": "Completion 2", "rating": 2}]',
        '{"Candidate 1": {"rating": 1}, "Candidate 2": {"rating": 2}}',
    ):
        assert read_ratings(text, ["rating"], 2, (1, 5)) == expected, text
    for text in ('[{"candidate": 1, "rating": 1}, {"candidate": 1, "rating": 2}]', "rating: 1\nrating: 2"):
        assert isinstance(read_ratings(text, ["rating"], 2, (1, 5)), Unreadable), text


ratings = st.fixed_dictionaries(dict.fromkeys(ASPECTS, st.one_of(st.none(), st.integers(1, 5))))


@given(st.lists(ratings, min_size=1, max_size=4), st.text(max_size=40).filter(lambda t: not set(t) & set("{}[]")))
def test_what_is_written_as_json_is_read_whatever_stands_around_it(rows: list[dict[str, Any]], around: str) -> None:
    text = f"{around}{json.dumps({'ratings': rows})}{around}"
    assert read_ratings(text, ASPECTS, len(rows), (1, 5)) == rows


@given(st.text(max_size=200))
def test_no_text_at_all_stops_the_parser_or_leaves_the_range(text: str) -> None:
    for found in (
        read_ratings(text, ["rating"], 1, (1, 5)),
        read_ratings(text + '{"rating":' + text, ["rating"], 1, (1, 5)),
    ):
        assert isinstance(found, Unreadable) or found[0]["rating"] is None or 1 <= found[0]["rating"] <= 5


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"reason": "clear", "verdict": "1"}', ("first", "clear")),
        ('{"verdict": 2}', ("second", None)),
        ('{"winner": "Completion 2"}', ("second", None)),
        ('{"verdict": "tie"}', ("tie", None)),
        ("2", ("second", None)),
        (" B. ", ("second", None)),
        ("Tie", ("tie", None)),
        ("I first thought [[A]].\nVerdict: [[B]]", ("second", "I first thought [[A]].\nVerdict: [[B]]")),
        ("Final verdict: Completion 1", ("first", "Final verdict: Completion 1")),
        ('{"reason": "two\nlines\tand a tab", "verdict": "2"}', ("second", "two\nlines\tand a tab")),
        ("{'reason': 'two\nlines', 'verdict': '2'}", ("second", "two lines")),
        ('```json\n{\n"verdict": "2",\n"reason": "a\r\nb",\n}\n```', ("second", "a\r\nb")),
        ('<think>{"verdict": "1"}</think>{"verdict": "2"}', ("second", None)),
        ('<think>{"verdict": "1"} or rather</think>\n2', ("second", None)),
        ('I would say {"verdict": "1"}.</think>[[B]]', ("second", "[[B]]")),
        ('{"verdict": "1"}\nOn a second look:\nFinal verdict: 2', ("second", "\nOn a second look:\nFinal verdict: 2")),
    ],
)
def test_these_verdicts_are_read(text: str, verdict: tuple[str, str | None]) -> None:
    assert read_verdict(text) == verdict


@pytest.mark.parametrize(
    "text",
    [
        "",
        '<think>{"verdict": "1"}',
        "<think>[[A]]</think>",
        "both are fine in a way",
        '{"verdict": 3}',
        '{"verdict"',
        "12",
        '{"reason": "1"}',
    ],
)
def test_these_are_no_verdicts(text: str) -> None:
    assert isinstance(read_verdict(text), Unreadable)


def test_a_tie_is_no_verdict_where_none_was_allowed() -> None:
    assert read_verdict("tie", ties=False) == Unreadable("the verdict is none of those asked for")


@given(st.text(max_size=200))
def test_no_text_at_all_stops_the_reading_of_verdicts(text: str) -> None:
    found = read_verdict(text)
    assert isinstance(found, Unreadable) or found[0] in ("first", "second", "tie")


@pytest.mark.parametrize(("text", "verdict"), [
    ('{"winner": "Response 1"}', "first"), ('{"verdict": 1.0}', "first"), ('{"final_verdict": "B"}', "second"),
    ('{"better_response": 2}', "second"), ("Final verdict: 2 (second)", "second"), ("\\boxed{1}", "first"),
    ("<verdict>B</verdict>", "second"), ("Both are fine.\nAnswer: A", "first"), ("**Choice:** 2", "second"),
    ("Verdict: 1\nAnswer: because it is right", "first"), ("$\\boxed{\\text{B}}$", "second"),
])  # fmt: skip
def test_verdicts_are_read_in_other_forms_that_models_fall_into(text: str, verdict: str) -> None:
    read = read_verdict(text)
    assert not isinstance(read, Unreadable) and read[0] == verdict


@pytest.mark.parametrize("text", [
    "Verdict: 1 or 2", "Answer: 42", "Answer: both of them say so", "I choose neither side here", "<b>bold</b>",
    '{"verdict": 1.5}', '{"choice": "x"}', "Winner: Italy",
])  # fmt: skip
def test_nothing_is_guessed_of_other_words(text: str) -> None:
    assert isinstance(read_verdict(text), Unreadable)


@pytest.mark.parametrize(
    "text", ["<rating>7</rating>", "Rating (1-10): 7", "\\boxed{7}", "**Score (out of 10):** 7/10"]
)
def test_ratings_are_read_in_other_forms(text: str) -> None:
    assert read_ratings(text, ["rating"], 1, (1, 10)) == [{"rating": 7.0}]
