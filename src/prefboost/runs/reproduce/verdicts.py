"""Verdicts of a reproduction: each arm's best settings, its figures with intervals over seeds, one line per claim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from prefboost.runs.reproduce.arms import ARMS
from prefboost.runs.reproduce.cells import START, Cell, CellResult
from prefboost.runs.reproduce.held_out import TEST, VALIDATION
from prefboost.statistics import Interval, bootstrap_crossed

__all__ = [
    "ArmFigure",
    "ClaimVerdict",
    "choose_best",
    "compare_arms",
    "format_table",
    "judge_statements",
    "list_claims",
    "list_figures",
    "name_measure",
]

_UNITS = {
    "score": "points",
    "aspect_score": "points, mean of the aspects",
    "tokens": "tokens",
    "kl": "nats",
    "goal_accuracy": "of goal pairs",
    "pair_accuracy": "of pairs",
    "rank_correlation": "correlation",
    "rank_at_equal_length": "correlation",
    "accuracy": "of labelled pairs",
    "accuracy_if_shorter": "of those whose preferred completion is not the longer one",
    "good_rejected": "nats",
    "good_chosen": "nats",
    "academic": "% of academic questions",
}
"""Measure -> unit, in the order of reports."""

Statement = tuple[str, str, str, str, str]
"""Text, arm that is ahead if it holds, the other arm, setting, measure."""

ResultGetter = Callable[[str, str], Sequence[CellResult]]
"""Arm and setting -> results over seeds."""


@dataclass(frozen=True)
class ArmFigure:
    """One measure of an arm at one of its settings, on the test prompts.

    Args:
        arm: its name.
        setting: best or published.
        beta: None where the loss has none.
        learning_rate: peak.
        measure: its name.
        value: mean with its interval over seeds and prompts.
    """

    arm: str
    setting: str
    beta: float | None
    learning_rate: float
    measure: str
    value: Interval


@dataclass(frozen=True)
class ClaimVerdict:
    """A statement of the paper, and what came of it.

    Args:
        text: the statement.
        verdict: yes, no, or undecided where the interval holds 0.
        difference: mean difference on the test prompts, paired by prompt and seed; NaN ends with one seed.
        unit: of the difference.
    """

    text: str
    verdict: str
    difference: Interval
    unit: str

    def line(self) -> str:
        """Write it as in reports.

        >>> ClaimVerdict("ra beats dpo", "yes", Interval(0.9, 0.5, 1.3, 0.95, rows=60, clusters=5), "points").line()
        'ra beats dpo: yes, +0.90 [+0.50, +1.30] points'
        """
        return f"{self.text}: {self.verdict}, {self.difference.format(signed=True)} {self.unit}"


def name_measure(results: Iterable[CellResult]) -> str:
    """Return the measure that decides: the score of new completions, or without a scorer accuracy on held-out pairs."""
    measured = {name for result in results for name in result.measures[TEST]}
    return "score" if "score" in measured else "pair_accuracy"


def choose_best(arm: str, results: Sequence[CellResult], measure: str, seed: int) -> Cell:
    """Choose an arm's settings by the validation prompts, on one seed.

    Args:
        arm: its name.
        results: of all cells.
        measure: the higher the better.
        seed: that all settings were trained with.
    """
    tried = [result for result in results if result.cell.arm == arm and result.cell.seed == seed]
    # Of equal means the first in the order of the grid, so that the choice does not depend on which cell ended first.
    ranked = sorted(tried, key=lambda result: result.cell)
    return max(ranked, key=lambda result: np.mean(list(result.measures[VALIDATION][measure].values()))).cell


def collect_values(results: Sequence[CellResult], measure: str) -> np.ndarray | None:
    """Collect a measure of the same settings over seeds: [seeds, prompts], prompts that all of them have.

    Args:
        results: of one arm at one setting, each of another seed.
        measure: its name.

    Returns:
        None where nothing was measured.
    """
    by_seed = [result.measures[TEST].get(measure, {}) for result in results]
    prompts = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    return np.array([[values[prompt] for prompt in prompts] for values in by_seed]) if prompts else None


def list_figures(arm: str, setting: str, results: Sequence[CellResult]) -> list[ArmFigure]:
    """List every measure of an arm at one setting."""
    cell = results[0].cell
    figures = []
    for measure in _UNITS:
        values = collect_values(results, measure)
        if values is not None:
            value = bootstrap_crossed(values)
            figures.append(ArmFigure(arm, setting, cell.beta, cell.learning_rate, measure, value))
    return figures


def compare_arms(ours: Sequence[CellResult], theirs: Sequence[CellResult], measure: str) -> Interval | None:
    """Estimate the difference of two arms, paired by prompt and, where both have it, by seed.

    Args:
        ours, theirs: results of one setting each, over seeds; the start model has one result for all of them.
        measure: its name.
    """
    others = {result.cell.seed: result.measures[TEST].get(measure, {}) for result in theirs}
    # What is not trained has no learning rate, and one result for all seeds.
    fixed = others.get(0) if theirs and (theirs[0].cell.arm == START or not theirs[0].cell.learning_rate) else None
    pairs = [
        (result.measures[TEST].get(measure, {}), fixed if fixed is not None else others[result.cell.seed])
        for result in ours
        if fixed is not None or result.cell.seed in others
    ]
    # Prompts that one side lacks (a completion that failed, no good rejected one) would compare different prompts.
    prompts = sorted(set.intersection(*({*a} & {*b} for a, b in pairs))) if pairs else []
    if not prompts:
        return None
    return bootstrap_crossed([[a[prompt] - b[prompt] for prompt in prompts] for a, b in pairs])


def list_claims(get: ResultGetter, measure: str, published_beta: float) -> list[ClaimVerdict]:
    """List the paper's claims with a verdict each; those without their arms are absent.

    Args:
        get: arm and setting (best or published) -> results over seeds; empty where it was not measured.
        measure: that decides.
        published_beta: for the text.
    """
    at_published = f"at the published beta {published_beta:g}"
    statements = [
        (f"{at_published} ra beats dpo with as many steps", "ra", "dpo", "published", measure),
        (f"{at_published} ra beats dpo as published, with half the steps", "ra", "dpo_one_pass", "published", measure),
        ("at each arm's best settings ra beats dpo", "ra", "dpo", "best", measure),
        ("not just more data: half_ra, with as many rows as pairs, beats dpo", "half_ra", "dpo", "best", measure),
        ("not just the goal in the prompt: ra beats high_goal_only", "ra", "high_goal_only", "best", measure),
        ("pairs are needed: ra beats conditional_sft", "ra", "conditional_sft", "best", measure),
        ("scores alone are not enough: ra beats rpo", "ra", "rpo", "best", measure),
        ("scores alone are not enough: ra beats margin_dpo", "ra", "margin_dpo", "best", measure),
        ("ra keeps good rejected completions better than dpo", "ra", "dpo", "best", "good_rejected"),
        ("ra ranks completions of equal length better than dpo", "ra", "dpo", "best", "rank_at_equal_length"),
        ("general ability: ra keeps held-out good completions better than dpo", "ra", "dpo", "best", "good_chosen"),
    ]
    on_policy, aspects = ("on_policy_ra", "on_policy_dpo"), ("aspects_ra", "ra")
    statements += [
        ("general ability: ra keeps academic tasks better than dpo", "ra", "dpo", "best", "academic"),
        (f"general ability: ra does better than {START} on academic tasks", "ra", START, "best", "academic"),
        (f"on own samples, {at_published} ra beats dpo with as many steps", *on_policy, "published", measure),
        ("on own samples, at each arm's best settings ra beats dpo", *on_policy, "best", measure),
        ("on own samples, ra keeps held-out good completions better than dpo", *on_policy, "best", "good_chosen"),
        ("own samples teach ra more than the completions of the file", "on_policy_ra", "ra", "best", measure),
        ("own samples teach dpo more than the completions of the file", "on_policy_dpo", "dpo", "best", measure),
        ("goals of several aspects beat those of one score", *aspects, "best", measure),
        (
            "goals of several aspects beat those of one score in the mean of the aspects",
            *aspects,
            "best",
            "aspect_score",
        ),
        ("goals of several aspects beat dpo", "aspects_ra", "dpo", "best", measure),
    ]
    against_start = [arm for arm in ("ra", "dpo", *on_policy, "aspects_ra") if get(START, "best")]
    statements += [(f"{arm} beats {START}", arm, START, "best", measure) for arm in against_start]
    return judge_statements(statements, get)


def judge_statements(statements: Iterable[Statement], get: ResultGetter) -> list[ClaimVerdict]:
    """Judge statements by the differences of their arms; those without their arms are absent.

    Args:
        statements: text, arm that is ahead if it holds, the other arm, setting, and the measure that decides.
        get: arm and setting -> results over seeds; empty where it was not measured.
    """
    claims = []
    for text, ours, theirs, setting, decides in statements:
        difference = compare_arms(get(ours, setting), get(theirs, setting), decides)
        if difference is not None:
            # An interval without ends (one seed) excludes nothing, and so decides nothing.
            decided = "yes" if difference.estimate > 0 else "no"
            verdict = decided if difference.excludes(0.0) else "undecided"
            claims.append(ClaimVerdict(text, verdict, difference, _UNITS[decides]))
    return claims


def format_table(figures: Sequence[ArmFigure], order: Sequence[str] = (START, *ARMS)) -> list[str]:
    """Write figures as a Markdown table: a row per arm and setting, a column per measure.

    Args:
        figures: of all arms.
        order: of the arms.
    """
    measures = [measure for measure in _UNITS if any(figure.measure == measure for figure in figures)]
    rows: dict[tuple[str, str], dict[str, ArmFigure]] = {}
    for figure in figures:
        rows.setdefault((figure.arm, figure.setting), {})[figure.measure] = figure
    lines = [
        f"| arm | setting | {' | '.join(f'{name} ({_UNITS[name]})' for name in measures)} |",
        f"|---|---|{'---|' * len(measures)}",
    ]
    for (arm, setting), by_measure in sorted(rows.items(), key=lambda row: (order.index(row[0][0]), row[0][1])):
        some = next(iter(by_measure.values()))
        beta = "" if some.beta is None else f" beta {some.beta:g},"
        settings = "" if not some.learning_rate else f"{setting}:{beta} rate {some.learning_rate:g}"
        cells = [by_measure[name].value.format() if name in by_measure else "–" for name in measures]
        lines.append(f"| {arm} | {settings} | {' | '.join(cells)} |")
    return lines
