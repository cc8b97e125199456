"""Sections of an evaluation's report that single verdicts tell: differences, length, order, categories, judges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from prefboost.evaluation.alpaca.scores import AlpacaFacts
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.prompt_means import average_by_prompt
from prefboost.evaluation.results import Results
from prefboost.reporting.evaluation.results import NONE, run_of, said
from prefboost.reporting.figures import Curve
from prefboost.reporting.sections import Column, Lines, Mark, Section, Strip, Table
from prefboost.statistics import (
    PairedTest,
    bootstrap_mean,
    cohens_kappa,
    holm,
    krippendorff_alpha,
    measure_length_bias,
    report_positions,
    run_paired_test,
)

__all__ = [
    "baseline_of",
    "category_section",
    "differences_section",
    "faults_of",
    "judge_section",
    "length_section",
    "order_section",
]

_MATRIX = 5
"""Models up to which every one is compared with every other; beyond it each with the next in rank."""

_FEW = 5
"""Verdicts below which a share is not shown."""

_RATIOS = (0.5, 0.8, 1.25, 2.0)
_RANGES = ("under ½×", "½× to 0.8×", "0.8× to 1¼×", "1¼× to 2×", "over 2×")
"""Length of a model's completion as a multiple of the baseline's: even steps of its logarithm around 1."""

_LENGTHS = (("len_2", "len_1"), ("length", "baseline_length"))
_MODEL_FIRST = {"arena_hard": 2, "mt_bench": 1}
"""Which of two games shows the model first."""


def differences_section(results: Results, verdicts: Sequence[JudgeVerdict], order: Sequence[str]) -> Section | None:
    """Paired differences, prompt by prompt, with Holm's correction over the whole table; None without two to compare.

    Shares of the win are compared with one half, which is the baseline against itself, and with each other; grades with
    each other alone. Models whose figure is withheld are not in the order.
    """
    means, shares = average_by_prompt(verdicts), _are_shares(results)
    order = [model for model in order if len(means.get(model, {})) > 1]
    baseline = baseline_of(results)
    tests: dict[tuple[str, str], tuple[PairedTest, int]] = {}
    for model in order if shares else ():
        own = list(means[model].values())
        tests[model, baseline] = (run_paired_test(own, [0.5] * len(own)), 0)
    for at, one in enumerate(order):
        for other in order[at + 1 :] if len(order) <= _MATRIX else order[at + 1 : at + 2]:
            both = [uid for uid in means[one] if uid in means[other]]
            if len(both) > 1:
                test = run_paired_test([means[one][uid] for uid in both], [means[other][uid] for uid in both])
                tests[one, other] = (test, len(means[one].keys() ^ means[other].keys()))
    if not tests:
        return None
    scale = 100 if shares else 1
    chances = holm({pair: test.chance for pair, (test, _) in tests.items()})
    rows, marks = [], []
    for (one, other), (test, alone) in tests.items():
        found = test.difference.scale(scale)
        detectable = f"{scale * test.detectable:.2f}"
        chance = chances[one, other]
        apart = found.format(end_decimals=1, signed=True)
        rows.append((one, other, apart, _chance(chance), detectable, f"{found.clusters:,}", str(alone)))
        marks.append((Mark(found.low, found.high, found.estimate),))
    columns = (
        Column("first"), Column("second"), Column("first less second", True), Column("p (Holm)", True),
        Column("detectable", True), Column("prompts", True), Column("on one side only", True),
    )  # fmt: skip
    unit = "points of the win rate" if shares else "points"
    strip = Strip(f"difference, {unit}", tuple(marks), ("difference",), 0.0)
    return Section("Differences", _told_of_differences(shares, unit), tables=(Table(columns, tuple(rows), strip),))


def length_section(verdicts: Sequence[JudgeVerdict], order: Sequence[str]) -> Section | None:
    """Win rate where a model's completion is shorter or longer than the baseline's; None where lengths are unknown."""
    curves, rows = [], []
    for model in order:
        told = [(one, ratio) for one in _valued(verdicts, model) if (ratio := _ratio(one)) is not None]
        if not told:
            continue
        shares = np.array([one.value for one, _ in told], dtype=np.float64)
        ratios = np.array([ratio for _, ratio in told])
        prompts = np.array([one.uid for one, _ in told])
        place = np.searchsorted(_RATIOS, ratios, side="right")
        parts = {at: np.flatnonzero(place == at) for at in range(len(_RANGES))}
        inside = {
            at: bootstrap_mean(shares[here], clusters=prompts[here]).scale(100)
            for at, here in parts.items()
            if len(here) >= _FEW
        }
        curves.append(Curve(model, {float(at): one for at, one in inside.items()}))
        bias = measure_length_bias(2 * shares - 1, np.log(ratios), clusters=prompts)
        cells = (f"{said(inside[at], 1)}\nn={len(here):,}" if at in inside else NONE for at, here in parts.items())
        longer = NONE if bias.longer_wins is None else said(bias.longer_wins.scale(100), 1)
        rows.append((model, *cells, longer))
    if not rows:
        return None
    columns = (Column("model"), *(Column(name, True) for name in _RANGES), Column("the longer one wins", True))
    lines = Lines(
        "length of the model's completion against the baseline's", "raw win rate, %", tuple(curves),
        tuple((float(at), name) for at, name in enumerate(_RANGES)), 50.0,
    )  # fmt: skip
    note = (
        "A line that rises says that longer completions win: they are better, or the judge likes length. "
        f"The length-controlled win rate takes that away. Fewer than {_FEW} verdicts are not shown."
    )
    return Section("By length", (note,), (lines,), (Table(columns, tuple(rows), caption="raw win rate, %"),))


def order_section(results: Results, verdicts: Sequence[JudgeVerdict], order: Sequence[str]) -> Section | None:
    """What the order of showing does; None where it is unknown."""
    rows, marks = [], []
    for model in order:
        own = _valued(verdicts, model)
        first = [_model_first(results.benchmark, one) for one in own]
        if not own or None in first:
            continue
        prompts = ["\0".join((one.uid, str(one.facts.get("turn", "")), one.judge)) for one in own]
        found = report_positions([one.value or 0.0 for one in own], [bool(one) for one in first], prompts)
        both = tuple(None if one is None else one.scale(100) for one in (found.shown_first, found.shown_second))
        swing = NONE if found.swing is None else found.swing.scale(100).format(1, signed=True)
        agree = NONE if found.consistency is None else said(found.consistency.scale(100), 1)
        rows.append((model, *(said(one, 1) for one in both), swing, agree, f"{100 * found.ties:.1f}"))
        marks.append(tuple(Mark(at.low, at.high, at.estimate, kind) for kind, at in enumerate(both) if at))
    if not rows:
        return None
    columns = (
        Column("model"), Column("shown first, %", True), Column("shown second, %", True),
        Column("second less first", True), Column("both orders agree, %", True), Column("ties, %", True),
    )  # fmt: skip
    strip = Strip("raw win rate, %", tuple(marks), ("the model is shown first", "the model is shown second"), 50.0)
    note = (
        "A judge whom the order does not sway gives one win rate either way. Both orders together take its leaning "
        "out of the win rate, but not out of single verdicts: below 70 % agreement it is unreliable on these prompts."
    )
    return Section("By order", (note,), tables=(Table(columns, tuple(rows), strip),))


def category_section(verdicts: Sequence[JudgeVerdict], order: Sequence[str]) -> Section | None:
    """Raw win rate in every category; None where there are not two of them."""
    groups = list(dict.fromkeys(str(one.facts.get("category") or "") for one in verdicts))
    if len(groups) < 2:
        return None
    rows = []
    for model in order:
        own = _valued(verdicts, model)
        by_group = [[one for one in own if str(one.facts.get("category") or "") == group] for group in groups]
        found = [
            bootstrap_mean([one.value or 0.0 for one in part], clusters=[one.uid for one in part]).scale(100)
            if part
            else None
            for part in by_group
        ]
        rows.append((model, *(said(one, 1) for one in found)))
    columns = (Column("model"), *(Column(group or "no category", True) for group in groups))
    return Section("By category", tables=(Table(columns, tuple(rows), caption="raw win rate, %"),))


def _label_mass(verdict: JudgeVerdict) -> float | None:
    """Return the probability of both labels together; None where no log-probs were read."""
    facts = cast(AlpacaFacts, verdict.facts)
    # Files of earlier versions hold the log-probs alone.
    if "label_mass" not in facts and "logprob_m" in facts and "logprob_M" in facts:
        return math.exp(facts["logprob_m"]) + math.exp(facts["logprob_M"])
    return facts.get("label_mass")


def judge_section(results: Results, verdicts: Sequence[JudgeVerdict]) -> Section | None:
    """Who judged, how often in vain, and how far judges agree; None where no verdict names its judge."""
    judges = [judge for judge in dict.fromkeys(one.judge for one in verdicts) if judge]
    if not judges:
        return None
    rows = []
    for judge in judges:
        own = [one for one in verdicts if one.judge == judge]
        asked = [one for one in own if "missing" not in one.fault and "no completion" not in one.fault]
        silent = sum(one.value is None for one in asked)
        mass = [known for one in own if (known := _label_mass(one)) is not None]
        rows.append((judge, f"{len(own):,}", f"{silent:,}", f"{100 * np.mean(mass):.2f}" if mass else NONE))
    columns = (
        Column("judge"), Column("verdicts", True), Column("without a verdict", True),
        Column("probability of the two answers, %", True),
    )  # fmt: skip
    tables = [Table(columns, tuple(rows))]
    agreed = _agreements(verdicts, judges)
    if agreed:
        heads = (Column("judge"), Column("other"), Column("verdicts of both", True), Column("agree, %", True),
                 Column("Cohen's kappa", True))  # fmt: skip
        tables.append(Table(heads, tuple(agreed), caption="how far judges agree on who won"))
    told = run_of(results).get("judge")
    seen = told.get("answered as", ()) if isinstance(told, Mapping) else ()
    if seen:
        answered = (Column("answered as"), Column("system fingerprint"), Column("date, UTC"))
        dated = tuple(tuple(str(one.get(name) or NONE) for name in ("model", "fingerprint", "date")) for one in seen)
        tables.append(Table(answered, dated, caption="who answered when, as the server said"))
    canary = results.facts.get("canary", run_of(results).get("canary"))
    if isinstance(canary, Mapping):
        drift = tuple((str(name).replace("_", " "), str(value)) for name, value in canary.items())
        tables.append(Table((Column("canary"), Column("value")), drift, caption="the fixed questions asked again"))
    return Section("Judge", _alpha(verdicts, judges), tables=tuple(tables))


def faults_of(verdicts: Sequence[JudgeVerdict]) -> dict[str, dict[str, int]]:
    """Model -> reason -> how many verdicts it has without a value."""
    found: dict[str, Counter[str]] = {}
    for one in verdicts:
        if one.value is None:
            found.setdefault(one.model, Counter())[one.fault or "no reason is known"] += 1
    return {model: dict(reasons.most_common()) for model, reasons in found.items()}


def baseline_of(results: Results) -> str:
    """Whom models are compared with, as the facts of the results name it."""
    facts = results.facts
    settings = facts.get("settings")
    named = facts.get("baseline") or (settings.get("baseline") if isinstance(settings, Mapping) else None)
    baselines = facts.get("baselines")
    several = ", ".join(dict.fromkeys(map(str, baselines.values()))) if isinstance(baselines, Mapping) else ""
    return str(named or several or "baseline")


def _winners(verdicts: Sequence[JudgeVerdict], judges: Sequence[str]) -> dict[str, dict[tuple[str, str, str], float]]:
    """Judge -> what was asked -> 1 where the model won, -1 where it lost, 0 for a tie."""
    told: dict[str, dict[tuple[str, str, str], float]] = {judge: {} for judge in judges}
    for one in verdicts:
        if one.judge and one.value is not None:
            told[one.judge][one.model, one.uid, one.part] = float(np.sign(one.value - 0.5))
    return told


def _alpha(verdicts: Sequence[JudgeVerdict], judges: Sequence[str]) -> tuple[str, ...]:
    told = _winners(verdicts, judges)
    asked = list(dict.fromkeys(key for own in told.values() for key in own))
    if len(judges) < 2 or not asked:
        return ()
    alpha = krippendorff_alpha([[own.get(key) for key in asked] for own in told.values()])
    return () if math.isnan(alpha) else (f"Krippendorff's alpha of {len(judges)} judges on who won: {alpha:.2f}.",)


def _agreements(verdicts: Sequence[JudgeVerdict], judges: Sequence[str]) -> list[tuple[str, ...]]:
    told = _winners(verdicts, judges)
    rows: list[tuple[str, ...]] = []
    for at, judge in enumerate(judges):
        for other in judges[at + 1 :]:
            both = [key for key in told[judge] if key in told[other]]
            if both:
                first, second = [told[judge][key] for key in both], [told[other][key] for key in both]
                same = np.mean([a == b for a, b in zip(first, second, strict=True)])
                kappa = cohens_kappa(first, second)
                rows.append((judge, other, f"{len(both):,}", f"{100 * same:.1f}", f"{kappa:.2f}"))
    return rows


def _are_shares(results: Results) -> bool:
    return any("win_rate" in figure.name for figure in results.figures)


def _told_of_differences(shares: bool, unit: str) -> tuple[str, ...]:
    what = (
        "Against the baseline: the raw win rate less 50; between two models: the difference of their raw win rates. "
        if shares
        else ""
    )
    return (
        f"Prompt by prompt, in {unit}. {what}p is the chance of such a difference by luck, corrected for all "
        "rows of this table (Holm); detectable is the smallest true difference that a comparison of this size finds in "
        "80 % of cases, before that correction.",
    )


def _valued(verdicts: Sequence[JudgeVerdict], model: str) -> list[JudgeVerdict]:
    return [one for one in verdicts if one.model == model and one.value is not None]


def _ratio(one: JudgeVerdict) -> float | None:
    for own, other in _LENGTHS:
        mine, its = one.facts.get(own), one.facts.get(other)
        if isinstance(mine, int | float) and isinstance(its, int | float):
            return max(1.0, mine) / max(1.0, its)
    return None


def _model_first(benchmark: str, one: JudgeVerdict) -> bool | None:
    if "model_first" in one.facts:
        return bool(one.facts["model_first"])
    game = one.facts.get("game")
    return None if game is None or benchmark not in _MODEL_FIRST else game == _MODEL_FIRST[benchmark]


def _chance(chance: float) -> str:
    small = "< 0.001" if chance < 0.001 else f"{chance:.3f}"
    return NONE if math.isnan(chance) else small
