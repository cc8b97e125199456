"""How often intervals of a win rate hold the true one, where prompts differ in how hard they are.

    python benchmarks/interval_coverage.py [--simulations 500] [--prompts 120]

Each prompt has a chance of its own to be won, and is judged in both orders by a judge that leans to one place; verdicts
of "much better" count three times. The truth is the mean of a million prompts.
"""

from __future__ import annotations

import argparse

import numpy as np

from prefboost.evaluation.arena_hard_games import ArenaRules, Game
from prefboost.evaluation.arena_hard_scores import arena_scores
from prefboost.statistics import Bootstrap

LABELS = ("B>>A", "B>A", "A>B", "A>>B")
"""Of game 1, in which the model is B: won by far, won, lost, lost by far."""
SWAPPED = {"B>>A": "A>>B", "B>A": "A>B", "A>B": "B>A", "A>>B": "B>>A"}


def drawn(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """Places in `LABELS` of both games of every prompt [prompts, 2]."""
    ease = rng.normal(0.3, 1.5, prompts)[:, None] + np.array([0.3, -0.3])
    won = rng.random((prompts, 2)) < 1 / (1 + np.exp(-ease))
    much = rng.random((prompts, 2)) < 0.2 + 0.5 * (np.abs(ease) > 1)
    return np.where(won, np.where(much, 0, 1), np.where(much, 3, 2))


def rate(places: np.ndarray) -> float:
    """The weighted win rate, in percent."""
    weights = np.where((places == 0) | (places == 3), 3, 1)
    return 100 * float((weights * (places < 2)).sum() / weights.sum())


def games(places: np.ndarray) -> list[Game]:
    """As a judge's verdicts."""
    found = []
    for at, (one, other) in enumerate(places):
        found.append(Game(f"q{at}", "m", 1, LABELS[one], "hard_prompt"))
        found.append(Game(f"q{at}", "m", 2, SWAPPED[LABELS[other]], "hard_prompt"))
    return found


def main() -> None:
    """Print the share of intervals that hold the truth, and their mean width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--prompts", type=int, default=120)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    truth = rate(drawn(rng, 1_000_000))
    rules = {
        "official v0.1 (95 %)": ArenaRules(mode="official", version="v0.1", baseline="b"),
        "official v2.0 (90 %)": ArenaRules(mode="official", baseline="b"),
        "robust (95 %)": ArenaRules(baseline="b", interval=Bootstrap(resamples=400)),
    }
    held, widths = dict.fromkeys(rules, 0), dict.fromkeys(rules, 0.0)
    for _ in range(options.simulations):
        own = games(drawn(rng, options.prompts))
        for name, rule in rules.items():
            found = arena_scores(own, rule)[0].win_rate
            if found is None:
                raise SystemExit("no verdict is missing, and yet a win rate is withheld")
            held[name] += found.low <= truth <= found.high
            widths[name] += found.high - found.low
    print(f"true win rate {truth:.2f}, {options.simulations} simulations of {options.prompts} prompts in both orders")
    for name in rules:
        share = held[name] / options.simulations
        print(f"{name:<22} holds it in {share:.1%}, mean width {widths[name] / options.simulations:.2f} points")


if __name__ == "__main__":
    main()
