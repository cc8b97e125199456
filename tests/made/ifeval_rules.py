"""IFEval's instructions (arXiv 2311.07911) as rules, to hold the rules to its published verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from prefboost.scoring.rules.counts import (
    AtLeastWords,
    AtMostWords,
    Bullets,
    Highlights,
    Paragraphs,
    Placeholders,
    Sections,
    Sentences,
)
from prefboost.scoring.rules.formats import JSON, Lowercase, Quoted, Title, TwoAnswers, Uppercase
from prefboost.scoring.rules.rule import Rule
from prefboost.scoring.rules.wording import (
    BeginsWith,
    CapitalWords,
    ContainsOneOf,
    EndsWith,
    ForbidWords,
    IncludeKeywords,
    KeywordFrequency,
    LetterFrequency,
    NoCommas,
    ParagraphBeginsWith,
    Postscript,
    Repeats,
)

Arguments = Mapping[str, Any]


def from_ifeval(instruction_id: str, kwargs: Arguments) -> Rule | None:
    """The rule that checks an instruction of IFEval, or None where it needs more than code can check.

    Args:
        instruction_id: e.g. ``length_constraints:number_words``.
        kwargs: e.g. ``{"relation": "at least", "num_words": 300}``; entries that are None count as absent.

    Returns:
        None for ``language:response_language`` (needs a language detector), unknown ids and unusable arguments.
        ``english_lowercase`` and ``english_capital`` check case alone, not that the language is English; sentences are
        split by our rules, not by NLTK's; keywords are plain text, where IFEval takes them as regular expressions.
    """
    make = _RULES.get(instruction_id)
    if make is None:
        return None
    try:
        return make({key: value for key, value in kwargs.items() if value is not None})
    except (KeyError, ValidationError):
        return None


def _relation(kwargs: Arguments, relation: str, number: str) -> dict[str, Any]:
    """``less than n`` is at most n - 1."""
    if kwargs[relation] == "less than":
        return {"relation": "at most", "count": kwargs[number] - 1}
    return {"relation": kwargs[relation], "count": kwargs[number]}


def _words(kwargs: Arguments) -> Rule:
    said = _relation(kwargs, "relation", "num_words")
    return (AtMostWords if said["relation"] == "at most" else AtLeastWords)(count=said["count"])


_RULES: dict[str, Callable[[Arguments], Rule]] = {
    "length_constraints:number_words": _words,
    "length_constraints:number_sentences": lambda k: Sentences(**_relation(k, "relation", "num_sentences")),
    "length_constraints:number_paragraphs": lambda k: Paragraphs(count=k["num_paragraphs"], divider="***"),
    "length_constraints:nth_paragraph_first_word": lambda k: ParagraphBeginsWith(
        paragraphs=k["num_paragraphs"], paragraph=k["nth_paragraph"], word=k["first_word"]
    ),
    "keywords:existence": lambda k: IncludeKeywords(words=tuple(k["keywords"]), whole=False),
    "keywords:forbidden_words": lambda k: ForbidWords(words=tuple(k["forbidden_words"])),
    "keywords:frequency": lambda k: KeywordFrequency(word=k["keyword"], **_relation(k, "relation", "frequency")),
    "keywords:letter_frequency": lambda k: LetterFrequency(
        letter=k["letter"], **_relation(k, "let_relation", "let_frequency")
    ),
    "detectable_content:number_placeholders": lambda k: Placeholders(count=k["num_placeholders"]),
    "detectable_content:postscript": lambda k: Postscript(marker=k["postscript_marker"]),
    "detectable_format:number_bullet_lists": lambda k: Bullets(count=k["num_bullets"]),
    "detectable_format:number_highlighted_sections": lambda k: Highlights(count=k["num_highlights"]),
    "detectable_format:multiple_sections": lambda k: Sections(heading=k["section_spliter"], count=k["num_sections"]),
    "detectable_format:constrained_response": lambda k: ContainsOneOf(),
    "detectable_format:json_format": lambda k: JSON(),
    "detectable_format:title": lambda k: Title(),
    "combination:two_responses": lambda k: TwoAnswers(),
    "combination:repeat_prompt": lambda k: Repeats(request=k["prompt_to_repeat"]),
    "startend:end_checker": lambda k: EndsWith(phrase=k["end_phrase"]),
    "startend:quotation": lambda k: Quoted(),
    "change_case:capital_word_frequency": lambda k: CapitalWords(
        **_relation(k, "capital_relation", "capital_frequency")
    ),
    "change_case:english_capital": lambda k: Uppercase(),
    "change_case:english_lowercase": lambda k: Lowercase(),
    "punctuation:no_comma": lambda k: NoCommas(),
    "detectable_format:constrained_start": lambda k: BeginsWith(phrase=k["starter"]),
}
