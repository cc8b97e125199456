"""Filters of synthetic pairs: the reasons are fixed sentences and are counted; the first that applies counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.errors import require_extra
from prefboost.preferences.languages import detect_language
from prefboost.settings import Settings, choice
from prefboost.synthesis.meta_talk import Kind, find_leak
from prefboost.synthesis.proposal import Proposal

__all__ = ["DELIMITER", "Filters", "apply_filters", "edit_distance", "detect_script"]

DELIMITER = "===="
"""Stands between a plan and the completion."""

_RANGES = {
    "Latin": "A-Za-zÀ-ɏ", "Cyrillic": "Ѐ-ӿ", "Greek": "Ͱ-Ͽ", "Arabic": "؀-ۿ", "Hebrew": "֐-׿",
    "Devanagari": "ऀ-ॿ", "Han": "一-鿿", "Kana": "぀-ヿ", "Hangul": "가-힯", "Thai": "฀-๿",
}  # fmt: skip


class Filters(Settings):
    """Filters that reject a pair. Bounds are our own choice: RMBoost does not publish its."""

    min_edit_distance: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Least share of words that must be changed to get from one completion to the other.",
    )
    max_edit_distance: float = Field(
        1.0, ge=0, le=1, description="Most of the same; below 1 for methods whose second completion is an edit."
    )
    max_length_ratio: float = Field(3.0, ge=1, description="Most times that one completion is as long as the other.")
    min_words: int = Field(1, ge=0, description="Fewest words of a completion.")
    refusals: bool = Field(True, description="Set aside refusals; turn it off where refusing may be right.")
    meta_talk: bool = Field(True, description="Set aside talk about the request itself (here is a worse answer).")
    label_leaks: bool = Field(True, description="Set aside completions that tell which side they are.")
    leaked_plans: bool = Field(True, description="Set aside completions with what looks like a plan of edits in them.")
    echoes: bool = Field(True, description="Set aside completions that hold the whole of the other one.")
    cut: bool = Field(False, description="Set aside completions that were cut at max_tokens.")
    language: Literal["any", "script", "detect"] = Field(
        "script",
        description="Set aside pairs in two writing systems, or (detect, by py3langid) in two languages; any: none.",
    )
    reviewer: Annotated[EngineSettings, choice(ENGINES)] | None = Field(
        None,
        description="A model that is asked of every pair that passes whether a completion talks about itself or the "
        "request for it; none: the patterns alone decide.",
    )
    patterns: tuple[str, ...] = Field((), description="Regular expressions of your own that no completion may match.")


REASONS = {
    "empty": "a completion is empty",
    "cut": "a completion was cut at max_tokens",
    "refusal": "a completion refuses",
    "leaked_plan": "a plan of edits stands in a completion",
    "label_leak": "a completion tells which side it is",
    "meta_talk": "a completion talks about the request for it",
    "pattern": "a completion matches a pattern of filters.patterns",
    "language": "the completions are in different languages",
    "near_identical": "the completions are nearly the same",
    "echo": "the second completion repeats the first",
    "unrelated": "the second completion is no edit of the first",
    "length_ratio": "one completion is much longer than the other",
}
"""Filters in the order in which they are tried: name -> reason of the reject."""


def apply_filters(filters: Filters, proposal: Proposal) -> tuple[Proposal, list[str]]:
    """Reject the proposal by the first filter that it fails; list the names of those that it passed before."""
    if proposal.why_not:
        return proposal.reject(*proposal.why_not), []
    passed: list[str] = []
    for name, piece in _run_filters(filters, proposal):
        if piece is not None:
            return proposal.reject(REASONS[name], piece), passed
        passed.append(name)
    return proposal, passed


def edit_distance(first: str, second: str) -> float:
    """Count words to insert, delete or change, as a share of the longer text's: 0 for equal texts, at most 1.

    Raises:
        MissingExtra: rapidfuzz is not installed.
    """
    with require_extra("rapidfuzz", "synthesis"):
        from rapidfuzz.distance import Levenshtein
    return float(Levenshtein.normalized_distance(first.split(), second.split()))


def detect_script(text: str) -> str | None:
    """Detect the writing system of most of the letters; None where no letter is of one that is listed."""
    counts = {name: len(re.findall(f"[{letters}]", text)) for name, letters in _RANGES.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else None


def _run_filters(filters: Filters, proposal: Proposal) -> Iterator[tuple[str, str | None]]:
    """Yield each filter, and the detail for the reject where the pair fails it; later ones are run on demand."""
    first, second = proposal.first.text, proposal.second.text
    sides = {"first": proposal.first, "second": proposal.second}
    least = max(filters.min_words, 1)
    empty = (f"{side}: {draft.text}" for side, draft in sides.items() if len(re.findall(r"\w+", draft.text)) < least)
    yield "empty", next(empty, None)
    cut = (f"{side}: {draft.text[-80:]}" for side, draft in sides.items() if draft.finish_reason == "length")
    yield "cut", next(cut, None) if filters.cut else None
    yield "refusal", _find_leak("refusal", proposal) if filters.refusals else None
    yield "leaked_plan", _find_leak("leaked_plan", proposal) if filters.leaked_plans else None
    yield "label_leak", _find_leak("label_leak", proposal) if filters.label_leaks else None
    yield "meta_talk", _find_leak("meta_talk", proposal) if filters.meta_talk else None
    matches = (
        f"{side}: …{draft.text[max(0, match.start() - 20) : match.end() + 40]}"
        for side, draft in sides.items()
        for pattern in filters.patterns
        if (match := re.search(pattern, draft.text, re.IGNORECASE))
    )
    yield "pattern", next(matches, None)
    yield "language", None if filters.language == "any" else _compare_languages(first, second, filters.language)
    distance = 0.0 if first == second else edit_distance(first, second)
    is_near = first == second or distance < filters.min_edit_distance
    yield "near_identical", f"{distance:.2f}: {second}" if is_near else None
    start, whole = " ".join(first.split()), " ".join(second.split())
    repeats = len(start.split()) >= 5 and start != whole and start in whole
    yield "echo", whole if filters.echoes and repeats else None
    yield "unrelated", f"{distance:.2f}: {second}" if distance > filters.max_edit_distance else None
    # Characters, not words: languages without spaces have few of these.
    lengths = sorted((len(first), len(second)))
    ratio = lengths[1] / max(lengths[0], 1)
    yield "length_ratio", f"{ratio:.1f} times: {second}" if ratio > filters.max_length_ratio else None


def _find_leak(kind: Kind, proposal: Proposal) -> str | None:
    """Find where a completion talks about itself: the side and a piece of the text.

    The first completion of an edit was written without the request, or came with the table: it can leak nothing, and
    what it says too is of the topic.
    """
    directed = "direction" in proposal.lineage and kind != "refusal"
    prompt = "\n".join(str(message["content"]) for message in proposal.item.prompt)
    for side, draft in (("first", proposal.first), ("second", proposal.second)):
        if directed and side == "first":
            continue
        for leak in find_leak(kind, draft.text, prompt):
            piece = draft.text[leak.start : leak.end]
            if not (directed and piece.strip().lower() in proposal.first.text.lower()):
                return f"{side}: …{draft.text[max(0, leak.start - 20) : leak.end + 40]}"
    return None


def _compare_languages(first: str, second: str, by: Literal["script", "detect"]) -> str | None:
    """Find that two texts are in two writing systems or, where languages are told apart, in two languages."""
    scripts = (detect_script(first), detect_script(second))
    if scripts[0] != scripts[1]:
        return f"{scripts[0]} and {scripts[1]}: {second}"
    # Fewer than eight words are too few to tell two languages of one script apart.
    if by == "script" or min(len(first.split()), len(second.split())) < 8:
        return None
    languages = (detect_language(first), detect_language(second))
    return f"{languages[0]} and {languages[1]}: {second}" if languages[0] != languages[1] else None
