"""Filters of synthetic pairs: the reasons are fixed sentences and are counted; the first that applies counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import Field

from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.errors import MissingExtra
from prefboost.preferences.languages import detect_language
from prefboost.settings import Settings, choice
from prefboost.synthesis.meta_talk import Kind, find_leak
from prefboost.synthesis.proposal import Draft, Proposal

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


Check = Callable[[Filters, Proposal], str | None]
"""Detail for the reject where the pair fails, or None."""


def apply_filters(filters: Filters, proposal: Proposal) -> tuple[Proposal, list[str]]:
    """Reject the proposal by the first filter that it fails; list the names of those that it passed before."""
    if proposal.why_not:
        return proposal.reject(*proposal.why_not), []
    passed: list[str] = []
    for name, (reason, check) in CHECKS.items():
        piece = check(filters, proposal)
        if piece is not None:
            return proposal.reject(reason, piece), passed
        passed.append(name)
    return proposal, passed


def edit_distance(first: str, second: str) -> float:
    """Count words to insert, delete or change, as a share of the longer text's: 0 for equal texts, at most 1.

    Raises:
        MissingExtra: rapidfuzz is not installed.
    """
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as error:
        raise MissingExtra("rapidfuzz", "synthesis") from error
    return float(Levenshtein.normalized_distance(first.split(), second.split()))


def detect_script(text: str) -> str | None:
    """Detect the writing system of most of the letters; None where no letter is of one that is listed."""
    counts = {name: len(re.findall(f"[{letters}]", text)) for name, letters in _RANGES.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else None


def _list_sides(proposal: Proposal) -> Iterator[tuple[str, Draft]]:
    yield "first", proposal.first
    yield "second", proposal.second


def _find_match(filters: Filters, proposal: Proposal) -> str | None:
    """Find where a completion matches: the side and a piece of the text."""
    for side, draft in _list_sides(proposal):
        for pattern in filters.patterns:
            match = re.search(pattern, draft.text, re.IGNORECASE)
            if match:
                start = max(0, match.start() - 20)
                return f"{side}: …{draft.text[start : match.end() + 40]}"
    return None


def _find_leaking_side(kind: Kind, proposal: Proposal) -> str | None:
    """Find where a completion talks about itself: the side and a piece of the text.

    The first completion of an edit was written without the request, or came with the table: it can leak nothing, and
    what it says too is of the topic.
    """
    directed = "direction" in proposal.lineage and kind != "refusal"
    prompt = "\n".join(str(message["content"]) for message in proposal.item.prompt)
    for side, draft in _list_sides(proposal):
        if directed and side == "first":
            continue
        for leak in find_leak(kind, draft.text, prompt):
            piece = draft.text[leak.start : leak.end]
            if not (directed and piece.strip().lower() in proposal.first.text.lower()):
                return f"{side}: …{draft.text[max(0, leak.start - 20) : leak.end + 40]}"
    return None


def _find_empty(filters: Filters, proposal: Proposal) -> str | None:
    least = max(filters.min_words, 1)
    return next(
        (
            f"{side}: {draft.text}"
            for side, draft in _list_sides(proposal)
            if len(re.findall(r"\w+", draft.text)) < least
        ),
        None,
    )


def _find_cut(filters: Filters, proposal: Proposal) -> str | None:
    cut = [f"{side}: {draft.text[-80:]}" for side, draft in _list_sides(proposal) if draft.finish_reason == "length"]
    return cut[0] if filters.cut and cut else None


def _find_near_identical(filters: Filters, proposal: Proposal) -> str | None:
    first, second = proposal.first.text, proposal.second.text
    if first == second:
        return f"0.00: {second}"
    distance = edit_distance(first, second)
    return f"{distance:.2f}: {second}" if distance < filters.min_edit_distance else None


def _find_unrelated(filters: Filters, proposal: Proposal) -> str | None:
    if filters.max_edit_distance >= 1:
        return None
    distance = edit_distance(proposal.first.text, proposal.second.text)
    return f"{distance:.2f}: {proposal.second.text}" if distance > filters.max_edit_distance else None


def _find_echo(filters: Filters, proposal: Proposal) -> str | None:
    first, second = (" ".join(draft.text.split()) for draft in (proposal.first, proposal.second))
    repeats = len(first.split()) >= 5 and first != second and first in second
    return second if filters.echoes and repeats else None


def _compare_lengths(filters: Filters, proposal: Proposal) -> str | None:
    # Characters, not words: languages without spaces have few of these.
    lengths = sorted(len(draft.text) for _, draft in _list_sides(proposal))
    ratio = lengths[1] / max(lengths[0], 1)
    return f"{ratio:.1f} times: {proposal.second.text}" if ratio > filters.max_length_ratio else None


def _compare_languages(filters: Filters, proposal: Proposal) -> str | None:
    if filters.language == "any":
        return None
    texts = [draft.text for _, draft in _list_sides(proposal)]
    scripts = [detect_script(text) for text in texts]
    if scripts[0] != scripts[1]:
        return f"{scripts[0]} and {scripts[1]}: {texts[1]}"
    # Fewer than eight words are too few to tell two languages of one script apart.
    if filters.language == "script" or min(len(text.split()) for text in texts) < 8:
        return None
    languages = [detect_language(text) for text in texts]
    return f"{languages[0]} and {languages[1]}: {texts[1]}" if languages[0] != languages[1] else None


def _check_leak(kind: Kind, is_wanted: Callable[[Filters], bool]) -> Check:
    return lambda filters, proposal: _find_leaking_side(kind, proposal) if is_wanted(filters) else None


CHECKS: dict[str, tuple[str, Check]] = {
    "empty": ("a completion is empty", _find_empty),
    "cut": ("a completion was cut at max_tokens", _find_cut),
    "refusal": ("a completion refuses", _check_leak("refusal", lambda filters: filters.refusals)),
    "leaked_plan": (
        "a plan of edits stands in a completion",
        _check_leak("leaked_plan", lambda filters: filters.leaked_plans),
    ),
    "label_leak": (
        "a completion tells which side it is",
        _check_leak("label_leak", lambda filters: filters.label_leaks),
    ),
    "meta_talk": (
        "a completion talks about the request for it",
        _check_leak("meta_talk", lambda filters: filters.meta_talk),
    ),
    "pattern": ("a completion matches a pattern of filters.patterns", _find_match),
    "language": ("the completions are in different languages", _compare_languages),
    "near_identical": ("the completions are nearly the same", _find_near_identical),
    "echo": ("the second completion repeats the first", _find_echo),
    "unrelated": ("the second completion is no edit of the first", _find_unrelated),
    "length_ratio": ("one completion is much longer than the other", _compare_lengths),
}
"""Filters in the order in which they are tried: name -> reason of the reject, and what finds it."""
