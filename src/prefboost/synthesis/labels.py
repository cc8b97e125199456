"""Ask a judge which of two completions is better, as a probability over both orders (RLAIF, arXiv 2309.00267)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from prefboost.engines.engine import Failure, Outcome
from prefboost.scoring.answers import THINKS, Answer, normalise_shares
from prefboost.scoring.judges.judge import Judge
from prefboost.scoring.judges.llm import CRITERIA, LlmJudge
from prefboost.synthesis.aspects import TASKS, Aspects
from prefboost.synthesis.calls import ModelCalls
from prefboost.synthesis.proposal import BUDGET_SPENT
from prefboost.synthesis.template import load_prompt
from prefboost.tables import MESSAGES, PREFERENCE_PAIRS, Table, conform

__all__ = [
    "Judgement",
    "Share",
    "judge_both_orders",
    "judge_pairs",
    "build_sides_table",
    "add_criteria",
]

Share = float | tuple[str, str]
"""Probability that the first is the better; or why there is none: reason and what was found."""


@dataclass(frozen=True)
class Judgement:
    """The answers of a judge about one pair, in both orders.

    Args:
        orders: the share of the first completion where it is shown first, and where it is shown second.
        label_mass: probability of all verdicts together, before they were made to sum to 1: the lower of both orders;
            None where verdicts were read in words.
    """

    orders: tuple[Share, Share]
    label_mass: float | None = None

    @property
    def share(self) -> Share:
        """The mean of both orders; a fault in either is the pair's."""
        first, second = self.orders
        if isinstance(first, float) and isinstance(second, float):
            return (first + second) / 2
        return first if not isinstance(first, float) else second


NO_ANSWER = "the judge gave no answer"
_VOTES = {"first": 1.0, "tie": 0.5, "second": 0.0}


def add_criteria(judge: Judge, aspects: Aspects, prompt: str) -> Judge:
    """Tell the judge what counts in this task; one with criteria of its own keeps them.

    Args:
        judge: any.
        aspects: those that count.
        prompt: the file with the criteria's words.
    """
    if not isinstance(judge, LlmJudge) or judge.criteria != CRITERIA:
        return judge
    words = load_prompt(prompt).text(task=TASKS[aspects.task], aspects=aspects.chosen)
    return judge.model_copy(update={"criteria": words})


def judge_both_orders(judge: Judge, sides: Table, calls: ModelCalls) -> list[tuple[Share, Share]]:
    """Judge the share of a table's ``chosen`` completions, shown first and shown second.

    Args:
        judge, sides, calls: see `judge_pairs`.
    """
    return [judgement.orders for judgement in judge_pairs(judge, sides, calls)]


def judge_pairs(judge: Judge, sides: Table, calls: ModelCalls) -> list[Judgement]:
    """Judge each pair in both orders.

    Args:
        judge: a language model is asked through ``calls``; any other judge by itself.
        sides: PreferencePairs whose sides are in no order of merit.
        calls: asks.
    """
    if not len(sides):
        return []
    if not isinstance(judge, LlmJudge):
        return [Judgement(orders) for orders in _ask_other_judge(judge, sides)]
    requests = judge.questions(sides)
    # Of every question P(first shown) and, where log-probs are read, the mass of the verdicts.
    ruled: list[tuple[Share, float | None]] = []
    if judge.read == "logprobs":
        for outcome in calls.choices("judge", judge.engine, requests, judge.verdict_names):
            if outcome is None or isinstance(outcome, Failure):
                ruled.append(((BUDGET_SPENT, "") if outcome is None else (NO_ANSWER, outcome.reason), None))
                continue
            shares = normalise_shares(outcome, judge.min_mass)
            ruling = judge.weigh_shares(shares)
            if ruling.first_wins is None:
                ruled.append(((NO_ANSWER, ": ".join(filter(None, ruling.fault or ()))), shares.mass))
            else:
                ruled.append((ruling.first_wins, ruling.label_mass))
    else:
        answers = [_read_answer(each) for each in calls.completions("judge", judge.engine, requests, judge.sampling)]
        for at in range(0, len(answers), judge.samples):
            ruling = judge.count_votes(answers[at : at + judge.samples])
            reason, text = ruling.fault or (NO_ANSWER, "")
            # Faults of `_read_answer` are whole sentences; what could not be read in an answer needs its subject.
            fault = (reason if answers[at].fault else f"the judge: {reason}", text)
            ruled.append((fault if ruling.first_wins is None else ruling.first_wins, None))
    judgements = []
    for (first, mass), (second, other_mass) in zip(ruled[::2], ruled[1::2], strict=True):
        masses = [each for each in (mass, other_mass) if each is not None]
        # Shown second, the first completion wins where the verdict is against the one shown first.
        orders = (first, 1.0 - second if isinstance(second, float) else second)
        judgements.append(Judgement(orders, min(masses, default=None)))
    return judgements


def build_sides_table(rows: Sequence[tuple[Any, str, str]]) -> Table:
    """Build a table that judges take from two texts per row.

    Args:
        rows: prompt (messages), first, second; the first stands as chosen.
    """

    def wrap_text(text: str) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": text, "extra": None}]

    numbers = [str(at) for at in range(len(rows))]
    frame = pl.DataFrame(
        {
            "row": pl.Series(range(len(rows)), dtype=pl.Int64),
            "pair_id": pl.Series(numbers, dtype=pl.String),
            "prompt_id": pl.Series(numbers, dtype=pl.String),
            "prompt": pl.Series([prompt for prompt, _, _ in rows], dtype=MESSAGES),
            "chosen": pl.Series([wrap_text(first) for _, first, _ in rows], dtype=MESSAGES),
            "rejected": pl.Series([wrap_text(second) for _, _, second in rows], dtype=MESSAGES),
            "score_chosen": pl.Series([None] * len(rows), dtype=pl.Float64),
            "score_rejected": pl.Series([None] * len(rows), dtype=pl.Float64),
        }
    )
    return Table(PREFERENCE_PAIRS, conform(frame, PREFERENCE_PAIRS))


def _read_answer(outcome: Outcome | None) -> Answer:
    if outcome is None:
        return Answer("", BUDGET_SPENT)
    if isinstance(outcome, Failure):
        return Answer(outcome.reason, NO_ANSWER)
    if outcome.finish_reason == "length":
        return Answer(outcome.text, "the judge's answer was cut at max_tokens")
    if outcome.only_thinks:
        return Answer(str(outcome.reasoning)[-200:], f"the judge: {THINKS}")
    return Answer(outcome.text)


def _ask_other_judge(judge: Judge, sides: Table) -> list[tuple[Share, Share]]:
    verdicts = judge.judge(sides).frame
    won = pl.col("first_wins").fill_null(pl.col("verdict").replace_strict(_VOTES, return_dtype=pl.Float64))
    share = pl.when(pl.col("shown_first") == "chosen").then(won).otherwise(1.0 - won)
    rows = verdicts.select("pair_id", "shown_first", share=share).iter_rows()
    share_by_order = {(pair_id, first): value for pair_id, first, value in rows}
    none: Share = (NO_ANSWER, "")
    return [
        (share_by_order.get((name, "chosen"), none), share_by_order.get((name, "rejected"), none))
        for name in sides.frame["pair_id"]
    ]
