"""Which column holds what: the user's word, and a guess from names and types where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import Field, ValidationInfo, field_validator

from prefboost.settings import Settings
from prefboost.sources.messages.keys import TOOL_COLUMNS

__all__ = [
    "KNOWN_ASPECTS",
    "NAMES",
    "RATING_FIELDS",
    "Columns",
    "dtype_at",
    "expr_at",
    "first_of",
    "plain_name",
    "side_columns",
]

LISTS = ("aspects", "ignore", "plain")
"""Fields that name several columns; ``prompt`` may."""


class Columns(Settings):
    """Columns named by the user; what is not named is guessed. A dot reaches into structs: ``meta.judge.score``."""

    prompt: str | tuple[str, ...] | None = Field(
        None, description="Text or messages of the prompt; several columns of text are joined, a line each."
    )
    system: str | None = Field(None, description="System message that belongs in front of the prompt.")
    history: str | None = Field(None, description="Earlier turns: a list of [question, answer], or messages.")
    tools: str | None = Field(None, description="Tools that the assistant may call: a list of schemas, or its JSON.")
    prompt_id: str | None = Field(None, description="Equal for equal prompts; default: a hash of the messages.")
    completions: str | None = Field(None, description="List of a prompt's completions (structs, texts or messages).")
    completion: str | None = Field(None, description="One completion; inside completions: the field with its text.")
    completion_id: str | None = Field(None, description="Unique identifier of a completion.")
    score: str | None = Field(None, description="Overall score of a completion, or list of scores beside completions.")
    rank: str | None = Field(
        None,
        description="Rank of a completion, the lowest is best; turned round it is the score, 1 for the worst rank.",
    )
    aspects: tuple[str, ...] | None = Field(None, description="Columns with scores of single aspects.")
    model: str | None = Field(None, description="Who wrote a completion.")
    finish_reason: str | None = Field(None, description="Why a completion ended: stop, or length where it was cut.")
    chosen: str | None = Field(None, description="The preferred completion of a pair.")
    rejected: str | None = Field(None, description="The other completion of a pair.")
    score_chosen: str | None = Field(None, description="Score of the preferred completion.")
    score_rejected: str | None = Field(None, description="Score of the other completion.")
    finish_chosen: str | None = Field(None, description="Why the preferred completion ended.")
    finish_rejected: str | None = Field(None, description="Why the other completion ended.")
    pair_id: str | None = Field(None, description="Unique identifier of a pair.")
    chosen_wins: str | None = Field(None, description="Probability, 0 to 1, that the preferred completion is better.")
    pair_weight: str | None = Field(None, description="Weight of a pair in a reward model's loss.")
    lineage: str | None = Field(None, description="How a synthetic pair came about, as JSON.")
    rules: str | None = Field(None, description="JSON list of checkable rules that the prompt asks for.")
    source: str | None = Field(None, description="Which collection a prompt is from.")
    split: str | None = Field(None, description="train, validation or test, row by row.")
    plain: tuple[str, ...] = Field(
        (), description="Columns whose text is meant as it stands, although it looks like an encoded conversation."
    )
    ignore: tuple[str, ...] = Field((), description="Columns to treat as absent, e.g. a margin.")

    @field_validator("*", mode="before")
    @classmethod
    def _as_names(cls, given: Any, about: ValidationInfo) -> Any:
        """Names that look like other values in YAML: a column 1, or aspects written without brackets."""
        if about.field_name in LISTS and isinstance(given, str):
            return tuple(name.strip() for name in given.split(",") if name.strip())
        if about.field_name == "prompt" and isinstance(given, list | tuple):
            return str(given[0]) if len(given) == 1 else tuple(map(str, given))
        return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given

    def over(self, other: Columns) -> Columns:
        """These columns, and those of ``other`` where these name none."""
        mine = {name: value for name, value in self.model_dump().items() if value not in (None, ())}
        return Columns(**{**other.model_dump(), **mine})


NAMES: dict[str, tuple[str, ...]] = {
    "prompt": (
        "prompt", "instruction", "question", "query", "context", "conversation", "input", "problem", "conversations",
        "messages",
    ),
    "system": ("system", "system_prompt", "system_message", "system_instruction", "system_text"),
    "history": ("history", "chat_history", "dialogue_history", "dialog_history", "conversation_history"),
    "tools": TOOL_COLUMNS,
    "prompt_id": ("prompt_id", "question_id", "instruction_id"),
    "completions": ("completions", "responses", "answers", "generations", "candidates", "outputs"),
    "completion": ("completion", "response", "answer", "generation", "output", "text", "content", "generated_text"),
    "completion_id": ("completion_id", "response_id"),
    "score": ("score", "overall_score", "overall", "rating", "reward", "quality", "judge_score", "scores", "ratings"),
    "rank": ("rank", "ranks"),
    "model": ("model", "generator", "model_name", "models"),
    "finish_reason": ("finish_reason", "finish_reasons"),
    "finish_chosen": ("finish_chosen", "finish_reason_chosen", "chosen_finish_reason"),
    "finish_rejected": ("finish_rejected", "finish_reason_rejected", "rejected_finish_reason"),
    "chosen": ("chosen", "chosen_response", "response_chosen", "preferred"),
    "rejected": ("rejected", "rejected_response", "response_rejected", "dispreferred"),
    "pair_id": ("pair_id",),
    "chosen_wins": ("chosen_wins",),
    "pair_weight": ("pair_weight",),
    "lineage": ("lineage",),
    "rules": ("rules",),
    "source": ("source", "dataset", "data_source"),
    "split": ("split",),
}  # fmt: skip
"""Names under which each part is found in published data, best first."""

KNOWN_ASPECTS = (
    "helpfulness", "honesty", "truthfulness", "instruction_following", "correctness", "coherence", "complexity",
    "verbosity", "harmlessness", "safety", "factuality", "relevance", "completeness", "fluency", "creativity",
)  # fmt: skip
"""Aspects that are recognised by name alone."""

RATING_FIELDS = ("Rating", "rating", "score", "Score")


def first_of(schema: Mapping[str, pl.DataType], names: Sequence[str]) -> str | None:
    """The first of ``names`` among the columns, upper and lower case, ``-`` and ``_`` being the same."""
    plain = {plain_name(name): name for name in reversed(list(schema))}
    return next((plain[name] for name in map(plain_name, names) if name in plain), None)


def plain_name(name: str) -> str:
    """The name in lower case, with ``_`` for ``-`` and spaces."""
    return re.sub(r"[-\s]+", "_", name.strip()).lower()


def side_columns(schema: Mapping[str, pl.DataType], word: str) -> tuple[str, str] | None:
    """Columns that hold ``word`` of both sides, e.g. ``score_chosen`` and ``score_rejected`` or ``chosen-score``."""
    for pattern in (f"{word}_{{}}", f"{{}}_{word}", f"{{}}_overall_{word}", f"overall_{word}_{{}}", f"{word}.{{}}"):
        pair = [first_of(schema, [pattern.format(side)]) for side in ("chosen", "rejected")]
        if pair[0] and pair[1]:
            return pair[0], pair[1]
    return None


def dtype_at(schema: Mapping[str, pl.DataType], path: str) -> pl.DataType | None:
    """The type at a column or dotted path, None where there is none."""
    if path in schema:
        return schema[path]
    for head, rest in _cuts(path):
        dtype = schema.get(head)
        if isinstance(dtype, pl.Struct):
            found = dtype_at({item.name: _instance(item.dtype) for item in dtype.fields}, rest)
            if found is not None:
                return found
    return None


def expr_at(schema: Mapping[str, pl.DataType], path: str, base: pl.Expr | None = None) -> pl.Expr:
    """The expression at a column or dotted path, or at a field of the struct ``base``; null where there is none."""
    found = _struct_expr(schema, path, base)
    return pl.lit(None) if found is None else found


def _struct_expr(schema: Mapping[str, pl.DataType], path: str, base: pl.Expr | None) -> pl.Expr | None:
    def here(name: str) -> pl.Expr:
        return pl.col(name) if base is None else base.struct.field(name)

    if path in schema:
        return here(path)
    for head, rest in _cuts(path):
        dtype = schema.get(head)
        if isinstance(dtype, pl.Struct):
            inner = {item.name: _instance(item.dtype) for item in dtype.fields}
            found = _struct_expr(inner, rest, here(head))
            if found is not None:
                return found
    return None


def _cuts(path: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"\.", path):
        yield path[: match.start()], path[match.end() :]


def _instance(dtype: Any) -> pl.DataType:
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance
