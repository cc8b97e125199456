"""Every built-in rule: it never raises, a text made for it holds, another does not, and it survives JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError, Place
from prefboost.scoring.rules import counts, formats, wording
from prefboost.scoring.rules.kinds import RULES, rules_from, rules_json
from prefboost.scoring.rules.rule import Rule

CASES: list[tuple[Rule, str, str]] = [
    (counts.AtMostWords(count=3), "one two three", "one two three four"),
    (counts.AtLeastWords(count=3), "one two three", "one two"),
    (counts.BetweenWords(low=2, high=3), "one two", "one two three four"),
    (counts.ExactSentences(count=2), "One thing. Another!", "One thing."),
    (counts.Sentences(relation="at most", count=1), "One thing.", "One thing. Another."),
    (counts.Paragraphs(count=2), "One.\n\nTwo.", "One.\nTwo."),
    (counts.Paragraphs(count=2, divider="***"), "One.\n***\nTwo.", "One. *** *** Two."),
    (counts.Bullets(count=2), "Here:\n* one\n  - two", "* one\n** two"),
    (counts.Sections(count=2), "Section 1\nx\nSection 2\ny", "Section 1\nx"),
    (counts.Highlights(count=2), "*one* and **two**", "*one* and **"),
    (counts.Placeholders(count=2), "[name] of [town]", "[name] of town"),
    (formats.Lowercase(), "all small 1", "Not"),
    (formats.Uppercase(), "ALL BIG 1", "Not"),
    (formats.JSON(), '```json\n{"a": [1]}\n```', "{a: 1}"),
    (formats.Quoted(), ' "Yes." ', '"'),
    (formats.Title(), "<<Joy>>\ntext", "<< >>"),
    (formats.NumberedList(count=2), "1. one\n2) two", "1. one\n3. three"),
    (formats.TwoAnswers(), "one\n******\ntwo", "one******one"),
    (wording.IncludeKeyword(word="rain"), "The RAIN falls.", "A rainy day"),
    (wording.IncludeKeywords(words=("sun", "rain")), "sun, rain", "sun"),
    (wording.IncludeKeywords(words=("rain",), whole=False), "A rainy day", "A sunny day"),
    (wording.ForbidWords(words=("rain", "c++")), "A rainy day", "I write C++ here"),
    (wording.KeywordFrequency(word="rain", relation="at most", count=1), "rain", "rain, rainy"),
    (wording.LetterFrequency(letter="E", count=2), "eel", "lamp"),
    (wording.Marks(mark="?", relation="exactly", count=1), "Why?", "Why? How?"),
    (wording.CapitalWords(count=2), "A STATE-OF-THE-ART lamp", "a lamp"),
    (wording.NoCommas(), "one; two", "one, two"),
    (wording.EndsWith(phrase="The end."), 'So it was. the END."', "The end"),
    (wording.BeginsWith(phrase="I think"), ' "I THINK so', "So I think"),
    (wording.Repeats(request="Say it."), "say it. It.", "It."),
    (wording.ParagraphBeginsWith(paragraphs=2, paragraph=2, word="But"), 'Yes.\n\n"But, no.', "Yes.\n\nNo."),
    (wording.Postscript(), "Bye.\nP. S. Write soon.", "Bye."),
    (wording.Postscript(marker="P.P.S"), "Bye.\nP.P.S. Write soon.", "P.S. bye"),
    (wording.ContainsOneOf(), "Well. My answer is no.", "no"),
]


def test_every_kind_has_a_case_and_is_listed_under_its_name() -> None:
    assert {case[0].kind for case in CASES} == set(RULES)
    assert all(RULES[rule.kind] is type(rule) for rule, _, _ in CASES)


@pytest.mark.parametrize(("rule", "kept", "broken"), CASES, ids=lambda part: getattr(part, "kind", None))
def test_a_text_made_for_the_rule_holds_and_another_does_not(rule: Rule, kept: str, broken: str) -> None:
    assert rule.holds(kept)
    assert not rule.holds(broken)


@given(st.text() | st.text(st.sampled_from('*-[]{}<>"\n .,#1aB'), max_size=60))
def test_no_text_makes_a_rule_raise(text: str) -> None:
    for rule, _, _ in CASES:
        assert rule.holds(text) in (True, False)
        assert rule.holds(text + "\ud800") in (True, False)


@pytest.mark.parametrize("rule", [case[0] for case in CASES], ids=lambda rule: rule.kind)
def test_what_is_said_names_the_numbers_and_words_of_the_rule(rule: Rule) -> None:
    said = rule.say()
    for name, value in rule.model_dump(exclude={"kind", "divider", "whole", "heading", "mark"}).items():
        for part in value if isinstance(value, tuple) else (value,):
            assert str(part) in said, name


def test_a_deeply_nested_answer_is_not_json_and_no_error() -> None:
    assert not formats.JSON().holds("[" * 100_000)


def test_rules_survive_json() -> None:
    rules = [case[0] for case in CASES]
    assert rules_from(rules_json(rules)) == rules
    assert rules_from('["lowercase"]') == [formats.Lowercase()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"kind": "at_most_word", "count": 3}]', "did you mean at_most_words"),
        ('[{"kind": "at_most_words", "count": 0}]', "greater than or equal to 1"),
        ('[{"kind": "include_keyword", "word": " "}]', "visible character"),
        ('[{"kind": "between_words", "low": 3, "high": 2}]', "low 3 is above high 2"),
        ('{"kind": "lowercase"}', "list"),
        ("[[", "not a JSON list of rules"),
        (json.dumps([3]), "write a kind"),
    ],
)
def test_unusable_rules_are_refused_with_their_place(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        rules_from(text, Place("prompts.jsonl", row=4))
    assert "prompts.jsonl, row 4" in str(caught.value)
