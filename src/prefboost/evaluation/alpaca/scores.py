"""Figures of AlpacaEval 2 from verdicts: raw, discrete and length-controlled win rate, length, and effect of order.

official: rows as they come, difficulty by position in the file, standard errors as published. robust: prompts that are
judged in every order asked for, aligned by uid, clustered by prompt, the whole length-controlled procedure resampled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, cast

import numpy as np
from pydantic import Field

from prefboost.errors import DataError
from prefboost.evaluation.alarms import find_constant_completion
from prefboost.evaluation.alpaca.liblinear import length_control_liblinear
from prefboost.evaluation.benchmark import JudgeVerdict, check_judged_once, is_withheld
from prefboost.evaluation.results import Figure, Mode, Results
from prefboost.scoring.answers import MIN_MASS
from prefboost.settings import Settings
from prefboost.statistics import (
    Bootstrap,
    GamedRows,
    Interval,
    LengthRows,
    bootstrap_mean,
    compute_share_bounds,
    estimate_length_control,
    fit_length_control,
    measure_win_rate,
    report_positions,
)
from prefboost.statistics.columns import FloatColumn

__all__ = ["AlpacaFacts", "AlpacaRules", "GamedRows", "score_preferences"]

MINIMAL = "minimal form on own prompts: length and model, without difficulty and gamed rows; no published figure"
NO_LC = "no length control: lengths are missing"
_UNRELIABLE = 0.7
"""Consistency of both orders below which the judge is called unreliable."""


class AlpacaRules(Settings):
    """Rules of judging and scoring AlpacaEval 2 (arXiv 2404.04475)."""

    mode: Mode = Field(
        "robust", description="official: one order, errors and alignment as upstream; robust: both orders, clustered."
    )
    interval: Bootstrap = Field(Bootstrap(resamples=1000), description="Resamples, level and seed of intervals.")
    solver: Literal["exact", "liblinear"] = Field(
        "exact", description="liblinear is upstream's (extra eval) and stops at its tolerance; exact goes on."
    )
    threads: int = Field(2, ge=1, description="Threads that fit resamples; the draws do not depend on it.")
    min_mass: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Least probability of both answers together with which a verdict is read from log-probs; none: "
        f"{MIN_MASS:g} in robust mode, our own choice, and 0 in official mode: upstream divides whatever remainders "
        "there are.",
    )

    @property
    def least_mass(self) -> float:
        """``min_mass``, or the default of the mode."""
        if self.min_mass is not None:
            return self.min_mass
        return 0.0 if self.mode == "official" else MIN_MASS


class AlpacaFacts(TypedDict, total=False):
    """Facts of a verdict; stored preferences of the leaderboard have the lengths alone.

    Args:
        model_first: the model's completion is shown before the baseline's.
        category: category of the prompt.
        len_1: characters of the baseline's completion.
        len_2: characters of the model's completion.
        completion: hash of the model's completion.
        label_mass: probability of both labels together, where log-probs were read.
        logprob_m, logprob_M: log-prob of each label, in nats.
    """

    model_first: bool
    category: str
    len_1: int
    len_2: int
    completion: str
    label_mass: float
    logprob_m: float
    logprob_M: float


def _read_facts(verdict: JudgeVerdict) -> AlpacaFacts:
    return cast(AlpacaFacts, verdict.facts)


@dataclass(frozen=True)
class _Rows:
    """Verdicts of one model that are scored.

    Args:
        model: name of the model.
        verdicts: verdicts with a value; robust: of prompts with a value in every order.
        rows: number of all verdicts, with a value or without.
        withheld: see `is_withheld`.
        bounds: mean share of the win if every missing one was 0, and if it was 1.
    """

    model: str
    verdicts: tuple[JudgeVerdict, ...]
    rows: int
    withheld: bool
    bounds: tuple[float, float]

    @property
    def missing(self) -> int:
        return self.rows - len(self.verdicts)

    @property
    def shares(self) -> FloatColumn:
        return np.array([verdict.value for verdict in self.verdicts], dtype=np.float64)

    @property
    def prompts(self) -> list[str]:
        return [verdict.uid for verdict in self.verdicts]

    def collect_lengths(self, name: Literal["len_1", "len_2"]) -> FloatColumn | None:
        lengths = [_read_facts(verdict).get(name) for verdict in self.verdicts]
        return None if None in lengths else np.array(lengths, dtype=np.float64)

    def build_figure(self, name: str, value: Interval | None, **details: Any) -> Figure:
        """Build a figure of the model with the counts of its rows."""
        return Figure(name, self.model, value, self.missing, self.rows, **details)

    def build_interval(self, estimate: float) -> Interval:
        """Build an interval without ends."""
        clusters = len(set(self.prompts))
        return Interval.without_ends(estimate, level=0.95, rows=len(self.verdicts), clusters=clusters)


def score_preferences(
    verdicts: Sequence[JudgeVerdict],
    rules: AlpacaRules,
    *,
    difficulty: Mapping[str, float] | None = None,
    gamed: GamedRows | None = None,
    allow_missing: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Results:
    """Score every model.

    Args:
        verdicts: verdicts on any models, with `AlpacaFacts`.
        rules: mode, interval, solver.
        difficulty: uid -> difficulty; in the official mode its order is the order of upstream's prompts.
        gamed: see `prefboost.statistics.GamedRows`.
        allow_missing: give headline figures however many rows are missing.
        facts: facts of the results.

    Raises:
        DataError: no verdicts, a prompt was judged twice in the same order, a share lies outside of 0..1, or a prompt
            has no difficulty.
        MissingExtra: the solver is liblinear and scikit-learn is not installed.
    """
    if not verdicts:
        raise DataError("there are no verdicts to score", remedy="judge completions first")
    figures: list[Figure] = []
    alarms: list[str] = []
    for model in dict.fromkeys(verdict.model for verdict in verdicts):
        group = [verdict for verdict in verdicts if verdict.model == model]
        rows = _select_rows(model, group, rules, allow_missing)
        scores = list(_compute_figures(rows, rules, difficulty, gamed))
        figures += scores
        digests = {row.uid: _read_facts(row)["completion"] for row in group if "completion" in row.facts}
        alarms += find_constant_completion(model, digests)
        alarms += [
            "the judge names the same winner in both orders in "
            f"{figure.value.estimate:.0f} % of prompts of {figure.model}"
            for figure in scores
            if figure.name == "consistency" and figure.value and figure.value.estimate < 100 * _UNRELIABLE
        ]
    return Results("alpaca_eval", rules.mode, tuple(figures), tuple(alarms), facts or {})


def _select_rows(model: str, group: Sequence[JudgeVerdict], rules: AlpacaRules, allow_missing: bool) -> _Rows:
    # Of two judges' verdicts one would have to be left out, so that those are refused as well.
    check_judged_once([replace(row, judge="") for row in group], "keep one verdict per prompt and order")
    usable = valued = [row for row in group if row.value is not None]
    if rules.mode == "robust":
        # A prompt judged in one order alone would let the judge's preference for a place into the win rate.
        orders, valued_orders = (Counter(row.uid for row in rows) for rows in (group, valued))
        complete = [row for row in valued if valued_orders[row.uid] == orders[row.uid]]
        usable = sorted(complete, key=lambda row: (row.uid, row.part))
    return _Rows(
        model,
        tuple(usable),
        len(group),
        is_withheld(len(group) - len(usable), len(group), allow_missing=allow_missing),
        compute_share_bounds([row.value for row in valued if row.value is not None], len(group) - len(valued)),
    )


def _compute_figures(
    rows: _Rows, rules: AlpacaRules, difficulty: Mapping[str, float] | None, gamed: GamedRows | None
) -> Iterator[Figure]:
    bounds = (100 * rows.bounds[0], 100 * rows.bounds[1])
    if rows.withheld:
        yield rows.build_figure("lc_win_rate", None)
        yield rows.build_figure("win_rate", None, bounds=bounds)
        return
    raw = measure_win_rate(rows.shares, prompts=rows.prompts, how=rules.interval)
    yield _control_length(rows, rules, difficulty, gamed)
    error = raw.upstream_error if rules.mode == "official" else raw.error
    yield rows.build_figure("win_rate", raw.share.scale(100), error=100 * error, bounds=bounds)
    yield rows.build_figure("discrete_win_rate", rows.build_interval(100 * raw.discrete))
    lengths = rows.collect_lengths("len_2")
    if lengths is not None:
        mean = bootstrap_mean(lengths, clusters=rows.prompts, how=rules.interval)
        yield rows.build_figure("avg_length", mean, unit="characters")
    if all("model_first" in verdict.facts for verdict in rows.verdicts):
        first = [bool(_read_facts(verdict)["model_first"]) for verdict in rows.verdicts]
        report = report_positions(rows.shares, first, rows.prompts, how=rules.interval)
        values = {
            "win_rate_shown_first": report.shown_first,
            "win_rate_shown_second": report.shown_second,
            "consistency": report.consistency,
        }
        for name, value in values.items():
            if value is not None:
                yield rows.build_figure(name, value.scale(100))


def _control_length(
    rows: _Rows, rules: AlpacaRules, difficulty: Mapping[str, float] | None, gamed: GamedRows | None
) -> Figure:
    first, second = rows.collect_lengths("len_1"), rows.collect_lengths("len_2")
    if first is None or second is None:
        return rows.build_figure("lc_win_rate", None, note=NO_LC)
    difficulties: FloatColumn | None = None
    if difficulty is not None and rules.mode == "official" and len(rows.verdicts) <= len(difficulty):
        # Upstream aligns rows by their position in the file.
        difficulties = np.array(list(difficulty.values())[: len(rows.verdicts)], dtype=np.float64)
    elif difficulty is not None:
        if missing := [uid for uid in rows.prompts if uid not in difficulty]:
            raise DataError(
                f"{len(missing)} prompts have no difficulty, such as {missing[0]}",
                remedy="leave difficulty out for your own prompts: the minimal form is fitted",
            )
        difficulties = np.array([difficulty[uid] for uid in rows.prompts], dtype=np.float64)
    # Without prompts each row is a cluster of its own, as upstream has it.
    prompts = None if rules.mode == "official" else rows.prompts
    # Gamed rows were fitted with difficulties, so they are of no use without.
    is_minimal = difficulties is None
    length_rows = LengthRows(rows.shares, first - second, difficulties, None if is_minimal else gamed, prompts)
    note = MINIMAL if is_minimal else ""
    if rules.mode == "official":
        # As published: the standard error of single rows, and no interval.
        fit = (length_control_liblinear if rules.solver == "liblinear" else fit_length_control)(length_rows)
        value = rows.build_interval(100 * fit.share)
        return rows.build_figure("lc_win_rate", value, error=100 * fit.upstream_error, note=note)
    interval, error = estimate_length_control(length_rows, rules.interval, rules.threads)
    return rows.build_figure("lc_win_rate", interval.scale(100), error=100 * error, note=note)
