"""A canary: 50 fixed questions that show whether the model behind a judge's name still judges as it did.

25 pairs of completions (right and wrong ones, short and long ones, two styles, nearly equal ones) in both orders, asked
as AlpacaEval asks. The set is our own and never changes: `CANARY_SHA256` is that of its file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefboost.errors import DataError
from prefboost.evaluation.alpaca.judging import AlpacaEval
from prefboost.evaluation.alpaca.scores import AlpacaRules
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeRequest, JudgeVerdict
from prefboost.statistics import Bootstrap, Interval, bootstrap_difference, cohens_kappa, measure_agreement
from prefboost.statistics.bootstrap import USUAL

__all__ = ["CANARY", "CANARY_SHA256", "CanaryDrift", "build_canary_requests", "measure_drift"]

CANARY_SHA256 = "51469df44faf4e439a4ed940b03b71fa766601b214bdccedf569643b70727ebc"
"""sha256 of the file of pairs: verdicts on another set are never compared."""

CANARY = AlpacaEval(baseline="other", rules=AlpacaRules(min_mass=0.0))
"""Benchmark that builds the questions and reads the replies. Labels count however small their probability is, since a
judge is compared with its own earlier verdicts."""

_FILE = Path(__file__).with_name("canary.jsonl")
_RATED = "one"
_TIE = 0.05  # shares of the win this near to one half name no winner


@dataclass(frozen=True)
class CanaryDrift:
    """Changes between two times that a judge was asked the canary. Shares lie in 0..1.

    Args:
        agree: share of questions on which both times name the same winner (or none: within 0.05 of one half).
        kappa: Cohen's kappa of the winners; NaN where all winners are the same.
        difference: mean share of the first-named completion's win, later minus earlier.
        place: mean share of the second-shown completion's win, later minus earlier: drift towards a place.
        apart: mean distance of a question's share from its earlier one.
        asked: number of questions.
        missing: questions without a verdict at either time.
        moved: prompts whose winner changed.
    """

    agree: Interval
    kappa: float
    difference: Interval
    place: Interval
    apart: float
    asked: int
    missing: int
    moved: tuple[str, ...]

    @property
    def is_drift(self) -> bool:
        """True if the interval of a mean difference, of merit or of place, leaves out 0."""
        return self.difference.excludes(0) or self.place.excludes(0)

    def record(self) -> dict[str, Any]:
        """Return the entry of results and pages."""
        return {
            "asked_again": self.asked, "without_a_verdict": self.missing, "agree": self.agree.format(4),
            "kappa": None if np.isnan(self.kappa) else round(self.kappa, 4),
            "mean_difference": self.difference.format(4),
            "towards_the_second_place": self.place.format(4), "mean_distance": round(self.apart, 4),
            "moved": ", ".join(self.moved), "drift": self.is_drift,
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        yield f"asked again            {self.asked} questions, {self.missing} without a verdict at either time"
        yield f"same winner            {self.agree.format(4)}, kappa {self.kappa:.2f}"
        yield f"mean difference        {self.difference.format(4)} (later less earlier)"
        yield f"towards second place   {self.place.format(4)}"
        yield f"mean distance          {self.apart:.4f}"
        yield from (f"changed its winner     {uid}" for uid in self.moved)
        yield "the judge has drifted" if self.is_drift else "no drift is seen"


def build_canary_requests() -> list[JudgeRequest]:
    """Build the 50 requests, both orders of a pair after each other.

    Raises:
        DataError: the file is not the one of this version.
    """
    text = _FILE.read_bytes()
    if hashlib.sha256(text).hexdigest() != CANARY_SHA256:
        raise DataError(f"{_FILE.name} is not the set of this version", remedy="install prefboost again")
    rows = [json.loads(line) for line in text.decode("utf-8").split("\n") if line]
    prompts = [BenchmarkPrompt(row["uid"], (row["prompt"],), row["kind"]) for row in rows]
    completions = {name: {row["uid"]: (row[name],) for row in rows} for name in (_RATED, CANARY.baseline)}
    return CANARY.build(prompts, completions)


def measure_drift(
    earlier: Sequence[JudgeVerdict], later: Sequence[JudgeVerdict], *, how: Bootstrap = USUAL
) -> CanaryDrift:
    """Compare verdicts on the canary with earlier ones. Intervals draw prompts, both orders together.

    Args:
        earlier: verdicts of one time.
        later: verdicts of a later time.
        how: resamples, level, seed.

    Raises:
        DataError: they are on different questions, or no question has a verdict at both times.
    """
    before, after = ({(row.uid, row.part): row for row in verdicts} for verdicts in (earlier, later))
    # Part of a changed set would compare other questions under the same names.
    if before.keys() != after.keys():
        unmatched = before.keys() ^ after.keys()
        raise DataError(
            f"{len(unmatched)} questions were asked at one time only, such as {min(unmatched)}",
            remedy="the set has changed: run the canary again into another folder",
        )
    keys = [key for key in before if before[key].value is not None and after[key].value is not None]
    if not keys:
        raise DataError("no question has a verdict at both times", remedy="see the faults in its verdicts")
    shares = np.array([(before[key].value, after[key].value) for key in keys], dtype=np.float64)
    # From the rated completion's share to that of the second-shown one.
    model_first = np.array([bool(after[key].facts.get("model_first")) for key in keys])[:, None]
    places = np.where(model_first, 1 - shares, shares)
    # Both orders of a prompt are one cluster: they share what is hard about it.
    prompts = [uid for uid, _ in keys]
    # 1: the rated completion, -1: the other, 0: neither.
    old_winners, new_winners = np.where(abs(shares.T - 0.5) <= _TIE, 0, np.sign(shares.T - 0.5)).tolist()
    moved = [uid for uid, old, new in zip(prompts, old_winners, new_winners, strict=True) if old != new]
    return CanaryDrift(
        agree=measure_agreement(old_winners, new_winners, clusters=prompts, how=how),
        kappa=cohens_kappa(old_winners, new_winners),
        difference=bootstrap_difference(shares[:, 1], shares[:, 0], clusters=prompts, how=how),
        place=bootstrap_difference(places[:, 1], places[:, 0], clusters=prompts, how=how),
        apart=float(np.abs(shares[:, 1] - shares[:, 0]).mean()),
        asked=len(before),
        missing=len(before) - len(keys),
        moved=tuple(dict.fromkeys(moved)),
    )
