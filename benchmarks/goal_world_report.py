"""What `goal_world.py` measured, as tables, verdicts with intervals, and a figure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from goal_world_arms import ARMS
from numpy.typing import NDArray

from prefboost.statistics import Interval, bootstrap_difference, bootstrap_mean

__all__ = ["Outcome", "Point", "choose_best", "compare", "draw_figure", "print_report", "read_outcomes"]

Array = NDArray[np.float64]
PUBLISHED_BETA = 0.01
JUDGE = "judge"
"""The judge's score without its noise, which is what an arm trains for."""
KL_BUDGETS = (2.0, 5.0, 10.0)
"""Nats; of the points whose KL on validation topics is within the budget, the best on these topics is compared."""


@dataclass(frozen=True)
class Point:
    """One checkpoint of one cell.

    Args:
        beta: of its loss, 0 where it has none.
        step: optimiser steps.
        measured: part -> figure -> [seeds, topics]; figures are gold, judge and kl.
        others: ``goals``, ``good_rejected`` and ``own_goal``, see `goal_world_arms.measure`.
    """

    beta: float
    step: int
    measured: Mapping[str, Mapping[str, Array]]
    others: Mapping[str, Any]

    def average(self, figure: str, part: str = "test") -> float:
        """Return the mean over seeds and topics."""
        return float(self.measured[part][figure].mean())


@dataclass(frozen=True)
class Outcome:
    """All points of one arm in one world."""

    axis: str
    arm: str
    points: tuple[Point, ...]
    facts: Mapping[str, Any]


def read_outcomes(keep: Path) -> dict[tuple[str, str], Outcome]:
    """Read the cells of a folder, by world and arm."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    for path in sorted(keep.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        cell = kept["cell"]
        points = [
            Point(
                cell["beta"],
                int(step),
                {part: {name: np.array(rows) for name, rows in found[part].items()} for part in ("validation", "test")},
                {name: found[name] for name in ("goals", "good_rejected", "own_goal")},
            )
            for step, found in kept["checkpoints"].items()
        ]
        key = (cell["axis"], cell["arm"])
        earlier = outcomes[key].points if key in outcomes else ()
        ordered = sorted((*earlier, *points), key=lambda point: (point.beta, point.step))
        outcomes[key] = Outcome(*key, tuple(ordered), kept)
    return outcomes


def choose_best(
    points: Sequence[Point], by: str = "gold", allowed: Callable[[Point, int], bool] = lambda *_: True
) -> list[Point] | None:
    """Choose each seed's best point on its validation topics.

    Args:
        points: what there is to choose from.
        by: gold, or judge where a trusted score is not at hand.
        allowed: whether a point may be chosen, given the number of the seed.

    Returns:
        a point per seed; None where a seed has no point that is allowed.
    """
    chosen = []
    for seed in range(len(points[0].measured["test"]["gold"])) if points else ():
        open_to = [point for point in points if allowed(point, seed)]
        if not open_to:
            return None
        chosen.append(max(open_to, key=lambda point: float(point.measured["validation"][by][seed].mean())))
    return chosen or None


def compare(first: Sequence[Point], second: Sequence[Point], figure: str = "gold") -> Interval:
    """Estimate by how much the first is ahead on held-out topics; each is a point per seed.

    Seeds are drawn whole. A seed has topics of its own, so that the topics' share of the error is within the seeds'.
    """
    pairs = [[point.measured["test"][figure][seed] for seed, point in enumerate(points)] for points in (first, second)]
    clusters = np.repeat(np.arange(len(first)), len(pairs[0][0]))
    return bootstrap_difference(np.concatenate(pairs[0]), np.concatenate(pairs[1]), clusters=clusters)


def print_report(outcomes: Mapping[tuple[str, str], Outcome]) -> None:
    """Print tables and verdicts of every world, as Markdown."""
    for axis in dict.fromkeys(axis for axis, _ in outcomes):
        arms = {arm: outcomes[axis, arm] for arm in ARMS if (axis, arm) in outcomes}
        facts = next(iter(arms.values())).facts
        shares = [f"{100 * np.mean(facts[name]):.1f} %" for name in ("good_rejected_share", "top_share")]
        print(
            f"\n## {axis}\n\n{np.mean(facts['pairs']):.0f} pairs per seed, {len(facts['seeds'])} seeds; rejected "
            f"answers with a 6 or more {shares[0]}, chosen ones with a 10 {shares[1]}\n"
        )
        start = find_start(outcomes, axis)
        for figure in ("gold", "judge") if start else ():
            print(f"start model, {figure}: {', '.join(_describe_start(start, figure))}\n")
        for step in dict.fromkeys(point.step for arm in arms.values() for point in arm.points):
            print("\n".join(_tabulate(arms, step)) + "\n")
        print("\n".join(_list_verdicts(arms)))


def find_start(outcomes: Mapping[tuple[str, str], Outcome], axis: str) -> Mapping[str, Mapping[str, list[float]]]:
    """Find what the start models of a world score; empty where no cell tells."""
    told = (each.facts.get("start") for (name, _), each in outcomes.items() if name == axis)
    return next((start for start in told if start), {})


def _describe_start(start: Mapping[str, Mapping[str, list[float]]], figure: str) -> Iterator[str]:
    for goal, scores in start.items():
        asked = "not asked" if goal == "0" else f"asked for {goal}"
        yield f"{asked} {bootstrap_mean(scores[figure]).format()}"


def _tabulate(arms: Mapping[str, Outcome], step: int) -> Iterator[str]:
    """Write a table of one checkpoint: gold score (KL; change of the log-prob of good rejected answers)."""
    betas = sorted({point.beta for arm in arms.values() for point in arm.points if point.beta})
    yield (
        f"| gold score after {step} steps (KL; good rejected, nats) | "
        + " | ".join(f"beta {b:g}" for b in betas)
        + " |"
    )
    yield "|---" * (len(betas) + 1) + "|"
    for arm, outcome in arms.items():
        cells = []
        for beta in betas:
            point = _find(outcome, beta, step)
            good = None if point is None else point.others["good_rejected"]
            cells.append(
                ""
                if point is None
                else f"{point.average('gold'):.2f} ({point.average('kl'):.1f}"
                + (f"; {np.mean(good):+.1f})" if good else ")")
            )
        yield f"| {ARMS[arm].title} | " + " | ".join(cells) + " |"


def _find(outcome: Outcome, beta: float, step: int) -> Point | None:
    """Find a point; a loss without a beta has the same at every beta."""
    return next((each for each in outcome.points if each.beta in (beta, 0.0) and each.step == step), None)


def _list_verdicts(arms: Mapping[str, Outcome]) -> Iterator[str]:
    if "dpo" not in arms:
        return
    plain = arms["dpo"]
    last = max(point.step for point in plain.points)
    yield "| against plain DPO, held-out gold score | " + " | ".join(_describe_rules(last)) + " |"
    yield "|---" * (len(_describe_rules(last)) + 1) + "|"
    for arm, outcome in arms.items():
        cells = [_write_verdict(outcome, plain, rule) for rule in _describe_rules(last).values()]
        yield f"| {ARMS[arm].title} | " + " | ".join(cells) + " |"
    yield ""
    if _errs(plain):
        yield from _tabulate_judge(arms, _describe_rules(last))
    for arm, outcome in arms.items():
        for beta, step in ((PUBLISHED_BETA, 200), (PUBLISHED_BETA, last), (0.1, 200)):
            if facts := _describe_losses(_find(outcome, beta, step), _find(plain, beta, step)):
                yield f"{ARMS[arm].title}, beta {beta:g}, {step} steps: {facts}"
    yield ""
    for arm, outcome in arms.items():
        best = choose_best(outcome.points)
        if best and best[0].others["goals"]:
            yield f"{ARMS[arm].title}: {_describe_goals(best)}"


Rule = Callable[[Outcome], "list[Point] | None"]


def _describe_rules(last: int) -> dict[str, Rule]:
    """Name the comparisons: each picks a point per seed of an arm."""

    def at_published(step: int) -> Rule:
        def pick(outcome: Outcome) -> list[Point] | None:
            point = _find(outcome, PUBLISHED_BETA, step)
            return None if point is None else [point] * len(point.measured["test"]["gold"])

        return pick

    def within(budget: float) -> Rule:
        return lambda outcome: choose_best(
            outcome.points, "gold", lambda point, seed: point.measured["validation"]["kl"][seed].mean() <= budget
        )

    rules: dict[str, Rule] = {f"beta 0.01, {step} steps": at_published(step) for step in (200, last)}
    rules |= {
        f"best beta, {step} steps": lambda outcome, step=step: choose_best(  # type: ignore[misc]
            [point for point in outcome.points if point.step == step]
        )
        for step in (200, last)
    }
    rules["best beta and steps"] = lambda outcome: choose_best(outcome.points)
    rules["the same, by the judge"] = lambda outcome: choose_best(outcome.points, "judge")
    return rules | {f"KL at most {budget:g}": within(budget) for budget in KL_BUDGETS}


def _errs(outcome: Outcome) -> bool:
    """Tell whether the judge's score, noise aside, differs from the gold score."""
    return any((point.measured["test"][JUDGE] != point.measured["test"]["gold"]).any() for point in outcome.points)


def _tabulate_judge(arms: Mapping[str, Outcome], rules: Mapping[str, Rule]) -> Iterator[str]:
    """Write what the judge gives the points that the rules pick, and by how much it overrates them."""
    yield "| judge's score (less gold) of the same points | " + " | ".join(rules) + " |"
    yield "|---" * (len(rules) + 1) + "|"
    for arm, outcome in arms.items():
        cells = []
        for rule in rules.values():
            chosen = rule(outcome)
            scores = {} if chosen is None else {
                name: np.mean([point.measured["test"][name][seed].mean() for seed, point in enumerate(chosen)])
                for name in ("gold", JUDGE)
            }  # fmt: skip
            cells.append(f"{scores[JUDGE]:.2f} ({scores[JUDGE] - scores['gold']:+.2f})" if scores else "")
        yield f"| {ARMS[arm].title} | " + " | ".join(cells) + " |"
    yield ""


def _write_verdict(outcome: Outcome, plain: Outcome, rule: Rule) -> str:
    """Write the score of an arm, and its lead over plain DPO; bold where the interval leaves out 0."""
    ours, theirs = rule(outcome), rule(plain)
    if ours is None or theirs is None:
        return ""
    score = np.mean([point.measured["test"]["gold"][seed].mean() for seed, point in enumerate(ours)])
    if outcome is plain:
        betas = sorted({point.beta for point in ours})
        return f"{score:.2f} (beta {', '.join(f'{beta:g}' for beta in betas)})"
    lead = compare(ours, theirs)
    text = lead.format(signed=True)
    return f"{score:.2f}, " + (f"**{text}**" if lead.excludes(0) else text)


def _describe_losses(point: Point | None, plain: Point | None) -> str:
    """Write what became of good rejected answers, also less plain DPO's, and by how much the judge overrates."""
    if point is None or plain is None or not point.others["good_rejected"]:
        return ""
    changes, others = point.others["good_rejected"], plain.others["good_rejected"]
    gap = [point.measured["test"]["judge"][seed] - rows for seed, rows in enumerate(point.measured["test"]["gold"])]
    lead = "" if point is plain else f", less DPO's {bootstrap_difference(changes, others).format(1, signed=True)}"
    excess = bootstrap_mean([float(rows.mean()) for rows in gap])
    overrated = f"; judge less gold {excess.format(signed=True)}" if excess.estimate else ""
    return f"good rejected {bootstrap_mean(changes).format(1)} nats{lead}{overrated}"


def _describe_goals(best: Sequence[Point]) -> str:
    """Write the achieved score per requested goal at each seed's best point."""
    asked = {goal: [point.others["goals"][goal][seed] for seed, point in enumerate(best)] for goal in ("1", "4", "7")}
    asked["10"] = [float(point.measured["test"]["gold"][seed].mean()) for seed, point in enumerate(best)]
    return "asked for " + ", ".join(f"{goal}: {bootstrap_mean(scores).format()}" for goal, scores in asked.items())


COLOURS = {
    "dpo": "C3",
    "dpo_sft": "C1",
    "ra": "C0",
    "grid": "C2",
    "mix": "C4",
    "dpo_2x": "C5",
    "half_ra": "C6",
    "high": "C7",
    "sft": "black",
    "rpo": "C8",
    "margin": "C9",
}
"""Arms and their colours; the first five are drawn in the panels against beta."""


def draw_figure(outcomes: Mapping[tuple[str, str], Outcome], out: Path) -> None:
    """Draw gold score against beta after 200 and the most steps, and the frontiers of all arms against KL."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "prefboost"
    figure, panels = plt.subplots(2, 3, figsize=(13, 7.4), layout="constrained")
    main = _choose_arms(outcomes, "main")
    steps = sorted({point.step for each in main.values() for point in each.points})
    for panel, step in zip(panels[0], [step for step in steps if step in (200, steps[-1])], strict=False):
        _draw_betas(panel, main, step)
        if start := find_start(outcomes, "main"):
            panel.axhline(np.mean(start["0"]["gold"]), color="grey", linestyle=":", linewidth=1)
    _draw_frontier(panels[0][2], main, "gold", "the judge is right: gold score")
    for panel, axis, scored, title in zip(
        panels[1],
        ("judge", "flattered", "flattered"),
        ("gold", "gold", JUDGE),
        ("a judge that errs in three ways: gold score", "a judge that is gamed: gold score", "the same: judge's score"),
        strict=True,
    ):
        _draw_frontier(panel, _choose_arms(outcomes, axis), scored, title)
    panels[1][2].sharey(panels[1][1])
    figure.legend(*panels[0][2].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
    plt.close(figure)


def _choose_arms(outcomes: Mapping[tuple[str, str], Outcome], axis: str) -> dict[str, Outcome]:
    return {arm: outcomes[axis, arm] for arm in COLOURS if (axis, arm) in outcomes}


def _draw_betas(panel: Any, arms: Mapping[str, Outcome], step: int) -> None:
    """Draw the gold score of the first five arms against beta, with 95 % intervals."""
    for arm in list(COLOURS)[:5]:
        points = [point for point in arms[arm].points if point.step == step] if arm in arms else []
        if not points:
            continue
        scores = [[float(rows.mean()) for rows in point.measured["test"]["gold"]] for point in points]
        betas = [point.beta for point in points]
        panel.plot(betas, np.mean(scores, axis=1), "o-", color=COLOURS[arm], markersize=3)
        ends = [bootstrap_mean(each) for each in scores]
        panel.fill_between(
            betas, [e.low for e in ends], [e.high for e in ends], alpha=0.15, color=COLOURS[arm], linewidth=0
        )
    panel.set(xscale="log", xlabel="beta", ylabel="score, held-out topics", title=f"gold score after {step} steps")


def _draw_frontier(panel: Any, arms: Mapping[str, Outcome], scored: str, title: str) -> None:
    """Draw the points of every arm, and through them the best score within each KL."""
    for arm, outcome in arms.items():
        order = sorted(outcome.points, key=lambda point: point.average("kl"))
        kl, scores = ([point.average(name) for point in order] for name in ("kl", scored))
        panel.plot(kl, scores, ".", color=COLOURS[arm], markersize=4, alpha=0.5)
        best = np.maximum.accumulate(scores)
        panel.step(kl, best, where="post", color=COLOURS[arm], linewidth=1.2, label=ARMS[arm].title)
    panel.set(xlabel="KL to the start model, nats", ylabel="score, held-out topics", title=title, xscale="symlog")
