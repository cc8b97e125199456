"""Columns: the user's names for the parts of a record, and a guess from names and types where there are none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from prefboost.settings import Settings
from prefboost.sources.messages.keys import TOOL_COLUMNS

__all__ = [
    "KNOWN_ASPECTS",
    "NAMES",
    "RATING_FIELDS",
    "Columns",
    "find_dtype",
    "build_expression",
    "find_first_column",
    "normalize_name",
    "find_side_columns",
    "instantiate_dtype",
]

LISTS = ("aspects", "ignore", "plain")
"""Fields that name several columns; ``prompt`` may."""


class Columns(Settings):
    """Columns named by the user; what is not named is guessed. A dot reaches into structs: ``meta.judge.score``."""

    # One text may name several columns (`_as_names`), and the JSON schema has to say so.
    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema["properties"].update(
            {name: {"anyOf": [schema["properties"][name], {"type": "string"}]} for name in LISTS}
        )
    )

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
    model: str | None = Field(None, description="Author of a completion.")
    finish_reason: str | None = Field(None, description="End of a completion: stop, or length where it was cut.")
    goal: str | None = Field(None, description="Score that the writer of a completion was asked for: a number.")
    chosen: str | None = Field(None, description="The preferred completion of a pair.")
    rejected: str | None = Field(None, description="The other completion of a pair.")
    score_chosen: str | None = Field(None, description="Score of the preferred completion.")
    score_rejected: str | None = Field(None, description="Score of the other completion.")
    finish_chosen: str | None = Field(None, description="End of the preferred completion.")
    finish_rejected: str | None = Field(None, description="End of the other completion.")
    pair_id: str | None = Field(None, description="Unique identifier of a pair.")
    chosen_wins: str | None = Field(None, description="Probability, 0 to 1, that the preferred completion is better.")
    pair_weight: str | None = Field(None, description="Weight of a pair in a reward model's loss.")
    lineage: str | None = Field(None, description="Origin of a synthetic pair, as JSON.")
    rules: str | None = Field(None, description="JSON list of checkable rules that the prompt asks for.")
    source: str | None = Field(None, description="Collection that a prompt is from.")
    split: str | None = Field(None, description="train, validation or test, row by row.")
    plain: tuple[str, ...] = Field(
        (), description="Columns whose text is meant as it stands, although it looks like an encoded conversation."
    )
    ignore: tuple[str, ...] = Field((), description="Columns to treat as absent, e.g. a margin.")

    @field_validator("*", mode="before")
    @classmethod
    def _as_names(cls, value: Any, about: ValidationInfo) -> Any:
        """Convert names that look like other values in YAML: a column 1, or aspects written without brackets."""
        if about.field_name in LISTS and isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        if about.field_name == "prompt" and isinstance(value, list | tuple):
            return str(value[0]) if len(value) == 1 else tuple(map(str, value))
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    def over(self, other: Columns) -> Columns:
        """Merge with ``other``: its columns count where these name none."""
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
    "goal": ("goal",),
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


def find_first_column(schema: Mapping[str, pl.DataType], names: Sequence[str]) -> str | None:
    """Return the first of ``names`` among the columns, whatever their case; ``-`` and ``_`` are the same."""
    # Reversed, so that of columns whose names read alike the first one counts.
    plain = {normalize_name(name): name for name in reversed(list(schema))}
    return next((plain[name] for name in map(normalize_name, names) if name in plain), None)


def normalize_name(name: str) -> str:
    """Write a name in lower case, with ``_`` for ``-`` and spaces."""
    return re.sub(r"[-\s]+", "_", name.strip()).lower()


def find_side_columns(schema: Mapping[str, pl.DataType], word: str) -> tuple[str, str] | None:
    """Find the columns of ``word`` for both sides, e.g. ``score_chosen`` and ``score_rejected`` or ``chosen-score``."""
    for pattern in (f"{word}_{{}}", f"{{}}_{word}", f"{{}}_overall_{word}", f"overall_{word}_{{}}", f"{word}.{{}}"):
        pair = [find_first_column(schema, [pattern.format(side)]) for side in ("chosen", "rejected")]
        if pair[0] and pair[1]:
            return pair[0], pair[1]
    return None


def find_dtype(schema: Mapping[str, pl.DataType], path: str) -> pl.DataType | None:
    """Return the type at a column or dotted path; None where there is none."""
    if path in schema:
        return schema[path]
    for head, rest in _cut_path(path):
        dtype = schema.get(head)
        if isinstance(dtype, pl.Struct):
            inner = find_dtype({item.name: instantiate_dtype(item.dtype) for item in dtype.fields}, rest)
            if inner is not None:
                return inner
    return None


def build_expression(schema: Mapping[str, pl.DataType], path: str, base: pl.Expr | None = None) -> pl.Expr:
    """Build the expression of a column or dotted path, or of a field of the struct ``base``; null where absent."""
    expression = _build_struct_expression(schema, path, base)
    return pl.lit(None) if expression is None else expression


def _build_struct_expression(schema: Mapping[str, pl.DataType], path: str, base: pl.Expr | None) -> pl.Expr | None:
    def select(name: str) -> pl.Expr:
        return pl.col(name) if base is None else base.struct.field(name)

    if path in schema:
        return select(path)
    for head, rest in _cut_path(path):
        dtype = schema.get(head)
        if isinstance(dtype, pl.Struct):
            inner = {item.name: instantiate_dtype(item.dtype) for item in dtype.fields}
            expression = _build_struct_expression(inner, rest, select(head))
            if expression is not None:
                return expression
    return None


def _cut_path(path: str) -> Iterator[tuple[str, str]]:
    # Names of columns and fields may hold dots themselves, so every dot may be the border.
    for match in re.finditer(r"\.", path):
        yield path[: match.start()], path[match.end() :]


def instantiate_dtype(dtype: Any) -> pl.DataType:
    """Return a type as an instance: fields of structs may name the class alone."""
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance
