"""Sections of an evaluation's report from single verdicts: differences, length, order, categories, judges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import cast

import numpy as np

from prefboost.evaluation.alpaca.scores import AlpacaFacts
from prefboost.evaluation.benchmark import JudgeVerdict, average_by_prompt
from prefboost.evaluation.results import Results
from prefboost.reporting.evaluation.results import NONE, format_interval, get_run_facts
from prefboost.reporting.figures import Curve
from prefboost.reporting.sections import Lines, Mark, ReportColumn, ReportTable, Section, Strip
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
    "name_baseline",
    "build_category_section",
    "build_differences_section",
    "count_faults",
    "build_judge_section",
    "build_length_section",
    "build_order_section",
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
"""Benchmark -> number of the game that shows the model first."""


def build_differences_section(
    results: Results, verdicts: Sequence[JudgeVerdict], order: Sequence[str]
) -> Section | None:
    """Build the table of paired differences, prompt by prompt, with Holm's correction; None without two to compare.

    Shares of the win are compared with one half, which is the baseline against itself, and with each other; grades with
    each other alone. Models whose figure is withheld are not in the order.
    """
    means, shares = average_by_prompt(verdicts), any("win_rate" in figure.name for figure in results.figures)
    order = [model for model in order if len(means.get(model, {})) > 1]
    baseline = name_baseline(results)
    tests: dict[tuple[str, str], tuple[PairedTest, int]] = {}
    # A grade has no baseline to differ from; a share of the win has one half.
    for model in order if shares else ():
        values = list(means[model].values())
        tests[model, baseline] = (run_paired_test(values, [0.5] * len(values)), 0)
    for at, first in enumerate(order):
        for second in order[at + 1 :] if len(order) <= _MATRIX else order[at + 1 : at + 2]:
            both = [uid for uid in means[first] if uid in means[second]]
            if len(both) > 1:
                test = run_paired_test([means[first][uid] for uid in both], [means[second][uid] for uid in both])
                tests[first, second] = (test, len(means[first].keys() ^ means[second].keys()))
    if not tests:
        return None
    scale = 100 if shares else 1
    chances = holm({pair: test.chance for pair, (test, _) in tests.items()})
    rows, marks = [], []
    for (first, second), (test, unmatched) in tests.items():
        difference = test.difference.scale(scale)
        detectable = f"{scale * test.detectable:.2f}"
        chance = chances[first, second]
        luck = NONE if math.isnan(chance) else "< 0.001" if chance < 0.001 else f"{chance:.3f}"
        interval = difference.format(end_decimals=1, signed=True)
        rows.append((first, second, interval, luck, detectable, f"{difference.clusters:,}", str(unmatched)))
        marks.append((Mark(difference.low, difference.high, difference.estimate),))
    columns = (
        ReportColumn("first"), ReportColumn("second"), ReportColumn("first less second", True),
        ReportColumn("p (Holm)", True),
        ReportColumn("detectable", True), ReportColumn("prompts", True), ReportColumn("on one side only", True),
    )  # fmt: skip
    unit = "points of the win rate" if shares else "points"
    strip = Strip(f"difference, {unit}", tuple(marks), ("difference",), 0.0)
    against = (
        "Against the baseline: the raw win rate less 50; between two models: the difference of their raw win rates. "
    )
    note = (
        f"Prompt by prompt, in {unit}. {against if shares else ''}p is the chance of such a difference by luck, "
        "corrected for all rows of this table (Holm); detectable is the smallest true difference that a comparison of "
        "this size finds in 80 % of cases, before that correction."
    )
    return Section("Differences", (note,), tables=(ReportTable(columns, tuple(rows), strip),))


def build_length_section(verdicts: Sequence[JudgeVerdict], order: Sequence[str]) -> Section | None:
    """Build win rates by the length of a completion relative to the baseline's; None where lengths are unknown."""
    curves, rows = [], []
    for model in order:
        rows_of_model = [
            (verdict, ratio)
            for verdict in _select_valued(verdicts, model)
            if (ratio := _compute_length_ratio(verdict)) is not None
        ]
        if not rows_of_model:
            continue
        shares = np.array([verdict.value for verdict, _ in rows_of_model], dtype=np.float64)
        ratios = np.array([ratio for _, ratio in rows_of_model])
        prompts = np.array([verdict.uid for verdict, _ in rows_of_model])
        place = np.searchsorted(_RATIOS, ratios, side="right")
        parts = {at: np.flatnonzero(place == at) for at in range(len(_RANGES))}
        inside = {
            at: bootstrap_mean(shares[here], clusters=prompts[here]).scale(100)
            for at, here in parts.items()
            if len(here) >= _FEW
        }
        # A model without a point has no curve, and a figure without curves is left out.
        curves += [Curve(model, {float(at): verdict for at, verdict in inside.items()})] if inside else []
        bias = measure_length_bias(2 * shares - 1, np.log(ratios), clusters=prompts)
        cells = (
            f"{format_interval(inside[at], 1)}\nn={len(here):,}" if at in inside else NONE for at, here in parts.items()
        )
        longer_wins = NONE if bias.longer_wins is None else format_interval(bias.longer_wins.scale(100), 1)
        rows.append((model, *cells, longer_wins))
    if not rows:
        return None
    columns = (
        ReportColumn("model"),
        *(ReportColumn(name, True) for name in _RANGES),
        ReportColumn("the longer one wins", True),
    )
    lines = Lines(
        "length of the model's completion against the baseline's", "raw win rate, %", tuple(curves),
        tuple((float(at), name) for at, name in enumerate(_RANGES)), 50.0,
    )  # fmt: skip
    note = (
        "A line that rises says that longer completions win: they are better, or the judge likes length. "
        f"The length-controlled win rate takes that away. Fewer than {_FEW} verdicts are not shown."
    )
    table = ReportTable(columns, tuple(rows), caption="raw win rate, %")
    return Section("By length", (note,), (lines,) if curves else (), (table,))


def build_order_section(results: Results, verdicts: Sequence[JudgeVerdict], order: Sequence[str]) -> Section | None:
    """Build the table of win rates per order of showing; None where the order is unknown."""
    rows, marks = [], []
    for model in order:
        valued = _select_valued(verdicts, model)
        first = [_shows_model_first(results.benchmark, verdict) for verdict in valued]
        if not valued or None in first:
            continue
        prompts = ["\0".join((verdict.uid, str(verdict.facts.get("turn", "")), verdict.judge)) for verdict in valued]
        report = report_positions([verdict.value or 0.0 for verdict in valued], list(map(bool, first)), prompts)
        both = tuple(rate and rate.scale(100) for rate in (report.shown_first, report.shown_second))
        swing = NONE if report.swing is None else report.swing.scale(100).format(1, signed=True)
        agree = NONE if report.consistency is None else format_interval(report.consistency.scale(100), 1)
        rows.append((model, *(format_interval(rate, 1) for rate in both), swing, agree, f"{100 * report.ties:.1f}"))
        marks.append(tuple(Mark(at.low, at.high, at.estimate, kind) for kind, at in enumerate(both) if at))
    if not rows:
        return None
    columns = (
        ReportColumn("model"), ReportColumn("shown first, %", True), ReportColumn("shown second, %", True),
        ReportColumn("second less first", True), ReportColumn("both orders agree, %", True),
        ReportColumn("ties, %", True),
    )  # fmt: skip
    strip = Strip("raw win rate, %", tuple(marks), ("the model is shown first", "the model is shown second"), 50.0)
    note = (
        "A judge whom the order does not sway gives one win rate either way. Both orders together take its leaning "
        "out of the win rate, but not out of single verdicts: below 70 % agreement it is unreliable on these prompts."
    )
    return Section("By order", (note,), tables=(ReportTable(columns, tuple(rows), strip),))


def build_category_section(verdicts: Sequence[JudgeVerdict], order: Sequence[str]) -> Section | None:
    """Build the table of raw win rates per category; None where there are fewer than two categories."""
    groups = list(dict.fromkeys(str(verdict.facts.get("category") or "") for verdict in verdicts))
    if len(groups) < 2:
        return None
    rows = []
    for model in order:
        valued = _select_valued(verdicts, model)
        by_group = [[row for row in valued if str(row.facts.get("category") or "") == group] for group in groups]
        rates = [
            bootstrap_mean([row.value or 0.0 for row in part], clusters=[row.uid for row in part]).scale(100)
            if part
            else None
            for part in by_group
        ]
        rows.append((model, *(format_interval(rate, 1) for rate in rates)))
    columns = (ReportColumn("model"), *(ReportColumn(group or "no category", True) for group in groups))
    return Section("By category", tables=(ReportTable(columns, tuple(rows), caption="raw win rate, %"),))


def _compute_label_mass(verdict: JudgeVerdict) -> float | None:
    """Return the probability of both labels together; None where no log-probs were read."""
    facts = cast(AlpacaFacts, verdict.facts)
    # Files of earlier versions hold the log-probs alone.
    if "label_mass" not in facts and "logprob_m" in facts and "logprob_M" in facts:
        return math.exp(facts["logprob_m"]) + math.exp(facts["logprob_M"])
    return facts.get("label_mass")


def build_judge_section(results: Results, verdicts: Sequence[JudgeVerdict]) -> Section | None:
    """Build the tables of judges, their missing verdicts and agreement; None where no verdict names its judge."""
    judges = [judge for judge in dict.fromkeys(row.judge for row in verdicts) if judge]
    if not judges:
        return None
    rows = []
    for judge in judges:
        group = [row for row in verdicts if row.judge == judge]
        called = [row for row in group if "missing" not in row.fault and "no completion" not in row.fault]
        unanswered = sum(row.value is None for row in called)
        mass = [share for row in group if (share := _compute_label_mass(row)) is not None]
        rows.append((judge, f"{len(group):,}", f"{unanswered:,}", f"{100 * np.mean(mass):.2f}" if mass else NONE))
    columns = (
        ReportColumn("judge"), ReportColumn("verdicts", True), ReportColumn("without a verdict", True),
        ReportColumn("probability of the two answers, %", True),
    )  # fmt: skip
    tables = [ReportTable(columns, tuple(rows))]
    notes, agreed = _compare_judges(verdicts, judges)
    if agreed:
        heads = (ReportColumn("judge"), ReportColumn("other"), ReportColumn("verdicts of both", True),
                 ReportColumn("agree, %", True),
                 ReportColumn("Cohen's kappa", True))  # fmt: skip
        tables.append(ReportTable(heads, agreed, caption="how far judges agree on who won"))
    judge_facts = get_run_facts(results).get("judge")
    seen = judge_facts.get("answered as", ()) if isinstance(judge_facts, Mapping) else ()
    if seen:
        columns_of_names = (ReportColumn("answered as"), ReportColumn("system fingerprint"), ReportColumn("date, UTC"))
        dated = tuple(tuple(str(row.get(name) or NONE) for name in ("model", "fingerprint", "date")) for row in seen)
        tables.append(ReportTable(columns_of_names, dated, caption="who answered when, as the server said"))
    canary = results.facts.get("canary", get_run_facts(results).get("canary"))
    if isinstance(canary, Mapping):
        drift = tuple((str(name).replace("_", " "), str(value)) for name, value in canary.items())
        tables.append(
            ReportTable(
                (ReportColumn("canary"), ReportColumn("value")), drift, caption="the fixed questions asked again"
            )
        )
    return Section("Judge", notes, tables=tuple(tables))


def count_faults(verdicts: Sequence[JudgeVerdict]) -> dict[str, dict[str, int]]:
    """Count verdicts without a value: model -> reason -> number."""
    faults: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        if verdict.value is None:
            faults.setdefault(verdict.model, Counter())[verdict.fault or "no reason is known"] += 1
    return {model: dict(reasons.most_common()) for model, reasons in faults.items()}


def name_baseline(results: Results) -> str:
    """Return the name of the baseline from the facts of the results."""
    facts = results.facts
    settings = facts.get("settings")
    baseline = facts.get("baseline") or (settings.get("baseline") if isinstance(settings, Mapping) else None)
    baselines = facts.get("baselines")
    several = ", ".join(dict.fromkeys(map(str, baselines.values()))) if isinstance(baselines, Mapping) else ""
    return str(baseline or several or "baseline")


def _compare_judges(
    verdicts: Sequence[JudgeVerdict], judges: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Compare judges on who won: a sentence on all of them (none with one judge), and a row for each two."""
    # Judge -> (model, uid, part) -> 1 where the model won, -1 where it lost, 0 for a tie.
    winners: dict[str, dict[tuple[str, str, str], float]] = {judge: {} for judge in judges}
    for verdict in verdicts:
        if verdict.judge and verdict.value is not None:
            winners[verdict.judge][verdict.model, verdict.uid, verdict.part] = float(np.sign(verdict.value - 0.5))
    keys = list(dict.fromkeys(key for by_key in winners.values() for key in by_key))
    if len(judges) < 2 or not keys:
        return (), ()
    rows: list[tuple[str, ...]] = []
    for judge, other in combinations(judges, 2):
        both = [key for key in winners[judge] if key in winners[other]]
        if both:
            first, second = [winners[judge][key] for key in both], [winners[other][key] for key in both]
            same = np.mean([a == b for a, b in zip(first, second, strict=True)])
            kappa = cohens_kappa(first, second)
            rows.append((judge, other, f"{len(both):,}", f"{100 * same:.1f}", f"{kappa:.2f}"))
    alpha = krippendorff_alpha([[by_key.get(key) for key in keys] for by_key in winners.values()])
    note = f"Krippendorff's alpha of {len(judges)} judges on who won: {alpha:.2f}."
    return () if math.isnan(alpha) else (note,), tuple(rows)


def _select_valued(verdicts: Sequence[JudgeVerdict], model: str) -> list[JudgeVerdict]:
    return [verdict for verdict in verdicts if verdict.model == model and verdict.value is not None]


def _compute_length_ratio(verdict: JudgeVerdict) -> float | None:
    for name, baseline_name in _LENGTHS:
        length, baseline_length = verdict.facts.get(name), verdict.facts.get(baseline_name)
        if isinstance(length, int | float) and isinstance(baseline_length, int | float):
            return max(1.0, length) / max(1.0, baseline_length)
    return None


def _shows_model_first(benchmark: str, verdict: JudgeVerdict) -> bool | None:
    # AlpacaEval says it in a fact of its own; elsewhere the game decides, which each benchmark counts in its own way.
    if "model_first" in verdict.facts:
        return bool(verdict.facts["model_first"])
    game = verdict.facts.get("game")
    return None if game is None or benchmark not in _MODEL_FIRST else game == _MODEL_FIRST[benchmark]
