"""See in a minute what a small beta does to plain DPO and to reward-augmented training, in a world with known truth.

    python examples/goal_world.py [--seeds 2] [--betas 0.01 1.0]

A cut of `benchmarks/goal_world.py`, whose parts it uses: small transformers write ten words on a topic, a judge counts
the topic's good words, pairs are relabelled by prefboost and trained on with its losses. All seeds train at once. For
more arms, betas and judges, and for intervals that mean something, run the benchmark.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from goal_world_arms import ARMS, Cell, build_ground, train_cell
from goal_world_model import pretrain
from goal_world_truth import World, draw_truths


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--betas", type=float, nargs="*", default=[0.01, 1.0])
    parser.add_argument(
        "--steps", type=int, nargs="*", default=[100, 400], help="checkpoints; the last ends a training"
    )
    parser.add_argument("--start-steps", type=int, default=1500, help="steps of the start models")
    parser.add_argument("--pairs", type=int, default=World.pairs)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)  # the matrices are too small to be shared out

    seeds = list(range(options.seeds))
    truths, topics = draw_truths(seeds)
    print("training the start models ...", flush=True)
    *_, (_, _, start) = pretrain(truths, seeds, options.start_steps)
    world = World(pairs=options.pairs)
    ground = build_ground(world, truths, topics, start, seeds)

    print(f"{'arm':<24}{'beta':>6}{'steps':>7}{'score':>8}{'KL':>7}{'good rejected':>15}   asked for 1, 4, 7")
    for beta in options.betas:
        for arm in ("dpo", "ra"):
            cell = Cell("main", arm, beta, tuple(options.steps), 1e-3, world)
            for step, found in train_cell(cell, ground).items():
                score, divergence = (np.mean(found["test"][figure]) for figure in ("gold", "kl"))
                asked = [f"{np.mean(scores):.1f}" for scores in (found["goals"] or {}).values()]
                line = f"{ARMS[arm].title:<24}{beta:>6g}{step:>7}{score:>8.2f}{divergence:>7.1f}"
                print(f"{line}{np.mean(found['good_rejected'] or np.nan):>15.1f}   {', '.join(asked)}", flush=True)
    print("score: 1 to 10, held-out topics, asked for 10 (DPO: not asked); KL to the start model and the change of the")
    print("log-prob of good rejected answers in nats")


if __name__ == "__main__":
    main()
