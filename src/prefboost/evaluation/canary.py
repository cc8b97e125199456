"""A canary: 50 fixed questions that tell whether the model behind a judge's name still judges as it did.

25 pairs of completions (right and wrong ones, short and long ones, two styles, nearly equal ones) in both orders, asked
as AlpacaEval asks. The set is our own and never changes: `CANARY_SHA256` is that of its file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
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

__all__ = ["CANARY", "CANARY_SHA256", "Drift", "canary_requests", "drift_of"]

CANARY_SHA256 = "51469df44faf4e439a4ed940b03b71fa766601b214bdccedf569643b70727ebc"
"""Of the file of pairs: verdicts on another set are never compared."""

CANARY = AlpacaEval(baseline="other", rules=AlpacaRules(min_mass=0.0))
"""How the questions are asked and replies are read. Any probability of the labels counts, however little: a judge is
held against its own earlier verdicts."""

_FILE = Path(__file__).with_name("canary.jsonl")
_RATED = "one"
_TIE = 0.05  # shares of the win this near to one half name no winner


@dataclass(frozen=True)
class Drift:
    """What changed between two times that the canary was asked. Shares lie in 0..1.

    Args:
        agree: share of questions on which both times name the same winner (or none: within 0.05 of one half).
        kappa: Cohen's, of the same; NaN where all are one and the same.
        difference: mean share of the first-named completion's win, later less earlier.
        place: mean share of the second-shown completion's win, later less earlier: drift towards a place.
        apart: mean distance of a question's share from its earlier one.
        asked: questions.
        missing: of them without a verdict at either time.
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
        """Whether an interval of a mean difference, of merit or of place, leaves out 0."""
        return self.difference.excludes(0) or self.place.excludes(0)

    def record(self) -> dict[str, Any]:
        """As results and pages show it."""
        return {
            "asked_again": self.asked, "without_a_verdict": self.missing, "agree": self.agree.format(4),
            "kappa": None if np.isnan(self.kappa) else round(self.kappa, 4),
            "mean_difference": self.difference.format(4),
            "towards_the_second_place": self.place.format(4), "mean_distance": round(self.apart, 4),
            "moved": ", ".join(self.moved), "drift": self.is_drift,
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """As it is printed."""
        yield f"asked again            {self.asked} questions, {self.missing} without a verdict at either time"
        yield f"same winner            {self.agree.format(4)}, kappa {self.kappa:.2f}"
        yield f"mean difference        {self.difference.format(4)} (later less earlier)"
        yield f"towards second place   {self.place.format(4)}"
        yield f"mean distance          {self.apart:.4f}"
        yield from (f"changed its winner     {uid}" for uid in self.moved)
        yield "the judge has drifted" if self.is_drift else "no drift is seen"


def canary_requests() -> list[JudgeRequest]:
    """The 50 questions, both orders of a pair after each other.

    Raises:
        DataError: the file is not the one that this version was made with.
    """
    text = _FILE.read_bytes()
    if hashlib.sha256(text).hexdigest() != CANARY_SHA256:
        raise DataError(f"{_FILE.name} is not the set of this version", remedy="install prefboost again")
    rows = [json.loads(line) for line in text.decode("utf-8").split("\n") if line]
    prompts = [BenchmarkPrompt(row["uid"], (row["prompt"],), row["kind"]) for row in rows]
    said = {name: {row["uid"]: (row[name],) for row in rows} for name in (_RATED, CANARY.baseline)}
    return CANARY.build(prompts, said)


def drift_of(earlier: Sequence[JudgeVerdict], later: Sequence[JudgeVerdict], *, how: Bootstrap = USUAL) -> Drift:
    """Hold verdicts on the canary against earlier ones. Intervals draw prompts, both orders together.

    Args:
        earlier: of one time.
        later: of another.
        how: resamples, level, seed.

    Raises:
        DataError: they are on different questions, or share none with a verdict.
    """
    before, after = _by_question(earlier), _by_question(later)
    if before.keys() != after.keys():
        alone = before.keys() ^ after.keys()
        raise DataError(
            f"{len(alone)} questions were asked at one time only, such as {min(alone)}",
            remedy="the set has changed: ask the canary anew into another folder",
        )
    known = [key for key in before if before[key].value is not None and after[key].value is not None]
    if not known:
        raise DataError("no question has a verdict at both times", remedy="see the faults in its verdicts")
    shares = np.array([(before[key].value, after[key].value) for key in known], dtype=np.float64)
    # From the rated completion's share to that of the second-shown one.
    turned = np.array([bool(after[key].facts.get("model_first")) for key in known])[:, None]
    places = np.where(turned, 1 - shares, shares)
    prompts = [uid for uid, _ in known]
    winners = [[_winner(share) for share in column] for column in shares.T]
    moved = [uid for uid, one, other in zip(prompts, *winners, strict=True) if one != other]
    return Drift(
        agree=measure_agreement(*winners, clusters=prompts, how=how),
        kappa=cohens_kappa(*winners),
        difference=bootstrap_difference(shares[:, 1], shares[:, 0], clusters=prompts, how=how),
        place=bootstrap_difference(places[:, 1], places[:, 0], clusters=prompts, how=how),
        apart=float(np.abs(shares[:, 1] - shares[:, 0]).mean()),
        asked=len(before),
        missing=len(before) - len(known),
        moved=tuple(dict.fromkeys(moved)),
    )


def _by_question(verdicts: Sequence[JudgeVerdict]) -> Mapping[tuple[str, str], JudgeVerdict]:
    return {(one.uid, one.part): one for one in verdicts}


def _winner(share: float) -> str:
    return "none" if abs(share - 0.5) <= _TIE else _RATED if share > 0.5 else CANARY.baseline
