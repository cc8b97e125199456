"""Readings of a judge's answer: JSON where there is any, else the plain forms that models fall into.

Thoughts are taken off first (`prefboost.engines.reasoning`), so that no draft in them counts. Read, in this order:

1. the last JSON object or array in the text that holds what was asked for, wherever it stands (behind words, in a
   code block), also with trailing commas, line breaks inside of texts, or Python's quotes;
2. lines like ``helpfulness: 4``, ``**Rating (1-10):** 7/10`` or ``<rating>7</rating>``, and ``[[7]]`` or
   ``\\boxed{7}`` (of one completion; the last line counts);
3. the whole text, where it is nothing but a rating or a verdict.

A rating is a number within the rubric's range, also as text ("4", "4/5" where 5 is the highest) or as an object with
``rating`` or ``score``; ``N/A``, null and the like are no rating. Anything else is unreadable and says why: nothing is
ever guessed from part of a number ("1" of "10", or "10" of "1/10").
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from prefboost.engines.reasoning import separate_reasoning

__all__ = ["Ratings", "Unreadable", "read_ratings", "read_verdict"]

T = TypeVar("T")
Ratings = list[dict[str, float | None]]
"""For every completion that was shown, in that order: what is rated -> rating; None is "not applicable"."""

_VERDICT_KEYS = (
    "verdict", "finalverdict", "winner", "better", "betterresponse", "bettercompletion", "preference", "preferred",
    "choice", "decision",
)  # fmt: skip
_NOT_RATED = {"na", "none", "null", "notapplicable", "nil", ""}
_NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*(\d+))?\s*\.?", re.IGNORECASE)
_LOOSE = r"[-+]?\d[\d.]*(?:\s*(?:/|out of)\s*\d+)?|n\s*/?\s*a\b|not applicable|null|none"
_SHOWN = ("completion", "response", "answer", "assistant", "option", "output")
_VERDICTS = {
    **dict.fromkeys(("1", "a", "first", "one", *(f"{name}{at}" for name in _SHOWN for at in "1a")), "first"),
    **dict.fromkeys(("2", "b", "second", "two", *(f"{name}{at}" for name in _SHOWN for at in "2b")), "second"),
    **dict.fromkeys(("tie", "c", "equal", "draw", "both", "neither", "0"), "tie"),
}


@dataclass(frozen=True)
class Unreadable:
    """An answer that says nothing that was asked for; ``reason`` is one of few fixed sentences."""

    reason: str


class _Wrong(Exception):
    """Something was found that cannot be meant."""


def read_ratings(text: str, keys: Sequence[str], count: int, bounds: tuple[int, int]) -> Ratings | Unreadable:
    """Read ratings from a rater's answer.

    Args:
        text: the whole answer.
        keys: what is rated: aspects, or ``rating`` for one overall rating.
        count: completions that were shown.
        bounds: lowest and highest rating.
    """
    low, high = bounds

    def number(value: Any) -> float | None:
        return _number(value, low, high)

    def lines(text: str) -> Ratings | None:
        if count != 1:
            return None
        text = _without_marks(text)
        if len(keys) == 1:
            matches = re.findall(rf"\[\[\s*({_LOOSE})\s*\]\]", text, re.IGNORECASE)
            if matches or _NUMBER.fullmatch(text.strip()):
                return [{keys[0]: number(matches[-1] if matches else text)}]
        ratings: dict[str, float | None] = {}
        for key in keys:
            names = r"(?:overall\s+)?(?:rating|score)" if key == "rating" else re.escape(key).replace("_", r"[\s_-]*")
            behind = rf"(?:\s*\([^()\n]{{0,30}}\))?\W*[:=-][\s*_`\"']*({_LOOSE})(?=[\s*_`\"',.;)]|$)"
            matches = re.findall(rf"^[^\w{{\[]*(?:final\s+)?{names}{behind}", text, re.I | re.M)
            if not matches:
                return None
            ratings[key] = number(matches[-1])
        return [ratings]

    return _read_first(text, [_last_json(lambda value: _ratings_in_json(value, keys, count, number)), lines],
                        "the answer holds no ratings")  # fmt: skip


def read_verdict(text: str, *, ties: bool = True) -> tuple[str, str | None] | Unreadable:
    """Read a verdict from a judge's answer.

    Args:
        text: the whole answer.
        ties: whether ``tie`` is a verdict.

    Returns:
        first, second or tie; and the reason that was given, if any.
    """

    def verdict(value: Any) -> str:
        value = int(value) if isinstance(value, float) and value.is_integer() else value
        side = _VERDICTS.get(_bare(str(value)))
        if side is None or (side == "tie" and not ties):
            raise _Wrong("the verdict is none of those asked for")
        return side

    def in_json(parsed: Any) -> tuple[str, str | None] | None:
        keyed = {_bare(key): value for key, value in parsed.items()} if isinstance(parsed, dict) else {}
        choice = next((keyed[name] for name in _VERDICT_KEYS if name in keyed), None)
        reason = next((keyed[name] for name in ("reason", "rationale", "explanation") if name in keyed), None)
        return None if choice is None else (verdict(choice), None if reason is None else str(reason))

    def in_line(text: str) -> tuple[str, str | None] | None:
        matches = re.findall(
            r"\[\[\s*(\w+)\s*\]\]|^\W*(?:final )?verdict\W*[:=]\W*([\w ]+?)(?:\s*\([^()\n]*\))?\W*$", text, re.I | re.M
        )
        return (verdict("".join(matches[-1])), text) if matches else None

    def in_words(text: str) -> tuple[str, str | None] | None:
        if (reading := in_line(plain := _without_marks(text))) is not None or _bare(text) in _VERDICTS:
            return reading or (verdict(text), None)
        matches = re.findall(
            r"^\W*(?:final )?(?:answer|choice|decision|winner)\W*[:=]\W*(\w+(?: \w)?)\W*$", plain, re.I | re.M
        )
        return (verdict(matches[-1]), text) if matches and _bare(matches[-1]) in _VERDICTS else None

    return _read_first(text, [_last_json(in_json, in_line), in_words], "the answer holds no verdict")


def _read_first(text: str, ways: Sequence[Callable[[str], T | None]], nothing: str) -> T | Unreadable:
    spoken = separate_reasoning(text)
    text = spoken.answer
    if not text.strip():
        return Unreadable("the answer is empty" if spoken.reasoning is None else "the answer is thoughts alone")
    try:
        return next((reading for way in ways if (reading := way(text)) is not None), Unreadable(nothing))
    except _Wrong as error:
        return Unreadable(str(error))


def _last_json(
    read: Callable[[Any], T | None], behind: Callable[[str], T | None] = lambda _: None
) -> Callable[[str], T | None]:
    """Make a reader of the last readable JSON value of a text; it says what is wrong only where none is readable.

    Args:
        read: what a value says.
        behind: what the text behind the value says; it comes later, so it counts where it says anything.
    """

    def find_last(text: str) -> T | None:
        # Every outermost object or array, and where it ends. Not strict: models write line breaks and tabs into the
        # strings of their JSON as they are.
        decoder, at, values = json.JSONDecoder(strict=False), 0, []
        while (opening := re.compile(r"[{\[]").search(text, at)) is not None:
            at = opening.start()
            try:
                value, at = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                value, end = _mend_json(text, at)
                at = end if value is not None else at + 1
            if value is not None:
                values.append((value, at))
        wrong: _Wrong | None = None
        # From the end: models repeat the form they were given, draft, and correct themselves before they answer.
        for value, end in reversed(values):
            try:
                if (reading := read(value)) is not None:
                    return behind(text[end:]) or reading
            except _Wrong as error:
                wrong = wrong or error
        if wrong is not None:
            raise wrong
        return None

    return find_last


def _mend_json(text: str, start: int) -> tuple[Any, int]:
    """Parse a value with trailing commas or Python's quotes, up to the last bracket that closes it."""
    closing = {"{": "}", "[": "]"}[text[start]]
    # A bracket inside of a text closes too early, so that longer pieces are tried too.
    end = text.find(closing, start)
    for _ in range(8):
        if end < 0:
            break
        piece = re.sub(r",(\s*[}\]])", r"\1", text[start : end + 1])
        # Python's quotes end at a line break, which models write all the same.
        one_line = re.sub(r"\bnull\b", "None", " ".join(piece.splitlines()))
        for parse, written in ((partial(json.loads, strict=False), piece), (ast.literal_eval, one_line)):
            try:
                return parse(written), end + 1
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                continue
        end = text.find(closing, end + 1)
    return None, start


def _ratings_in_json(
    parsed: Any, keys: Sequence[str], count: int, number: Callable[[Any], float | None]
) -> Ratings | None:
    """Read a list of objects, an object with such a list, objects by number, or one object."""
    if isinstance(parsed, dict):
        listed = next((value for value in parsed.values() if isinstance(value, list)), None)
        if listed is not None and not set(map(_bare, keys)) & set(map(_bare, parsed)):
            return _ratings_in_json(listed, keys, count, number)
        numbered = {_bare(key).removeprefix("candidate").removeprefix("completion"): key for key in parsed}
        if all(isinstance(parsed.get(numbered.get(str(at))), dict) for at in range(1, count + 1)):
            parsed = [{"candidate": at, **parsed[numbered[str(at)]]} for at in range(1, count + 1)]
        else:
            parsed = [parsed]
    rows = [row for row in parsed if isinstance(row, dict)] if isinstance(parsed, list) else []
    if all(_find_value(row, key, _ABSENT) is _ABSENT for row in rows for key in keys):
        return None
    if len(rows) != count:
        raise _Wrong("the answer rates another number of completions")
    ratings = [{key: number(_find_value(row, key)) for key in keys} for row in rows]
    named = [row.get("candidate", row.get("completion")) for row in rows]
    if all(name is None for name in named):
        return ratings
    # In the order of the numbers that the answer gives the completions.
    places = [int(digits[0]) if (digits := re.findall(r"\d+", str(name))) else 0 for name in named]
    if sorted(places) != list(range(1, len(rows) + 1)):
        raise _Wrong("the answer does not number the completions as they were shown")
    return [rating for _, rating in sorted(zip(places, ratings, strict=True), key=lambda pair: pair[0])]


_MISSING, _ABSENT = object(), object()


def _find_value(row: Mapping[str, Any], key: str, default: Any = _MISSING) -> Any:
    """Find the value under a key in any spelling; the overall rating is also called score."""
    names = {_bare(key)} | ({"score", "overallscore", "overallrating", "overall"} if key == "rating" else set())
    value = next((value for name, value in row.items() if _bare(str(name)) in names), default)
    if value is _MISSING:
        raise _Wrong("a rating is missing")
    return value


def _number(value: Any, low: int, high: int) -> float | None:
    if isinstance(value, dict):
        value = _find_value({_bare(str(name)): inner for name, inner in value.items()}, "rating")
    if value is None or (isinstance(value, str) and _bare(value) in _NOT_RATED):
        return None
    match = _NUMBER.fullmatch(str(value).strip()) if isinstance(value, (int, float, str)) else None
    # A rating out of another number (4/10 where 5 is the highest) is refused: rescaling it would be a guess.
    if isinstance(value, bool) or match is None or (match[2] is not None and float(match[2]) != high):
        raise _Wrong("a rating is no number")
    rating = float(match[1])
    if not (math.isfinite(rating) and low <= rating <= high):
        raise _Wrong("a rating lies outside of the rubric's range")
    return rating


def _without_marks(text: str) -> str:
    """Rewrite tags around a word as ``name: word``, and LaTeX's box as double brackets."""
    plain = re.sub(r"\\boxed\{\s*(?:\\text\{)?([^{}\n]{1,40})\}{1,2}", r"[[\1]]", text)
    return re.sub(r"<(\w+)>\s*([^<>\n]{1,40}?)\s*</\1>", r"\n\1: \2\n", plain)


def _bare(text: Any) -> str:
    """Lower case, letters and digits alone."""
    return re.sub(r"[\W_]+", "", str(text)).lower()
