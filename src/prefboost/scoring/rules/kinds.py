"""Every built-in rule, and rules as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from prefboost.errors import DataError, Place
from prefboost.scoring.rules.counts import (
    AtLeastWords,
    AtMostWords,
    BetweenWords,
    Bullets,
    ExactSentences,
    Highlights,
    Paragraphs,
    Placeholders,
    Sections,
    Sentences,
)
from prefboost.scoring.rules.formats import JSON, Lowercase, NumberedList, Quoted, Title, TwoAnswers, Uppercase
from prefboost.scoring.rules.rule import Rule
from prefboost.scoring.rules.wording import (
    BeginsWith,
    CapitalWords,
    ContainsOneOf,
    EndsWith,
    ForbidWords,
    IncludeKeyword,
    IncludeKeywords,
    KeywordFrequency,
    LetterFrequency,
    Marks,
    NoCommas,
    ParagraphBeginsWith,
    Postscript,
    Repeats,
)
from prefboost.settings import choice

__all__ = ["RULES", "rules_json", "rules_from"]

RULES: dict[str, type[Rule]] = {
    "at_most_words": AtMostWords,
    "at_least_words": AtLeastWords,
    "between_words": BetweenWords,
    "exact_sentences": ExactSentences,
    "sentences": Sentences,
    "paragraphs": Paragraphs,
    "bullets": Bullets,
    "sections": Sections,
    "highlights": Highlights,
    "placeholders": Placeholders,
    "lowercase": Lowercase,
    "uppercase": Uppercase,
    "json": JSON,
    "quoted": Quoted,
    "title": Title,
    "numbered_list": NumberedList,
    "two_answers": TwoAnswers,
    "include_keyword": IncludeKeyword,
    "include_keywords": IncludeKeywords,
    "forbid_words": ForbidWords,
    "keyword_frequency": KeywordFrequency,
    "letter_frequency": LetterFrequency,
    "marks": Marks,
    "capital_words": CapitalWords,
    "no_commas": NoCommas,
    "ends_with": EndsWith,
    "begins_with": BeginsWith,
    "repeats": Repeats,
    "paragraph_begins_with": ParagraphBeginsWith,
    "postscript": Postscript,
    "contains_one_of": ContainsOneOf,
}
"""Rules by kind."""

_LIST: TypeAdapter[list[Rule]] = TypeAdapter(list[Annotated[Rule, choice(RULES)]])


def rules_from(rules: str | Sequence[Mapping[str, Any]], place: Place | None = None) -> list[Rule]:
    """Read rules from JSON text, or from its value: ``[{"kind": "at_most_words", "count": 20}, "lowercase"]``.

    Raises:
        DataError: it is not such a list; names the kind or field and ``place``.
    """
    try:
        return _LIST.validate_python(json.loads(rules) if isinstance(rules, str) else rules)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"rule {where}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        problem = f"not a JSON list of rules: {str(error)[:120]}"
    raise DataError(problem, remedy='write e.g. [{"kind": "at_most_words", "count": 20}]', place=place)


def rules_json(rules: Sequence[Rule]) -> str:
    """Write rules as JSON text that loads to themselves."""
    return json.dumps(_LIST.dump_python(list(rules), mode="json"), ensure_ascii=False)
