"""How often intervals hold the true figure, where prompts differ in how hard they are and a judge leans to one place.

    python benchmarks/interval_coverage.py [--simulations 300] [--prompts 60] [--resamples 200]
        [--worlds raw own form strength] [--seed 1] [--figure FILE.svg]

Three figures, each with the interval that is published elsewhere and with ours, which draws prompts whole and does
the whole procedure again: the raw win rate (Arena-Hard), the length-controlled one (AlpacaEval 2, on own prompts and
with difficulties and gamed rows) and Bradley-Terry with length held equal. Every prompt has a chance of its own to be
won and is judged in both orders; verdicts of "much better" count three times. The truth is the same procedure on very
many prompts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prefboost.evaluation.arena_hard.judging import ArenaRules, compute_share
from prefboost.evaluation.arena_hard.scores import score_categories
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.reporting.figures import plot_coverage
from prefboost.statistics import (
    Battles,
    Bootstrap,
    GamedRows,
    Interval,
    LengthRows,
    bootstrap_mean,
    estimate_length_control,
    estimate_win_rates,
    fit_bradley_terry,
    fit_length_control,
)

LABELS = ("B>>A", "B>A", "A>B", "A>>B")
"""Of game 1, in which the model is B: won by far, won, lost, lost by far."""
SWAPPED = {"B>>A": "A>>B", "B>A": "A>B", "A>B": "B>A", "A>>B": "B>>A"}
MANY = 200_000
LEAN = np.array([0.3, -0.3])
"""What the judge adds where the model stands second, and first (log-odds)."""

Ends = tuple[float, float]
Drawn = Callable[[np.random.Generator], Mapping[str, Sequence[Ends]]]


@dataclass(frozen=True)
class World:
    """Where a truth is known.

    Args:
        name: what is measured.
        truth: of every model, 0..100.
        intervals: draws prompts and verdicts, and gives for every kind of interval one of each model, 0..100.
    """

    name: str
    truth: Sequence[float]
    intervals: Drawn


def sigmoid(odds: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * odds))


def drawn(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """Places in `LABELS` of both games of every prompt [prompts, 2]."""
    ease = rng.normal(0.3, 1.5, prompts)[:, None] + LEAN
    won = rng.random((prompts, 2)) < sigmoid(ease)
    much = rng.random((prompts, 2)) < 0.2 + 0.5 * (np.abs(ease) > 1)
    return np.where(won, np.where(much, 0, 1), np.where(much, 3, 2))


def rate(places: np.ndarray) -> float:
    """The weighted win rate, in percent."""
    weights = np.where((places == 0) | (places == 3), 3, 1)
    return 100 * float((weights * (places < 2)).sum() / weights.sum())


def games(places: np.ndarray) -> list[JudgeVerdict]:
    """As a judge's verdicts."""
    verdicts = []
    for at, (first, second) in enumerate(places):
        for game, label in ((1, LABELS[first]), (2, SWAPPED[LABELS[second]])):
            facts = {"category": "hard_prompt", "game": game, "label": label}
            verdicts.append(JudgeVerdict(f"q{at}", "m", f"game {game}", compute_share(label, game), facts))
    return verdicts


def raw_world(prompts: int, how: Bootstrap) -> World:
    """The weighted win rate of Arena-Hard."""
    rules = {
        "Arena-Hard v0.1": ArenaRules(mode="official", version="v0.1", baseline="b"),
        "Arena-Hard v2.0 (its 90 %)": ArenaRules(mode="official", baseline="b"),
        "ours": ArenaRules(baseline="b", interval=how),
    }

    def intervals(rng: np.random.Generator) -> dict[str, list[Ends]]:
        own = games(drawn(rng, prompts))
        found = {name: score_categories(own, rule)[0].figures[0].value for name, rule in rules.items()}
        return {name: [(value.low, value.high)] for name, value in found.items() if value is not None}

    return World("raw win rate", [rate(drawn(np.random.default_rng(0), 1_000_000))], intervals)


def length_rows(rng: np.random.Generator, prompts: int, gamed: GamedRows | None) -> LengthRows:
    """Both orders of every prompt; a judge that likes length and its second place, and is mostly sure."""
    harder, longer, own = rng.normal(size=(3, prompts))
    odds = 0.5 + harder + own - 1.5 * np.tanh(longer - 0.3)
    shares = sigmoid(2 * (odds[:, None] + LEAN + rng.normal(0, 0.5, (prompts, 2)))).reshape(-1)
    return LengthRows(
        shares,
        np.repeat(700 * (longer - 0.3), 2),
        None if gamed is None else np.repeat(harder, 2),
        gamed,
        np.repeat(np.arange(prompts), 2),
    )


def length_world(prompts: int, how: Bootstrap, *, gamed: bool) -> World:
    """The length-controlled win rate: the minimal form, or with difficulties and gamed rows."""
    beside = gamed_rows(prompts) if gamed else None
    scaled = None if beside is None else replace(beside, weight=beside.weight * MANY / prompts)
    whole = fit_length_control(length_rows(np.random.default_rng(0), MANY, scaled), 1e4)

    def intervals(rng: np.random.Generator) -> dict[str, list[Ends]]:
        rows = length_rows(rng, prompts, beside)
        value, _ = estimate_length_control(rows, how)
        own: dict[str, list[Ends]] = {"ours": [(100 * value.low, 100 * value.high)]}
        if beside is None:  # without difficulties all predictions are one number, and the published error is 0
            return own
        half = 1.96 * fit_length_control(rows).upstream_error
        return {"AlpacaEval's error": [(100 * (value.estimate - half), 100 * (value.estimate + half))], **own}

    form = "AlpacaEval's form" if gamed else "own prompts"
    return World(f"length-controlled, {form}", [100 * whole.share], intervals)


def gamed_rows(prompts: int) -> GamedRows:
    """A baseline that was made long, and one that was made short; of a fifth of a prompt's weight, as published."""
    rng, prompts = np.random.default_rng(1), max(1, prompts // 5)
    lengths = np.concatenate([rng.normal(1, 0.5, prompts), rng.normal(-1, 0.5, prompts)])
    harder = np.tile(rng.normal(size=prompts), 2)
    return GamedRows(sigmoid(-1.5 * np.tanh(lengths) + rng.normal(0, 1, 2 * prompts)), lengths, harder, 0.5)


def battles(rng: np.random.Generator, prompts: int, models: Sequence[float]) -> Battles:
    """Every model against the baseline, both orders of every prompt; the judge likes length."""
    shape = (len(models), prompts, 2)
    longer = np.tanh(rng.normal(0.3, 1, (len(models), prompts, 1)))
    ease = rng.normal(0, 1, prompts)[None, :, None] + rng.normal(0, 1, shape[:2])[:, :, None]
    odds = np.array(models)[:, None, None] + ease + longer + LEAN
    much = np.abs(odds) > 1.5
    names = np.broadcast_to(np.arange(len(models))[:, None, None], shape).reshape(-1)
    return Battles(
        [f"m{name}" for name in names],
        ["b"] * names.size,
        (rng.random(shape) < sigmoid(odds)).reshape(-1).astype(float),
        np.where(much, 3.0, 1.0).reshape(-1),
        np.broadcast_to(np.arange(prompts)[None, :, None], shape).reshape(-1),
        {"length": np.broadcast_to(longer, shape).reshape(-1)},
    )


def rows_alone(told: Battles) -> Battles:
    """Rows drawn one by one, those of much better three times, as if they were independent."""
    times = np.asarray(told.weights).astype(int)
    return Battles(
        np.repeat(told.first, times).tolist(),
        np.repeat(told.second, times).tolist(),
        np.repeat(told.won, times),
        style={"length": np.repeat(told.style["length"], times)},
    )


def strength_world(prompts: int, how: Bootstrap) -> World:
    """Bradley-Terry with length held equal, three models."""
    models = (-0.7, 0.0, 0.8)
    whole = fit_bradley_terry(battles(np.random.default_rng(0), MANY // 4, models), "b")
    names = [f"m{at}" for at in range(len(models))]

    def intervals(rng: np.random.Generator) -> dict[str, list[Ends]]:
        told = battles(rng, prompts, models)
        # The published number of resamples: with more of them rows that are drawn singly hold the truth as rarely.
        kinds = {"rows drawn singly": (rows_alone(told), Bootstrap(resamples=100)), "ours": (told, how)}
        found = {name: estimate_win_rates(own, "b", how=drawing) for name, (own, drawing) in kinds.items()}
        return {name: [(100 * own[model].low, 100 * own[model].high) for model in names] for name, own in found.items()}

    return World("Bradley-Terry, style held equal", [100 * whole.win_rate(name) for name in names], intervals)


def measured(world: World, simulations: int, seed: int = 1) -> dict[str, tuple[Interval, float]]:
    """Kind of interval -> share of those that hold the truth, with its interval over simulations, and mean width."""
    rng = np.random.default_rng(seed)
    held: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for _ in range(simulations):
        for name, found in world.intervals(rng).items():
            held.setdefault(name, []).extend(
                low <= true <= high for (low, high), true in zip(found, world.truth, strict=True)
            )
            widths.setdefault(name, []).extend(high - low for low, high in found)
    labels = np.repeat(np.arange(simulations), len(world.truth))
    return {name: (bootstrap_mean(own, clusters=labels), float(np.mean(widths[name]))) for name, own in held.items()}


def main() -> None:
    """Print the share of intervals that hold the truth, and their mean width; draw both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=300)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--resamples", type=int, default=200, help="of our own intervals")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", nargs="*", choices=("raw", "own", "form", "strength"), help="all if not given")
    parser.add_argument("--figure", type=Path, help="an SVG to draw")
    options = parser.parse_args()
    how = Bootstrap(resamples=options.resamples)
    worlds: dict[str, Callable[[], World]] = {
        "raw": lambda: raw_world(options.prompts, how),
        "own": lambda: length_world(options.prompts, how, gamed=False),
        "form": lambda: length_world(options.prompts, how, gamed=True),
        "strength": lambda: strength_world(options.prompts, how),
    }
    print(
        f"{options.simulations} simulations of {options.prompts} prompts in both orders, {options.resamples} resamples"
    )
    shown: dict[str, dict[str, Interval]] = {}
    for name in options.worlds or worlds:
        began = time.process_time()
        world = worlds[name]()
        print(f"{world.name}: truth {', '.join(f'{one:.2f}' for one in world.truth)} %", flush=True)
        for kind, (share, width) in measured(world, options.simulations, options.seed).items():
            ends = f"[{100 * share.low:.1f}, {100 * share.high:.1f}]"
            print(f"  {kind:<31} holds it in {100 * share.estimate:.1f} % {ends}, mean width {width:.2f} points")
            shown.setdefault(world.name, {})[kind] = share.scale(100)
        print(f"  {time.process_time() - began:.0f} s of one core", flush=True)
        if options.figure:
            options.figure.write_text(plot_coverage(shown, good=(93, 97), nominal=95), encoding="utf-8")


if __name__ == "__main__":
    main()
