"""The guess: from columns and types of the first records to the shape of the data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.errors import DataError, Place, UnknownShape
from prefboost.sources.columns import KNOWN_ASPECTS, NAMES, RATING_FIELDS, Columns, dtype_at, first_of, side_columns
from prefboost.sources.raw import ROW

__all__ = ["PREFERENCES", "Layout", "Preference", "guess"]

TRANSCRIPT = r"^\s*(Human|Assistant): "
MARGINS = ("margin", "score_margin", "score_diff", "score_difference", "reward_margin")
COMPLETION_PARTS = ("score", "rank", "model", "completion_id", "finish_reason")
FINISH_PARTS = ("finish_chosen", "finish_rejected")
SYNTHETIC_PARTS = ("chosen_wins", "pair_weight", "lineage")
PAIR_PARTS = ("prompt", "system", "prompt_id", "pair_id", "source", "split")
COMPLETION_LIKE = re.compile(
    r"(response|completion|answer|generation|output|chosen|rejected|summary|human_ref)s?([_-].*|\d*)$"
)
SCORE_WORDS = ("score", "rating", "avg_rating", "reward", "rm_score", "overall_score")


@dataclass(frozen=True)
class Preference:
    """Two completions side by side and a column that says which is better.

    ``reads`` is "sign" (negative: the first) or "index" (0: the first, 1: the second). ``aspects`` maps an aspect to
    its column, ``{}`` standing for ``sides``.
    """

    first: str
    second: str
    preference: str
    reads: str
    sides: tuple[str, str]


PREFERENCES = (
    Preference("response1", "response2", "overall_preference", "sign", ("1", "2")),
    Preference("response_1", "response_2", "preference_strength", "sign", ("1", "2")),
    Preference("response_0", "response_1", "better_response_id", "index", ("0", "1")),
    Preference("response_0", "response_1", "safer_response_id", "index", ("0", "1")),
    Preference("response_a", "response_b", "label", "index", ("a", "b")),
)
"""Forms of side-by-side data: HelpSteer3, HelpSteer2-Preference, PKU-SafeRLHF (helpful or safe), and a label of 0 or 1
for the better of two (anything else is a tie), as comparisons of judges and people are often kept.
"""


@dataclass(frozen=True)
class Layout:
    """What a source's columns mean: the guess as it is printed, and all that the conversion needs to know.

    ``shape`` is one of nested, parallel, flat, pairs, preference, prompts. ``parts`` maps a part (prompt, score, ...)
    to its column; ``aspects`` maps an aspect to its column (pairs: to the columns of both sides). ``ranks`` are the
    best and the worst rank of the source, None where there are none or they are not known.
    """

    shape: str
    parts: Mapping[str, str]
    aspects: Mapping[str, str] = field(default_factory=dict)
    aspects_rejected: Mapping[str, str] = field(default_factory=dict)
    transcripts: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    ranks: tuple[float, float] | None = None

    @property
    def scored(self) -> bool:
        """Whether any score is in the data."""
        return bool(self.aspects) or any(part in self.parts for part in ("score", "rank", "score_chosen"))

    def heads(self, columns: Iterable[str]) -> list[str]:
        """Those of a record's columns that play a part, directly or by what is inside them."""
        paths = [*self.parts.values(), *self.aspects.values(), *self.aspects_rejected.values()]
        return [name for name in columns if any(path == name or path.startswith(f"{name}.") for path in paths)]

    def described(self) -> dict[str, Any]:
        """The guess in words: part -> column, aspects, and which parts the user named."""
        words: dict[str, Any] = {"shape": self.shape, **self.parts}
        if self.aspects:
            words["aspects"] = dict(self.aspects)
        if self.ranks:
            words["ranks"] = f"{self.ranks[0]:g} (best) to {self.ranks[1]:g}, turned round"
        if self.transcripts:
            words["transcripts"] = list(self.transcripts)
        if self.given:
            words["named by the user"] = list(self.given)
        return words


def guess(sample: pl.DataFrame, columns: Columns, path: str) -> Layout:
    """The layout of a source, from its first records.

    Args:
        sample: the first batch of raw records.
        columns: what the user named; a name that does not exist is an error, what is not named is guessed.
        path: for messages.

    Raises:
        DataError: a named column does not exist; a margin stands where two scores are needed; goal pairs.
        UnknownShape: no shape fits.
    """
    schema = {name: dtype for name, dtype in sample.schema.items() if name not in (ROW, *columns.ignore)}
    named = {part: value for part, value in columns.model_dump().items() if isinstance(value, str)}
    part_of = _Parts(schema, named, columns.aspects, path, sample)
    if "goal_pair_id" in schema:
        raise DataError(
            "these are goal-conditioned pairs already: their sides have been chosen for a goal",
            remedy="read the data they were made from, or train on the file as it is",
            place=Place(path, column="goal_pair_id"),
        )
    for shape in (_pairs, _preference, _nested, _flat, _prompts):
        layout = shape(part_of)
        if layout is not None:
            return layout
    raise UnknownShape(
        f"no shape of preference data fits the columns {_listing(schema)}",
        remedy="name them, e.g. columns.prompt=... columns.completion=... columns.score=..., or columns.chosen=... "
        "columns.rejected=...",
        place=Place(path),
    )


class _Parts:
    """Looks parts up in a schema: the user's name first, then the known names."""

    def __init__(
        self,
        schema: Mapping[str, pl.DataType],
        named: Mapping[str, str],
        aspects: tuple[str, ...] | None,
        path: str,
        sample: pl.DataFrame,
    ) -> None:
        self.schema = schema
        self.named = named
        self.named_aspects = aspects
        self.path = path
        self.sample = sample

    def __call__(self, part: str, schema: Mapping[str, pl.DataType] | None = None) -> str | None:
        """The column of a part in ``schema`` (default: the record's own columns)."""
        within = self.schema if schema is None else schema
        if part not in self.named:
            return first_of(within, NAMES.get(part, ()))
        if dtype_at(within, self.named[part]) is None:
            if schema is not None:
                return None
            raise DataError(
                f"columns.{part} names {self.named[part]!r}, which is not here; found {_listing(within)}",
                remedy=f"give a column that exists as columns.{part}",
                place=Place(self.path, column=self.named[part]),
            )
        return self.named[part]

    def found(self, *parts: str, **known: str) -> dict[str, str]:
        """Parts that exist, with ``known`` ones added."""
        looked = {part: self(part) for part in parts}
        return {**{part: column for part, column in looked.items() if column is not None}, **known}

    def given(self) -> tuple[str, ...]:
        """Parts that the user named."""
        return tuple(sorted(self.named))

    def transcripts(self, *columns: str | None) -> tuple[str, ...]:
        """Those of the columns whose text is a transcript (Human: ... Assistant: ...)."""
        return tuple(column for column in columns if column and _is_transcript(self.sample, column))


def _listing(schema: Mapping[str, pl.DataType]) -> str:
    names = ", ".join(schema)
    return names if len(names) <= 400 else names[:400] + "..."


def _is_transcript(sample: pl.DataFrame, column: str) -> bool:
    if sample.schema.get(column) != pl.String:
        return False
    texts = sample[column].drop_nulls().head(20)
    return texts.len() > 0 and int(texts.str.contains(TRANSCRIPT).sum()) * 2 > texts.len()


def _pairs(part_of: _Parts) -> Layout | None:
    chosen, rejected = part_of("chosen"), part_of("rejected")
    if chosen is None or rejected is None:
        return None
    schema = part_of.schema
    transcripts = part_of.transcripts(chosen, rejected, part_of("prompt"))
    parts = part_of.found(*PAIR_PARTS, *FINISH_PARTS, *SYNTHETIC_PARTS, chosen=chosen, rejected=rejected)
    if "prompt" not in parts and chosen not in transcripts and not _is_conversation(schema, chosen):
        raise UnknownShape(
            f"pairs of texts without a prompt column; found {_listing(schema)}",
            remedy="name it: columns.prompt=...",
            place=Place(part_of.path),
        )
    scores = _pair_scores(part_of)
    if scores:
        parts |= {"score_chosen": scores[0], "score_rejected": scores[1]}
    aspects = _pair_aspects(part_of)
    if not scores and not aspects:
        _refuse_margin(part_of)
    return Layout(
        "pairs",
        parts,
        aspects={name: pair[0] for name, pair in aspects.items()},
        aspects_rejected={name: pair[1] for name, pair in aspects.items()},
        transcripts=transcripts,
        given=part_of.given(),
    )


def _pair_scores(part_of: _Parts) -> tuple[str, str] | None:
    named = [part for part in ("score_chosen", "score_rejected") if part in part_of.named]
    if len(named) == 1:
        raise DataError(
            f"columns.{named[0]} is given without its other half",
            remedy="give columns.score_chosen and columns.score_rejected",
            place=Place(part_of.path),
        )
    if named:
        chosen, rejected = part_of("score_chosen"), part_of("score_rejected")
        return (chosen, rejected) if chosen and rejected else None
    found = (side_columns(part_of.schema, word) for word in SCORE_WORDS)
    return next((pair for pair in found if pair and not _empty(part_of.sample, pair)), None)


def _empty(sample: pl.DataFrame, names: Sequence[str]) -> bool:
    """Whether columns hold nothing at all: scores of binary pairs as they are written."""
    own = [name for name in names if name in sample.columns]
    return len(own) == len(names) and all(sample[name].null_count() == sample.height for name in own)


def _pair_aspects(part_of: _Parts) -> dict[str, tuple[str, str]]:
    own = [name.removeprefix("score_chosen.") for name in part_of.schema if name.startswith("score_chosen.")]
    wanted = part_of.named_aspects or tuple(dict.fromkeys((*own, *KNOWN_ASPECTS)))
    found = {name: side_columns(part_of.schema, name) or _own_columns(part_of.schema, name) for name in wanted}
    missing = [name for name in part_of.named_aspects or () if found[name] is None]
    if missing:
        raise DataError(
            f"columns.aspects names {missing[0]!r}, but no column holds it for both sides",
            remedy=f"expected e.g. {missing[0]}_chosen and {missing[0]}_rejected; found {_listing(part_of.schema)}",
            place=Place(part_of.path),
        )
    return {name: pair for name, pair in found.items() if pair is not None}


def _own_columns(schema: Mapping[str, pl.DataType], aspect: str) -> tuple[str, str] | None:
    pair = (f"score_chosen.{aspect}", f"score_rejected.{aspect}")
    return pair if all(name in schema for name in pair) else None


def _refuse_margin(part_of: _Parts) -> None:
    margin = first_of(part_of.schema, MARGINS)
    if margin is not None:
        raise DataError(
            f"the column {margin!r} tells the difference of two scores, not the scores: which goal each completion "
            "reaches cannot be known from it",
            remedy=f"name the two score columns (columns.score_chosen, columns.score_rejected), or read the pairs as "
            f"binary ones: columns.ignore=[{margin}]",
            place=Place(part_of.path, column=margin),
        )


def _preference(part_of: _Parts) -> Layout | None:
    for form in PREFERENCES:
        columns = {word: first_of(part_of.schema, (getattr(form, word),)) for word in ("first", "second", "preference")}
        if all(columns.values()) and part_of("prompt") is not None:
            parts = part_of.found(*PAIR_PARTS)
            parts |= {word: column for word, column in columns.items() if column}
            return Layout("preference", {**parts, "reads": form.reads}, given=part_of.given())
    return None


def _nested(part_of: _Parts) -> Layout | None:
    completions, prompt = part_of("completions"), part_of("prompt")
    dtype = None if completions is None else dtype_at(part_of.schema, completions)
    if completions is None or prompt is None or not isinstance(dtype, pl.List | pl.Array):
        return None
    parts = part_of.found("prompt", "system", "prompt_id", "rules", "source", "split", completions=completions)
    inner = dtype.inner
    if isinstance(inner, pl.Struct) and not {"role", "content"} <= {item.name for item in inner.fields}:
        schema: dict[str, Any] = {item.name: item.dtype for item in inner.fields}
        text = part_of("completion", schema)
        if text is None:
            raise UnknownShape(
                f"the structs in {completions!r} hold no text of a completion; found {_listing(schema)}",
                remedy="name it: columns.completion=...",
                place=Place(part_of.path, column=completions),
            )
        shape = "nested"
        parts |= {"completion": text, **_within(part_of, schema, COMPLETION_PARTS)}
        aspects = _aspects(part_of, schema)
    else:
        shape = "parallel"
        beside = {part: part_of(part) for part in COMPLETION_PARTS}
        parts |= {
            part: column
            for part, column in beside.items()
            if column and isinstance(dtype_at(part_of.schema, column), pl.List | pl.Array)
        }
        aspects = {}
    if "score" in parts:
        parts.pop("rank", None)
    return Layout(shape, parts, aspects, transcripts=part_of.transcripts(parts["prompt"]), given=part_of.given())


def _within(part_of: _Parts, schema: Mapping[str, pl.DataType], parts: tuple[str, ...]) -> dict[str, str]:
    found = {part: part_of(part, schema) for part in parts}
    for part, column in found.items():
        if column is None and part in part_of.named:
            raise DataError(
                f"columns.{part} names {part_of.named[part]!r}, which no completion has; found {_listing(schema)}",
                remedy=f"give a field that exists as columns.{part}",
                place=Place(part_of.path, column=part_of.named[part]),
            )
    return {part: column for part, column in found.items() if column is not None}


def _aspects(part_of: _Parts, schema: Mapping[str, pl.DataType]) -> dict[str, str]:
    """Aspects of one completion: the user's, ``score.*``, known names, and ``annotations`` with a rating each."""
    if part_of.named_aspects is not None:
        missing = [name for name in part_of.named_aspects if dtype_at(schema, name) is None]
        if missing:
            raise DataError(
                f"columns.aspects names {missing[0]!r}, which is not here; found {_listing(schema)}",
                remedy="give columns that exist",
                place=Place(part_of.path, column=missing[0]),
            )
        return {name.removeprefix("score.").rpartition(".")[2]: name for name in part_of.named_aspects}
    found = {name.removeprefix("score."): name for name in schema if name.startswith("score.")}
    found |= {name: name for name in KNOWN_ASPECTS if name in schema and _ratable(schema[name])}
    annotations = schema.get("annotations")
    if isinstance(annotations, pl.Struct):
        for item in annotations.fields:
            ratings = [key for key in RATING_FIELDS if dtype_at({"x": _as_type(item.dtype)}, f"x.{key}") is not None]
            if ratings:
                found[item.name] = f"annotations.{item.name}.{ratings[0]}"
    return found


def _as_type(dtype: Any) -> pl.DataType:
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance


def _ratable(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.String, pl.Null)


def _flat(part_of: _Parts) -> Layout | None:
    prompt, completion = part_of("prompt"), part_of("completion")
    if prompt is None or completion is None or prompt == completion:
        return None
    parts = part_of.found(
        "prompt", "system", "prompt_id", *COMPLETION_PARTS, "rules", "source", "split", completion=completion
    )
    if "score" in parts:
        parts.pop("rank", None)
    aspects = _aspects(part_of, part_of.schema)
    transcripts = part_of.transcripts(prompt)
    return Layout("flat", parts, aspects, transcripts=transcripts, given=part_of.given())


def _prompts(part_of: _Parts) -> Layout | None:
    if part_of("prompt") is None or any(COMPLETION_LIKE.match(name.lower()) for name in part_of.schema):
        return None
    parts = part_of.found("prompt", "system", "prompt_id", "rules", "source", "split")
    return Layout("prompts", parts, transcripts=part_of.transcripts(parts["prompt"]), given=part_of.given())


def _is_conversation(schema: Mapping[str, pl.DataType], column: str) -> bool:
    return isinstance(dtype_at(schema, column), pl.List | pl.Array)
