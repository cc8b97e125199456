"""The verifiable scorer: the share of a prompt's rules that a completion keeps, on a scale of 1 to 10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import polars as pl
from pydantic import Field

from prefboost.errors import DataError, Place
from prefboost.preferences.scales.kinds import FittedScale
from prefboost.scoring.rules.kinds import rules_from
from prefboost.scoring.rules.rule import Rule
from prefboost.settings import Settings
from prefboost.tables import COMPLETIONS, SCORED_COMPLETIONS, Table, aspects_of, reject_where

__all__ = ["RulesScorer", "join_turns"]

LOW, HIGH = 1.0, 10.0
"""Scale of the score: 1 where no rule holds, 10 where all do."""

_NO_RULES = "the prompt has no rules to check"
_BAD_RULES = "the rules of the prompt cannot be read"


def join_turns(completion: Sequence[Mapping[str, Any]]) -> str:
    """Join the assistant's turns, the text that rules look at."""
    return "\n".join(str(message["content"]) for message in completion if message["role"] == "assistant")


class RulesScorer(Settings):
    """Scores completions by the rules in their column ``rules`` (JSON lists, see `prefboost.scoring.rules`)."""

    kind: Literal["rules"] = Field("rules", description="The share of checkable rules that hold (as IFEval does).")
    aspects: bool = Field(False, description="Give each kind of rule a score of its own too, as an aspect.")

    def score(self, table: Table) -> Table:
        """Score every completion.

        Args:
            table: Completions or ScoredCompletions with a column ``rules``.

        Returns:
            ScoredCompletions, score 1 to 10, and with ``aspects`` a column ``score.KIND`` for each kind of rule that
            occurs (null where a prompt has no such rule). Prompts without rules, or with unreadable ones, are rejects.
            Empty completions score 1; the step notes how many there were.

        Raises:
            DataError: there is no column ``rules``.
        """
        _check(table)
        texts = sorted(set(table.frame["rules"].drop_nulls().to_list()))
        rules_by_text: dict[str, Sequence[Rule]] = {}
        for text in texts:
            with suppress(DataError):
                rules_by_text[text] = rules_from(text)
        frame, rejects = table.frame, []
        for reason, bad in (
            (_NO_RULES, [text for text, rules in rules_by_text.items() if not rules]),
            (_BAD_RULES, [text for text in texts if text not in rules_by_text]),
        ):
            absent = pl.col("rules").is_null() if reason is _NO_RULES else pl.lit(False)
            frame, rejected_rows = reject_where(
                frame, absent | pl.col("rules").is_in(bad), stage="score", reason=reason, path=table.path,
                value=pl.col("rules"),
            )  # fmt: skip
            rejects.append(rejected_rows)
        aside = pl.concat(rejects)
        scored, empty = self._score_rules(frame, rules_by_text)
        step = table.build_step("score", self.model_dump(), scored, aside, {"empty completions, scored 1": empty})
        names = ["", *aspects_of(scored.schema, "score")]
        scale = FittedScale(kind="declared", knots=(LOW, HIGH), values=(LOW, HIGH))
        return table.derive(SCORED_COMPLETIONS, scored, step, rejects=aside, scales=dict.fromkeys(names, scale))

    def _score_rules(
        self, frame: pl.DataFrame, rules_by_text: Mapping[str, Sequence[Rule]]
    ) -> tuple[pl.DataFrame, int]:
        kinds = sorted({rule.kind for rules in rules_by_text.values() for rule in rules}) if self.aspects else []
        columns: dict[str, list[float | None]] = {name: [] for name in ("score", *(f"score.{k}" for k in kinds))}
        empty = 0
        for completion, text in frame.select("completion", "rules").iter_rows():
            reply, rules = join_turns(completion), rules_by_text[text]
            # An empty completion keeps no rule, whatever a rule says of the empty text ("no commas").
            verdicts = [bool(reply.strip()) and rule.holds(reply) for rule in rules]
            empty += not reply.strip()
            columns["score"].append(LOW + (HIGH - LOW) * sum(verdicts) / len(rules))
            for kind in kinds:
                of_kind = [holds for rule, holds in zip(rules, verdicts, strict=True) if rule.kind == kind]
                share = sum(of_kind) / len(of_kind) if of_kind else None
                columns[f"score.{kind}"].append(None if share is None else LOW + (HIGH - LOW) * share)
        bare = frame.drop(name for name in frame.columns if name == "score" or name.startswith("score."))
        return bare.with_columns(pl.Series(name, values, pl.Float64) for name, values in columns.items()), empty


def _check(table: Table) -> None:
    if table.spec not in (COMPLETIONS, SCORED_COMPLETIONS):
        raise DataError(
            f"rules score Completions, found {table.spec.name}",
            remedy="generate completions of the prompts first",
            place=Place(path=table.path),
        )
    if "rules" not in table.frame.columns:
        raise DataError(
            f"there is no column 'rules'; found {', '.join(table.frame.columns)}",
            remedy='give each prompt its rules as JSON, e.g. [{"kind": "at_most_words", "count": 20}]',
            place=Place(path=table.path, column="rules"),
        )
