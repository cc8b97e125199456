"""A small world in which the truth is known: how good is a reward model trained on which synthetic pairs?

    python examples/theory_world.py [--out theory_world.svg] [--seeds 20] [--generations 2000]

A completion is a vector y of N(0, I), one of whose features is length. People prefer by a known reward r*(y): the first
of two with probability sigmoid(r*(y1) - r*(y2)). A reward model is linear in y, which r* is not quite. Every method
gets the same number of generations and none of the truth but through a judge or a steered generator:

- a judge of noise v compares r*(y) + v (length(y) + fresh noise);
- a generator of steering error s, asked for a better or worse completion, goes by r*(y) + s (length(y) + fresh noise).

Both err in the same way, so that v and s can be held against each other. A request for a better or worse completion
also leaves traces of manner that nobody cares for: RLCD's phrases opposite ones on either side, RMBoost's edits the
same ones whichever label was asked for. Excess risk is the share of people's preferences that the reward model gets
wrong beyond those that r* itself gets wrong.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefboost.statistics import Interval, bootstrap_mean

Array = NDArray[np.float64]
Pairs = tuple[Array, Array]
"""Chosen and rejected completions, [P, d] each."""

LENGTH, MANNER = 0, 1
"""The feature that judges and generators overrate, and the one in which requests leave traces."""


@dataclass(frozen=True)
class World:
    """What is true, and how well it is seen.

    Args:
        generations: completions that a method may have written.
        judge_noise: v.
        steering_error: s.
        locality: how near to the first completion RMBoost's second stays: their correlation before steering.
        tilt: how strongly RLCD's phrases push.
        traces: how far a request for better or worse moves manner, in standard deviations.
        exact_label: RMBoost's labels are drawn from p(label | y1), as people's would fall, instead of evenly; then, by
            Bayes, its pairs are people's own where there is no error, no locality and no trace.
        n: completions a prompt of West-of-N.
        seed_pairs: pairs with people's labels that West-of-N's base reward model is trained on.
        features: d.
    """

    generations: int = 2000
    judge_noise: float = 1.0
    steering_error: float = 1.0
    locality: float = 0.5
    tilt: float = 1.0
    traces: float = 0.5
    exact_label: bool = False
    n: int = 8
    seed_pairs: int = 200
    features: int = 12


@dataclass(frozen=True)
class Truth:
    """r*(y) = w . y + y' Q y, in which length and manner have no part."""

    linear: Array
    quadratic: Array

    @staticmethod
    def drawn(draw: np.random.Generator, features: int) -> Truth:
        linear = draw.normal(size=features)
        square = draw.normal(size=(features, features)) * 0.15 / math.sqrt(features)
        for idle in (LENGTH, MANNER):
            linear[idle] = square[idle] = square[:, idle] = 0.0
        return Truth(1.5 * linear / np.linalg.norm(linear), (square + square.T) / 2)

    def reward(self, y: Array) -> Array:
        """[..., d] -> [...]"""
        found: Array = y @ self.linear + np.einsum("...i,ij,...j->...", y, self.quadratic, y)
        return found

    def seen(self, y: Array, error: float, draw: np.random.Generator) -> Array:
        """As a judge or a steered generator sees it: with a taste for length, and fresh noise."""
        return self.reward(y) + error * (y[..., LENGTH] + draw.normal(size=y.shape[:-1]))


def sigmoid(x: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return found


def completions(draw: np.random.Generator, *shape: int) -> Array:
    return draw.normal(size=shape)


def _ordered(one: Array, other: Array, first_wins: NDArray[np.bool_]) -> Pairs:
    return np.where(first_wins[:, None], one, other), np.where(first_wins[:, None], other, one)


def people(world: World, truth: Truth, draw: np.random.Generator) -> Pairs:
    """Two samples, labelled by people: what the others stand in for."""
    return human_pairs(world.generations // 2, world, truth, draw)


def human_pairs(count: int, world: World, truth: Truth, draw: np.random.Generator) -> Pairs:
    one, other = completions(draw, 2, count, world.features)
    return _ordered(one, other, draw.random(count) < sigmoid(truth.reward(one) - truth.reward(other)))


def rlaif(world: World, truth: Truth, draw: np.random.Generator) -> Pairs:
    """Two samples, labelled by the judge."""
    one, other = completions(draw, 2, world.generations // 2, world.features)
    ahead = truth.seen(one, world.judge_noise, draw) - truth.seen(other, world.judge_noise, draw)
    return _ordered(one, other, draw.random(len(one)) < sigmoid(ahead))


def rmboost(world: World, truth: Truth, draw: np.random.Generator) -> Pairs:
    """A first sample, a label, and a second sample from p(y2 | y1, label) as the generator sees it.

    Drawn exactly, by rejection: a proposal near y1 is kept with the probability that it deserves the label.
    """
    first = completions(draw, world.generations // 2, world.features)
    seen = truth.seen(first, world.steering_error, draw)
    even = np.full(len(first), 0.5)
    other = truth.seen(completions(draw, *first.shape), world.steering_error, draw)
    better = draw.random(len(first)) < (sigmoid(other - seen) if world.exact_label else even)
    second, left = np.empty_like(first), np.arange(len(first))
    while left.size:
        fresh = completions(draw, left.size, world.features)
        proposal = world.locality * first[left] + math.sqrt(1 - world.locality**2) * fresh
        ahead = truth.seen(proposal, world.steering_error, draw) - seen[left]
        kept = draw.random(left.size) < sigmoid(np.where(better[left], ahead, -ahead))
        second[left[kept]] = proposal[kept]
        left = left[~kept]
    second[:, MANNER] += world.traces
    return _ordered(second, first, better)


def rlcd(world: World, truth: Truth, draw: np.random.Generator) -> Pairs:
    """Samples under a better and under a worse phrase, each by itself: the distribution tilted up and down."""
    count, among = world.generations // 2, 64
    sides = []
    for sign in (1.0, -1.0):
        y = completions(draw, count, among, world.features)
        score = sign * world.tilt * truth.seen(y, world.steering_error, draw)
        picked = (score + draw.gumbel(size=score.shape)).argmax(1)  # exp(score) by the Gumbel trick
        sides.append(y[np.arange(count), picked])
        sides[-1][:, MANNER] += sign * world.traces
    return sides[0], sides[1]


def west_of_n(world: World, truth: Truth, draw: np.random.Generator) -> Pairs:
    """Best against worst of N by a base reward model; the surer half is kept, and the seed pairs with it."""
    seeds = human_pairs(world.seed_pairs, world, truth, draw)
    base = fitted(seeds)
    y = completions(draw, world.generations // world.n, world.n, world.features)
    rewards, rows = y @ base, np.arange(len(y))
    best, worst = y[rows, rewards.argmax(1)], y[rows, rewards.argmin(1)]
    margin = (best - worst) @ base
    sure = margin >= np.median(margin)
    return np.concatenate([seeds[0], best[sure]]), np.concatenate([seeds[1], worst[sure]])


METHODS: dict[str, Callable[[World, Truth, np.random.Generator], Pairs]] = {
    "people": people,
    "RLAIF": rlaif,
    "RLCD": rlcd,
    "West-of-N": west_of_n,
    "RMBoost": rmboost,
}


def fitted(pairs: Pairs, ridge: float = 1.0) -> Array:
    """The linear reward model of greatest likelihood (Bradley-Terry), by Newton's method."""
    x = pairs[0] - pairs[1]
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = sigmoid(x @ weights)
        slope = x.T @ (1 - p) - ridge * weights
        curvature = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(weights))
        step = np.linalg.solve(curvature, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    found: Array = weights
    return found


def excess_risk(weights: Array, truth: Truth, draw: np.random.Generator, pairs: int = 20_000) -> float:
    """Share of people's preferences that the model gets wrong beyond those that the truth gets wrong."""
    one, other = completions(draw, 2, pairs, len(weights))
    likely = sigmoid(truth.reward(one) - truth.reward(other))
    right = np.where((one - other) @ weights > 0, likely, 1 - likely)
    return float(np.mean(np.maximum(likely, 1 - likely) - right))


IGNORED = {
    "people": ("judge_noise", "steering_error"),
    "RLAIF": ("steering_error",),
    "RLCD": ("judge_noise",),
    "West-of-N": ("judge_noise", "steering_error"),
    "RMBoost": ("judge_noise",),
}
"""What a method does not depend on, so that it is not computed twice."""


def excess(method: str, world: World, seeds: Sequence[int]) -> list[float]:
    """Of one method, a number a seed: another truth, other completions, other labels."""
    return list(_excess(method, replace(world, **dict.fromkeys(IGNORED[method], 0.0)), tuple(seeds)))


@functools.cache
def _excess(method: str, world: World, seeds: tuple[int, ...]) -> tuple[float, ...]:
    found = []
    for seed in seeds:
        draw = np.random.default_rng([seed, list(METHODS).index(method)])
        truth = Truth.drawn(np.random.default_rng(seed), world.features)
        found.append(excess_risk(fitted(METHODS[method](world, truth, draw)), truth, draw))
    return tuple(found)


def curves(world: World, axis: str, values: Sequence[float], seeds: Sequence[int]) -> dict[str, list[Interval]]:
    """Every method's excess risk, with interval, as one field of the world varies."""
    return {
        name: [bootstrap_mean(excess(name, replace(world, **{axis: value}), seeds)) for value in values]
        for name in METHODS
    }


def difference(world: World, values: Sequence[float], seeds: Sequence[int]) -> Array:
    """Excess risk of RMBoost minus that of RLAIF: [steering error, judge noise]."""
    boosted = [np.mean(excess("RMBoost", replace(world, steering_error=s), seeds)) for s in values]
    labelled = [np.mean(excess("RLAIF", replace(world, judge_noise=v), seeds)) for v in values]
    found: Array = np.array(boosted)[:, None] - np.array(labelled)[None, :]
    return found


def plot(
    out: Path, world: World, values: Sequence[float], seeds: Sequence[int]
) -> dict[str, dict[str, list[Interval]]]:
    """Two curves and a map."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "prefboost"
    axes = {"judge_noise": "judge noise v", "steering_error": "steering error s"}
    found = {axis: curves(world, axis, values, seeds) for axis in axes}
    figure, panels = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for panel, (axis, label) in zip(panels, axes.items(), strict=False):
        for name, intervals in found[axis].items():
            _curve(panel, name, values, intervals)
        other = "s" if axis == "judge_noise" else "v"
        panel.set(xlabel=label, ylabel="excess risk, percentage points", title=f"{other} = 1")
        panel.set_ylim(bottom=0)
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    _map(figure, panels[2], values, difference(world, values, seeds))
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
    plt.close(figure)
    return found


def _curve(panel: Any, name: str, values: Sequence[float], intervals: Sequence[Interval]) -> None:
    style = "--" if name == "people" else "-"
    [line] = panel.plot(values, [100 * each.estimate for each in intervals], style, label=name)
    low, high = ([100 * getattr(each, end) for each in intervals] for end in ("low", "high"))
    panel.fill_between(values, low, high, alpha=0.2, color=line.get_color(), linewidth=0)


def _map(figure: Any, panel: Any, values: Sequence[float], differences: Array) -> None:
    most = 100 * float(np.abs(differences).max())
    image = panel.pcolormesh(values, values, 100 * differences, cmap="RdBu", vmin=-most, vmax=most, shading="nearest")
    panel.contour(values, values, differences, levels=[0.0], colors="black", linewidths=1)
    panel.plot(values, values, ":", color="grey", linewidth=1)
    panel.set(xlabel="judge noise v", ylabel="steering error s", title="RMBoost minus RLAIF (blue: RMBoost is worse)")
    figure.colorbar(image, ax=panel)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("theory_world.svg"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--generations", type=int, default=World.generations)
    parser.add_argument("--points", type=int, default=7, help="values of noise and error, from 0 to 3")
    asked = parser.parse_args(argv)
    values = [float(value) for value in np.linspace(0, 3, asked.points)]
    found = plot(asked.out, World(generations=asked.generations), values, range(asked.seeds))
    for axis, by_method in found.items():
        print(f"{axis:<16}" + "".join(f"{value:>18.1f}" for value in values))
        for name, intervals in by_method.items():
            cells = [f"{100 * at.estimate:.1f} [{100 * at.low:.1f}, {100 * at.high:.1f}]" for at in intervals]
            print(f"{name:<16}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"excess risk in percentage points, {asked.seeds} seeds, 95 % intervals; drawn: {asked.out}")


if __name__ == "__main__":
    main()
