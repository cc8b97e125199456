"""The guess: from columns and types of the first records to the shape of the data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from prefboost.errors import DataError, Place, UnknownShape
from prefboost.sources.columns import (
    KNOWN_ASPECTS,
    RATING_FIELDS,
    Columns,
    find_dtype,
    find_first_column,
    find_side_columns,
    instantiate_dtype,
    normalize_name,
)
from prefboost.sources.layouts.comparisons import find_comparison
from prefboost.sources.layouts.part_lookup import PartLookup, list_columns
from prefboost.sources.messages.conversations import ROLE_KEYS

__all__ = ["COMPLETION_LIKE", "INSIDE", "Layout", "guess"]

MARGINS = ("margin", "score_margin", "score_diff", "score_difference", "reward_margin")
COMPLETION_PARTS = ("score", "rank", "model", "completion_id", "finish_reason")
FINISH_PARTS = ("finish_chosen", "finish_rejected")
SYNTHETIC_PARTS = ("chosen_wins", "pair_weight", "lineage")
PAIR_PARTS = ("prompt_id", "pair_id", "source", "split")
PROMPT_PARTS = ("prompt_id", "rules", "source", "split")
COMPLETION_LIKE = re.compile(
    r"(response|completion|answer|generation|output|chosen|rejected|summary|human_ref)s?([_-].*|\d*)$"
)
SCORE_WORDS = ("score", "rating", "avg_rating", "reward", "rm_score", "overall_score")

INSIDE = ("completion", *COMPLETION_PARTS)
"""Parts that stand inside the completions of nested records, under names that cannot be changed there."""

WHOLE_CHOSEN = {"rejected_response": ("response", "messages"), "rejected_messages": ("messages",)}
"""Of ms-swift's pairs: the column of the rejected completion -> those that hold the chosen one."""


@dataclass(frozen=True)
class Layout:
    """Meaning of a source's columns: the guess as it is printed, and all that the conversion needs to know.

    ``shape`` is one of nested, parallel, flat, pairs, preference, prompts. ``parts`` maps a part (prompt, score, ...)
    to its column; ``further`` are columns whose text follows that of the prompt; ``aspects`` maps an aspect to its
    column (pairs: to the columns of both sides). ``ranks`` are the best and the worst rank of the source, None where
    there are none or they are not known. ``forms`` maps columns of scores to the form of their texts
    (`prefboost.sources.layouts.score_columns`).
    """

    shape: str
    parts: Mapping[str, str]
    aspects: Mapping[str, str] = field(default_factory=dict)
    aspects_rejected: Mapping[str, str] = field(default_factory=dict)
    transcripts: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    ranks: tuple[float, float] | None = None
    further: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    forms: Mapping[str, str] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Tell whether any score is in the data."""
        return bool(self.aspects) or any(
            part in self.parts for part in ("score", "rank", "score_chosen", "score_first")
        )

    def list_heads(self, columns: Iterable[str]) -> list[str]:
        """List those of a record's columns that play a part, directly or by what is inside them."""
        paths = [*self.parts.values(), *self.further, *self.aspects.values(), *self.aspects_rejected.values()]
        return [name for name in columns if any(path == name or path.startswith(f"{name}.") for path in paths)]

    def describe(self) -> dict[str, Any]:
        """Describe the guess in words: part -> column, aspects, and which parts the user named."""
        # Names in underscores stand for columns that later records may have.
        parts = {part: path for part, path in self.parts.items() if not path.startswith("__")}
        further = [path for path in self.further if not path.startswith("__")]
        words: dict[str, Any] = {"shape": self.shape, **parts}
        if further:
            words["prompt"] = [self.parts["prompt"], *further]
        if self.aspects:
            words["aspects"] = dict(self.aspects)
        if self.ranks:
            words["ranks"] = f"{self.ranks[0]:g} (best) to {self.ranks[1]:g}, turned round"
        if self.forms:
            words["scores read as"] = {
                path: "decimal comma" if form == "," else f"so many of {form[1:]}" for path, form in self.forms.items()
            }
        if self.transcripts:
            words["transcripts"] = list(self.transcripts)
        if self.given:
            words["named by the user"] = list(self.given)
        return words


def guess(sample: pl.DataFrame, columns: Columns, path: str) -> Layout:
    """Guess the layout of a source from its first records.

    Args:
        sample: the first batch of raw records.
        columns: what the user named; a name that does not exist is an error, what is not named is guessed.
        path: for messages.

    Raises:
        DataError: a named column does not exist; a margin stands where two scores are needed; goal pairs.
        UnknownShape: no shape fits.
    """
    part_of = PartLookup(sample, columns, path)
    if "goal_pair_id" in part_of.schema:
        raise DataError(
            "these are goal-conditioned pairs already",
            remedy="read the data they were made from, or train on the file as it is",
            place=Place(path, column="goal_pair_id"),
        )
    if not part_of.named and not columns.aspects:
        layout = next((layout for shape in SHAPES if (layout := shape(part_of)) is not None), None)
        if layout is None:
            raise _describe_unknown(part_of)
        return replace(layout, ignored=columns.ignore)
    return replace(_guess_from_names(part_of), ignored=columns.ignore)


def _guess_from_names(part_of: PartLookup) -> Layout:
    """Choose the shape that uses most of the columns that the user named; among equals the first one."""
    layouts, errors = [], []
    for shape in SHAPES:
        try:
            layouts.append(shape(part_of))
        except DataError as error:
            errors.append(error)
    fitting = [layout for layout in layouts if layout is not None]
    named = {*part_of.named, *(["aspects"] if part_of.named_aspects else [])}
    best = max(fitting, key=lambda layout: len(_list_used_parts(layout, part_of)), default=None)
    unused = sorted(named - (set() if best is None else _list_used_parts(best, part_of)))
    if best is not None and not unused:
        return best
    if errors or best is None:
        raise errors[0] if errors else _describe_unknown(part_of)
    raise DataError(
        f"the shape {best.shape} that fits these columns does not use columns.{unused[0]}; found "
        f"{list_columns(part_of.schema)}",
        remedy="leave it out, or name the other columns of the intended shape, e.g. columns.prompt=... "
        "columns.completion=... columns.score=...",
        place=Place(part_of.path, column=part_of.named.get(unused[0])),
    )


def _list_used_parts(layout: Layout, part_of: PartLookup) -> set[str]:
    """List the parts named by the user that a layout has a use for."""
    parts = {part for part, name in part_of.named.items() if layout.parts.get(part) == name}
    # A score beside a rank is the better of the two, and the rank then plays no part.
    ranked = {"rank"} if "rank" in part_of.named and "score" in layout.parts else set()
    return parts | ranked | ({"aspects"} if part_of.named_aspects and layout.aspects else set())


def _describe_unknown(part_of: PartLookup) -> UnknownShape:
    return UnknownShape(
        f"no shape of preference data fits the columns {list_columns(part_of.schema)}",
        remedy="name them, e.g. columns.prompt=... columns.completion=... columns.score=..., or columns.chosen=... "
        "columns.rejected=...",
        place=Place(part_of.path),
    )


def _find_further(part_of: PartLookup, parts: Mapping[str, str]) -> tuple[str, ...]:
    return part_of.find_further_prompts(parts["prompt"]) if "prompt" in parts else ()


def _guess_pairs(part_of: PartLookup) -> Layout | None:
    schema = part_of.schema
    chosen, rejected = part_of("chosen"), part_of("rejected") or find_first_column(schema, tuple(WHOLE_CHOSEN))
    chosen = chosen or find_first_column(schema, WHOLE_CHOSEN.get(normalize_name(rejected or ""), ()))
    if chosen is None or rejected is None:
        return None
    transcripts = part_of.find_transcripts(chosen, rejected, part_of("prompt"))
    parts = part_of.find_prompt(*PAIR_PARTS, *FINISH_PARTS, *SYNTHETIC_PARTS, chosen=chosen, rejected=rejected)
    if parts.get("prompt") == chosen:
        del parts["prompt"]
    if "prompt" not in parts and chosen not in transcripts and not _is_conversation(schema, chosen):
        raise UnknownShape(
            f"pairs of texts without a prompt column; found {list_columns(schema)}",
            remedy="name it: columns.prompt=...",
            place=Place(part_of.path),
        )
    scores = _find_pair_scores(part_of)
    if scores:
        parts |= {"score_chosen": scores[0], "score_rejected": scores[1]}
    aspects = _find_pair_aspects(part_of)
    margin = find_first_column(schema, MARGINS)
    if margin is not None and not scores and not aspects:
        raise DataError(
            f"the column {margin!r} holds the difference of two scores, not the scores: the goal that each completion "
            "reaches is unknown",
            remedy=f"name the two score columns (columns.score_chosen, columns.score_rejected), or read the pairs as "
            f"binary ones: columns.ignore=[{margin}]",
            place=Place(part_of.path, column=margin),
        )
    return Layout(
        "pairs",
        parts,
        aspects={name: pair[0] for name, pair in aspects.items()},
        aspects_rejected={name: pair[1] for name, pair in aspects.items()},
        transcripts=transcripts,
        given=part_of.list_named_parts(),
        further=_find_further(part_of, parts),
    )


def _find_pair_scores(part_of: PartLookup) -> tuple[str, str] | None:
    named = [part for part in ("score_chosen", "score_rejected") if part in part_of.named]
    if len(named) == 1:
        raise DataError(
            f"columns.{named[0]} is given without its counterpart",
            remedy="give columns.score_chosen and columns.score_rejected",
            place=Place(part_of.path),
        )
    if named:
        chosen, rejected = part_of("score_chosen"), part_of("score_rejected")
        return (chosen, rejected) if chosen and rejected else None
    sample = part_of.sample
    empty = {name for name in sample.columns if sample[name].null_count() == sample.height}
    pairs = (find_side_columns(part_of.schema, word) for word in SCORE_WORDS)
    # Score columns that hold nothing at all are those of binary pairs as they are written.
    return next((pair for pair in pairs if pair and not empty.issuperset(pair)), None)


def _find_pair_aspects(part_of: PartLookup) -> dict[str, tuple[str, str]]:
    stored = [name.removeprefix("score_chosen.") for name in part_of.schema if name.startswith("score_chosen.")]
    aspects = part_of.named_aspects or tuple(dict.fromkeys((*stored, *KNOWN_ASPECTS)))
    schema = part_of.schema
    pairs = {name: find_side_columns(schema, name) for name in aspects}
    for name in aspects:
        sides = (f"score_chosen.{name}", f"score_rejected.{name}")
        if pairs[name] is None and set(sides) <= set(schema):
            pairs[name] = sides
    missing = [name for name in part_of.named_aspects or () if pairs[name] is None]
    if missing:
        raise DataError(
            f"columns.aspects names {missing[0]!r}, but no column holds it for both sides",
            remedy=f"expected e.g. {missing[0]}_chosen and {missing[0]}_rejected; found {list_columns(part_of.schema)}",
            place=Place(part_of.path),
        )
    return {name: pair for name, pair in pairs.items() if pair is not None}


def _guess_preference(part_of: PartLookup) -> Layout | None:
    parts = find_comparison(part_of)
    if parts is None:
        return None
    return Layout("preference", parts, given=part_of.list_named_parts(), further=_find_further(part_of, parts))


def _guess_nested(part_of: PartLookup) -> Layout | None:
    completions, prompt = part_of("completions") or part_of("completion"), part_of("prompt")
    dtype: Any = None if completions is None else find_dtype(part_of.schema, completions)
    if completions is None or prompt is None or not isinstance(dtype, pl.List | pl.Array):
        return None
    inner = dtype.inner
    if part_of("completions") is None:
        # A column named as for one completion may hold a list of them (``response: [a, b], score: [7, 3]``); a list of
        # anything else, above all of messages, is one completion.
        fields = {item.name for item in inner.fields} if isinstance(inner, pl.Struct) else set()
        if inner != pl.String and (not fields or fields & {*ROLE_KEYS}):
            return None
    parts = part_of.find_prompt(*PROMPT_PARTS, completions=completions)
    if isinstance(inner, pl.Struct) and not {"role", "content"} <= {item.name for item in inner.fields}:
        schema: dict[str, Any] = {item.name: item.dtype for item in inner.fields}
        text = part_of("completion", schema)
        if text is None:
            raise UnknownShape(
                f"the structs in {completions!r} hold no text of a completion; found {list_columns(schema)}",
                remedy="name it: columns.completion=...",
                place=Place(part_of.path, column=completions),
            )
        shape = "nested"
        parts |= {"completion": text, **part_of.find_fields(schema, *COMPLETION_PARTS)}
        aspects = _find_aspects(part_of, schema)
    else:
        shape = "parallel"
        beside = {part: part_of(part) for part in COMPLETION_PARTS}
        parts |= {
            part: column
            for part, column in beside.items()
            if column and isinstance(find_dtype(part_of.schema, column), pl.List | pl.Array)
        }
        aspects = {}
    if "score" in parts:
        parts.pop("rank", None)
    return _build_layout(shape, parts, aspects, part_of)


def _build_layout(shape: str, parts: Mapping[str, str], aspects: Mapping[str, str], part_of: PartLookup) -> Layout:
    transcripts = part_of.find_transcripts(parts["prompt"])
    further = _find_further(part_of, parts)
    return Layout(shape, parts, aspects, transcripts=transcripts, given=part_of.list_named_parts(), further=further)


def _find_aspects(part_of: PartLookup, schema: Mapping[str, pl.DataType]) -> dict[str, str]:
    """Find aspects of one completion: the user's, ``score.*``, known names, and ``annotations`` with a rating each."""
    if part_of.named_aspects is not None:
        missing = [name for name in part_of.named_aspects if find_dtype(schema, name) is None]
        if missing:
            raise DataError(
                f"columns.aspects names {missing[0]!r}, which does not exist; found {list_columns(schema)}",
                remedy="give columns that exist",
                place=Place(part_of.path, column=missing[0]),
            )
        return {name.removeprefix("score.").rpartition(".")[2]: name for name in part_of.named_aspects}
    aspects = {name.removeprefix("score."): name for name in schema if name.startswith("score.")}
    ratable = {name for name, dtype in schema.items() if dtype.is_numeric() or dtype in (pl.String, pl.Null)}
    aspects |= {name: name for name in KNOWN_ASPECTS if name in ratable}
    annotations = schema.get("annotations")
    if isinstance(annotations, pl.Struct):
        for item in annotations.fields:
            ratings = [
                key for key in RATING_FIELDS if find_dtype({"x": instantiate_dtype(item.dtype)}, f"x.{key}") is not None
            ]
            if ratings:
                aspects[item.name] = f"annotations.{item.name}.{ratings[0]}"
    return aspects


def _guess_flat(part_of: PartLookup) -> Layout | None:
    prompt, completion = part_of("prompt"), part_of("completion")
    if prompt is None or completion is None or prompt == completion:
        return None
    parts = part_of.find_prompt(*COMPLETION_PARTS, "goal", *PROMPT_PARTS, completion=completion)
    # A column goal of numbers is the score that was asked for; one of text is a task, and may belong to the prompt.
    if "goal" in parts and not _is_number(part_of.schema, parts["goal"]):
        parts.pop("goal")
    # Goals of aspects stand under the names that `generate` gives them.
    parts |= {name: name for name in part_of.schema if name.startswith("goal.") and _is_number(part_of.schema, name)}
    if "score" in parts:
        parts.pop("rank", None)
    return _build_layout("flat", parts, _find_aspects(part_of, part_of.schema), part_of)


def _guess_prompts(part_of: PartLookup) -> Layout | None:
    if part_of("prompt") is None or any(COMPLETION_LIKE.match(name.lower()) for name in part_of.schema):
        return None
    return _build_layout("prompts", part_of.find_prompt(*PROMPT_PARTS), {}, part_of)


def _is_number(schema: Mapping[str, pl.DataType], column: str) -> bool:
    dtype = find_dtype(schema, column)
    return dtype is not None and instantiate_dtype(dtype).is_numeric()


def _is_conversation(schema: Mapping[str, pl.DataType], column: str) -> bool:
    return isinstance(find_dtype(schema, column), pl.List | pl.Array)


SHAPES: tuple[Callable[[PartLookup], Layout | None], ...] = (
    _guess_pairs,
    _guess_preference,
    _guess_nested,
    _guess_flat,
    _guess_prompts,
)
"""The guess of each shape, in this order."""
