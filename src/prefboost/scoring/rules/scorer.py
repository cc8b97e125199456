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
from prefboost.scoring.sides import ItemNumbers
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
        texts = sorted(
            {text for frame in table.read_frames(["rules"]) for text in frame["rules"].unique().drop_nulls()}
        )
        rules_by_text: dict[str, Sequence[Rule]] = {}
        for text in texts:
            with suppress(DataError):
                rules_by_text[text] = rules_from(text)
        bad = {
            _NO_RULES: [text for text, rules in rules_by_text.items() if not rules],
            _BAD_RULES: [text for text in texts if text not in rules_by_text],
        }
        columns, empty = self._score_rules(table, rules_by_text)

        def add_scores(frame: pl.DataFrame, start: int) -> tuple[pl.DataFrame, pl.DataFrame]:
            bare = frame.drop(name for name in frame.columns if name == "score" or name.startswith("score."))
            scored = bare.with_columns(column.slice(start, frame.height) for column in columns)
            rejects = []
            for reason, unusable in bad.items():
                absent = pl.col("rules").is_null() if reason is _NO_RULES else pl.lit(False)
                scored, rejected_rows = reject_where(
                    scored, absent | pl.col("rules").is_in(unusable), stage="score", reason=reason, path=table.path,
                    value=pl.col("rules"),
                )  # fmt: skip
                rejects.append(rejected_rows)
            return scored, pl.concat(rejects)

        scored, aside = table.split(add_scores, list(bad))
        step = table.build_step("score", self.model_dump(), scored, aside, {"empty completions, scored 1": empty})
        names = ["", *aspects_of(scored.schema, "score")]
        scale = FittedScale(kind="declared", knots=(LOW, HIGH), values=(LOW, HIGH))
        return table.derive(SCORED_COMPLETIONS, scored, step, rejects=aside, scales=dict.fromkeys(names, scale))

    def _score_rules(self, table: Table, rules_by_text: Mapping[str, Sequence[Rule]]) -> tuple[list[pl.Series], int]:
        """Compute the columns of scores, null where a prompt has no rules, and count empty completions."""
        kinds = sorted({rule.kind for rules in rules_by_text.values() for rule in rules}) if self.aspects else []
        numbers, empty = ItemNumbers(), 0
        rows = (row for frame in table.read_frames(["completion", "rules"]) for row in frame.iter_rows())
        for at, (completion, text) in enumerate(rows):
            if not (rules := rules_by_text.get(text, ())):
                continue
            reply = join_turns(completion)
            # An empty completion keeps no rule, whatever a rule says of the empty text ("no commas").
            verdicts = [bool(reply.strip()) and rule.holds(reply) for rule in rules]
            empty += not reply.strip()
            shares: list[float | None] = [sum(verdicts) / len(rules)]
            for kind in kinds:
                of_kind = [holds for rule, holds in zip(rules, verdicts, strict=True) if rule.kind == kind]
                shares.append(sum(of_kind) / len(of_kind) if of_kind else None)
            numbers[at, "completion"] = [None if share is None else LOW + (HIGH - LOW) * share for share in shares]
        names = ["score", *(f"score.{kind}" for kind in kinds)]
        return [numbers.build_column("completion", at, len(table)).alias(name) for at, name in enumerate(names)], empty


def _check(table: Table) -> None:
    if table.spec not in (COMPLETIONS, SCORED_COMPLETIONS):
        raise DataError(
            f"rules score Completions, found {table.spec.name}",
            remedy="generate completions of the prompts first",
            place=Place(path=table.path),
        )
    if "rules" not in table.schema:
        raise DataError(
            f"there is no column 'rules'; found {', '.join(table.schema)}",
            remedy='give each prompt its rules as JSON, e.g. [{"kind": "at_most_words", "count": 20}]',
            place=Place(path=table.path, column="rules"),
        )
