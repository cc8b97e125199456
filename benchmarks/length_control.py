"""Scoring stored verdicts with an interval of the whole length-controlled procedure, against the naive loop.

    python benchmarks/length_control.py [--prompts 805] [--resamples 1000] [--threads 2] [--naive 3]

The naive loop draws rows and fits each resample by scikit-learn's LogisticRegressionCV, as upstream fits one
model (extra eval); it runs for a few resamples and is scaled up. Data are drawn, in the shape of AlpacaEval's.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from prefboost.evaluation.alpaca.liblinear import length_control_liblinear
from prefboost.statistics import Bootstrap, GamedRows, LengthRows, estimate_length_control


def drawn(prompts: int) -> LengthRows:
    rng = np.random.default_rng(0)
    longer, harder = rng.normal(-200, 700, prompts), rng.normal(0, 1, prompts)
    shares = 1 / (1 + np.exp(longer / 700 - harder + 0.5 - rng.normal(0, 2, prompts)))
    gamed = GamedRows(rng.uniform(size=2 * prompts), rng.normal(0, 1, 2 * prompts), np.tile(harder, 2))
    return LengthRows(shares, longer, harder, gamed)


def naive(rows: LengthRows, resamples: int) -> None:
    """Rows drawn one by one, each fitted from the start."""
    rng = np.random.default_rng(1)
    count = len(np.asarray(rows.shares))
    for _ in range(resamples):
        at = rng.integers(count, size=count)
        shares, longer, harder = (np.asarray(one)[at] for one in (rows.shares, rows.length_deltas, rows.difficulty))
        length_control_liblinear(LengthRows(shares, longer, harder, rows.gamed))


def main() -> None:
    """Print seconds of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=805)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--naive", type=int, default=3)
    options = parser.parse_args()
    rows = drawn(options.prompts)
    began = time.perf_counter()
    interval, error = estimate_length_control(rows, Bootstrap(resamples=options.resamples), options.threads)
    ours = time.perf_counter() - began
    print(f"{options.prompts} verdicts, {options.resamples} resamples, {options.threads} threads: {ours:.1f} s")
    print(f"length-controlled share {interval}, error {error:.4f}")
    if options.naive:
        began = time.perf_counter()
        naive(rows, options.naive)
        each = (time.perf_counter() - began) / options.naive
        print(
            f"naive loop: {each:.2f} s a resample, {each * options.resamples:.0f} s in all ({options.naive} measured)"
        )


if __name__ == "__main__":
    main()
