"""The records between a prompt and a pair: two completions, which of them is the better, and how that came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prefboost.chat import join_text
from prefboost.engines.engine import Failure, FinishReason, Result
from prefboost.tables import Table

__all__ = [
    "BUDGET_SPENT",
    "GIVEN",
    "NO_COMPLETION",
    "Draft",
    "PromptItem",
    "Proposal",
    "build_draft",
    "list_prompt_items",
]

BUDGET_SPENT = "the budget was spent before the pair was finished"
NO_COMPLETION = "the engine gave no completion"
THOUGHTS_ALONE = "a completion is thoughts alone: no answer stands behind them"
GIVEN = ("completion", "chosen", "rejected")
"""Columns whose completion may stand as the first one."""


@dataclass(frozen=True)
class PromptItem:
    """A prompt.

    Args:
        row: record number in the file it came from.
        prompt_id: unique among the items.
        prompt: messages.
        given: column -> completion that the table already has.
        carried: source and split.
    """

    row: int
    prompt_id: str
    prompt: Sequence[Mapping[str, Any]]
    given: Mapping[str, str] = field(default_factory=dict)
    carried: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """One completion.

    Args:
        text: as it stands in the pair.
        model: who wrote it; ``given`` where the table had it.
        finish_reason: why it ended, where that is known.
        raw: all that the model answered, a plan included.
        plan: what stood in front of the completion.
        fault: why it cannot be used: reason and what was found.
        reasoning: what the model thought before it answered; stands in the lineage alone.
    """

    text: str = ""
    model: str = ""
    finish_reason: FinishReason | None = None
    raw: str = ""
    plan: str | None = None
    fault: tuple[str, str] | None = None
    reasoning: str | None = None


@dataclass(frozen=True)
class Proposal:
    """Two completions of a prompt.

    Args:
        item: the prompt.
        first: the completion that was there first.
        second: the other one.
        first_wins: probability that the first is the better; 0 or 1 where the method knows it by construction.
        name: unique among the proposals of a prompt.
        lineage: how it came about, beyond what stands in the drafts.
        scores: of first and second, by head; "" is the overall score.
        fault: why no pair comes of it: reason and what was found.
    """

    item: PromptItem
    first: Draft
    second: Draft
    first_wins: float | None = None
    name: str = "0"
    lineage: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[Mapping[str, float | None], Mapping[str, float | None]] = ({}, {})
    fault: tuple[str, str] | None = None

    def reject(self, reason: str, detail: str) -> Proposal:
        """Set the fault, unless there is one: the first reason stays."""
        return self if self.fault else replace(self, fault=(reason, detail))

    @property
    def why_not(self) -> tuple[str, str] | None:
        """Its own fault, or that of a draft."""
        return self.fault or self.first.fault or self.second.fault


def build_draft(outcome: Result | Failure | None, model: str) -> Draft:
    """Build a draft from what an engine returned."""
    if isinstance(outcome, Result):
        fault = (THOUGHTS_ALONE, str(outcome.reasoning)[-200:]) if outcome.only_thinks else None
        text = outcome.text
        return Draft(text.strip(), model, outcome.finish_reason, text, fault=fault, reasoning=outcome.reasoning)
    if outcome is None:
        return Draft(model=model, fault=(BUDGET_SPENT, ""))
    return Draft(model=model, fault=(NO_COMPLETION, outcome.reason))


def list_prompt_items(table: Table) -> list[PromptItem]:
    """List the prompts of a table, each once, in their order."""
    frame = table.frame.unique("prompt_id", keep="first", maintain_order=True)
    completion_columns = [name for name in GIVEN if name in frame.columns]
    carried = [name for name in ("source", "split") if name in frame.columns]
    return [
        PromptItem(
            row["row"],
            row["prompt_id"],
            row["prompt"],
            {name: join_text(row[name]) for name in completion_columns},
            {name: row[name] for name in carried},
        )
        for row in frame.select("row", "prompt_id", "prompt", *completion_columns, *carried).iter_rows(named=True)
    ]
