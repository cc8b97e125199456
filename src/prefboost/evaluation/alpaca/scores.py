"""Figures of AlpacaEval 2 from verdicts: raw, discrete and length-controlled win rate, length, and what order does.

official: rows as they come, difficulty by position in the file, standard errors as published. robust: prompts that are
judged in every order asked for, aligned by uid, clustered by prompt, the whole length-controlled procedure resampled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from prefboost.errors import DataError
from prefboost.evaluation.alarms import constant
from prefboost.evaluation.alpaca.liblinear import length_control_liblinear
from prefboost.evaluation.benchmark import JudgeVerdict, Withholding
from prefboost.evaluation.results import Figure, Mode, Results
from prefboost.scoring.answers import MIN_MASS
from prefboost.settings import Settings
from prefboost.statistics import (
    Bootstrap,
    GamedRows,
    Interval,
    LengthRows,
    bootstrap_mean,
    bound_share,
    estimate_length_control,
    fit_length_control,
    measure_win_rate,
    report_positions,
)
from prefboost.statistics.columns import FloatColumn

__all__ = ["AlpacaRules", "GamedRows", "alpaca_results"]

MINIMAL = "minimal form on own prompts: length and model, without difficulty and gamed rows; no published figure"
NO_LC = "no length control: lengths are missing"
_SWAYED = 0.7  # consistency below which the judge is named unreliable


class AlpacaRules(Settings):
    """How AlpacaEval 2 is judged and scored (arXiv 2404.04475)."""

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
        """``min_mass`` as it is set, or the mode's."""
        if self.min_mass is not None:
            return self.min_mass
        return 0.0 if self.mode == "official" else MIN_MASS


@dataclass(frozen=True)
class _Rows:
    """Rows of one model that have a value."""

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
        return np.array([one.value for one in self.verdicts], dtype=np.float64)

    @property
    def prompts(self) -> list[str]:
        return [one.uid for one in self.verdicts]

    def lengths(self, name: str) -> FloatColumn | None:
        found = [one.facts.get(name) for one in self.verdicts]
        return None if None in found else np.array(found, dtype=np.float64)


def alpaca_results(
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
        verdicts: of any models, with facts len_1 and len_2 (characters of baseline and model), model_first, completion.
        rules: mode, interval, solver.
        difficulty: uid -> difficulty; in the official mode its order is the order of upstream's prompts.
        gamed: see `prefboost.statistics.GamedRows`.
        allow_missing: give headline figures however many rows are missing.
        facts: kept in the results.

    Raises:
        DataError: no verdicts, one stands twice, a share lies outside of 0..1, or a prompt has no difficulty.
        MissingExtra: the solver is liblinear and scikit-learn is not installed.
    """
    figures: list[Figure] = []
    alarms: list[str] = []
    if not verdicts:
        raise DataError("there are no verdicts to score", remedy="judge completions first")
    for model in dict.fromkeys(one.model for one in verdicts):
        own = [one for one in verdicts if one.model == model]
        rows = _rows_of(model, own, rules, allow_missing)
        figures += _figures(rows, rules, difficulty, gamed)
        alarms += [*_same_completions(model, own), *_swayed(rows, rules)]
    return Results("alpaca_eval", rules.mode, tuple(figures), tuple(alarms), facts or {})


def _rows_of(model: str, own: Sequence[JudgeVerdict], rules: AlpacaRules, allowed: bool) -> _Rows:
    twice = [key for key, count in Counter((one.uid, one.part) for one in own).items() if count > 1]
    if twice:
        raise DataError(
            f"{model} was judged twice on prompt {twice[0][0]} ({twice[0][1]})",
            remedy="keep one verdict a prompt and order",
        )
    known = [one for one in own if one.value is not None]
    parts = Counter(one.uid for one in own)
    have = Counter(one.uid for one in known)
    usable = known if rules.mode == "official" else [one for one in known if have[one.uid] == parts[one.uid]]
    usable = usable if rules.mode == "official" else sorted(usable, key=lambda one: (one.uid, one.part))
    shares = [one.value for one in known if one.value is not None]
    return _Rows(
        model,
        tuple(usable),
        len(own),
        Withholding(len(own) - len(usable), len(own), allowed).withheld,
        bound_share(shares, len(own) - len(known)),
    )


def _figures(
    rows: _Rows, rules: AlpacaRules, difficulty: Mapping[str, float] | None, gamed: GamedRows | None
) -> Iterator[Figure]:
    bounds = (100 * rows.bounds[0], 100 * rows.bounds[1])
    if rows.withheld:
        yield Figure("lc_win_rate", rows.model, None, rows.missing, rows.rows)
        yield Figure("win_rate", rows.model, None, rows.missing, rows.rows, bounds=bounds)
        return
    raw = measure_win_rate(rows.shares, prompts=rows.prompts, how=rules.interval)
    yield _controlled(rows, rules, difficulty, gamed)
    error = raw.upstream_error if rules.mode == "official" else raw.error
    yield Figure(
        "win_rate", rows.model, raw.share.scale(100), rows.missing, rows.rows, error=100 * error, bounds=bounds
    )
    yield Figure("discrete_win_rate", rows.model, _plain(100 * raw.discrete, rows), rows.missing, rows.rows)
    lengths = rows.lengths("len_2")
    if lengths is not None:
        mean = bootstrap_mean(lengths, clusters=rows.prompts, how=rules.interval)
        yield Figure("avg_length", rows.model, mean, rows.missing, rows.rows, unit="characters")
    yield from _by_order(rows, rules)


def _controlled(
    rows: _Rows, rules: AlpacaRules, difficulty: Mapping[str, float] | None, gamed: GamedRows | None
) -> Figure:
    first, second = rows.lengths("len_1"), rows.lengths("len_2")
    if first is None or second is None:
        return Figure("lc_win_rate", rows.model, None, rows.missing, rows.rows, note=NO_LC)
    harder = None if difficulty is None else _difficulty(rows, difficulty, rules.mode)
    prompts = None if rules.mode == "official" else rows.prompts
    made = LengthRows(rows.shares, first - second, harder, gamed if harder is not None else None, prompts)
    note = MINIMAL if harder is None else ""
    fit = length_control_liblinear if rules.solver == "liblinear" else fit_length_control
    if rules.mode == "official":
        found = fit(made)
        value = _plain(100 * found.share, rows)
        return Figure(
            "lc_win_rate", rows.model, value, rows.missing, rows.rows, "", 100 * found.upstream_error, note=note
        )
    interval, error = estimate_length_control(made, rules.interval, rules.threads)
    return Figure("lc_win_rate", rows.model, interval.scale(100), rows.missing, rows.rows, error=100 * error, note=note)


def _difficulty(rows: _Rows, difficulty: Mapping[str, float], mode: Mode) -> FloatColumn:
    """Difficulty of every row: by uid, or in the official mode by its position among the rows, as upstream has it."""
    if mode == "official" and len(rows.verdicts) <= len(difficulty):
        return np.array(list(difficulty.values())[: len(rows.verdicts)], dtype=np.float64)
    missing = [uid for uid in rows.prompts if uid not in difficulty]
    if missing:
        raise DataError(
            f"{len(missing)} prompts have no difficulty, such as {missing[0]}",
            remedy="leave difficulty out on prompts of your own: the minimal form is fitted",
        )
    return np.array([difficulty[uid] for uid in rows.prompts], dtype=np.float64)


def _by_order(rows: _Rows, rules: AlpacaRules) -> Iterator[Figure]:
    if any("model_first" not in one.facts for one in rows.verdicts):
        return
    first = [bool(one.facts["model_first"]) for one in rows.verdicts]
    found = report_positions(rows.shares, first, rows.prompts, how=rules.interval)
    named = {
        "win_rate_shown_first": found.shown_first,
        "win_rate_shown_second": found.shown_second,
        "consistency": found.consistency,
    }
    for name, value in named.items():
        if value is not None:
            yield Figure(name, rows.model, value.scale(100), rows.missing, rows.rows)


def _same_completions(model: str, own: Sequence[JudgeVerdict]) -> Iterator[str]:
    yield from constant(model, {one.uid: one.facts["completion"] for one in own if "completion" in one.facts})


def _swayed(rows: _Rows, rules: AlpacaRules) -> Iterator[str]:
    for figure in () if rows.withheld else _by_order(rows, rules):
        if figure.name == "consistency" and figure.value is not None and figure.value.estimate < 100 * _SWAYED:
            share = f"{figure.value.estimate:.0f} % of prompts of {rows.model}"
            yield f"the judge names the same winner in both orders in {share}"


def _plain(value: float, rows: _Rows) -> Interval:
    count = len(set(rows.prompts))
    return Interval.without_ends(value, level=0.95, rows=len(rows.verdicts), clusters=count)
