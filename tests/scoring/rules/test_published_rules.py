"""IFEval's instructions as rules: the same verdicts, by the definitions of arXiv 2311.07911's published checker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ifeval_rules import from_ifeval

VERDICTS: list[tuple[str, dict[str, Any], str, bool]] = [
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "one two", True),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "one two three", False),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "...", True),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "isn't it", True),
    ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 2}, "Yes. No.", False),
    ("length_constraints:number_sentences", {"relation": "at least", "num_sentences": 2}, "Yes. No.", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one *** two ***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n\ntwo", False),
    ("length_constraints:nth_paragraph_first_word",
     {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "weekend"}, "x\n\nWeekend's here", True),
    ("keywords:existence", {"keywords": ["mom", "cat"]}, "Moms concatenate", True),
    ("keywords:existence", {"keywords": ["mom", "cat"]}, "Moms", False),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "rocks", True),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "A Rock!", False),
    ("keywords:frequency", {"relation": "at least", "keyword": "war", "frequency": 2}, "war, warm", True),
    ("keywords:letter_frequency", {"let_relation": "less than", "letter": "t", "let_frequency": 2}, "Tt", False),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, "Dear [name]", True),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "p. p. s write", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "*a*", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "**a**", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "**a**", True),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 1}, "SECTION 1: a", True),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 1}, "Section 1: a", False),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", True),
    ("detectable_format:json_format", {}, "```\n[1]\n```", True),
    ("detectable_format:title", {}, "<<a>>", True),
    ("combination:two_responses", {}, "******a******b", True),
    ("combination:two_responses", {}, "a************b", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Do it. "}, " do it. Done", True),
    ("startend:end_checker", {"end_phrase": "Bye."}, 'x "bye."', True),
    ("startend:quotation", {}, '"a"', True),
    ("change_case:capital_word_frequency", {"capital_relation": "at least", "capital_frequency": 1}, "a NEW-AGE", True),
    ("change_case:english_capital", {}, "YES", True),
    ("change_case:english_lowercase", {}, "Yes", False),
    ("punctuation:no_comma", {}, "a, b", False),
]  # fmt: skip


@pytest.mark.parametrize(("instruction", "kwargs", "text", "verdict"), VERDICTS)
def test_verdicts_follow_the_published_definitions(
    instruction: str, kwargs: dict[str, Any], text: str, verdict: bool
) -> None:
    rule = from_ifeval(instruction, {**kwargs, "unused": None})
    assert rule is not None
    assert rule.holds(text) is verdict


def test_what_code_cannot_check_is_none() -> None:
    assert from_ifeval("language:response_language", {"language": "de"}) is None
    assert from_ifeval("length_constraints:number_words", {}) is None
    assert from_ifeval("keywords:existence", {"keywords": []}) is None


def test_every_instruction_of_ifeval_but_the_language_becomes_a_rule(shared_dir: Path) -> None:
    rows = pl.read_parquet(shared_dir / "data" / "eval" / "ifeval.parquet")
    missing = {
        instruction
        for instructions, kwargs in rows.select("instruction_ids", "kwargs").iter_rows()
        for instruction, arguments in zip(instructions, json.loads(kwargs), strict=True)
        if from_ifeval(instruction, arguments) is None
    }
    assert missing == {"language:response_language"}
