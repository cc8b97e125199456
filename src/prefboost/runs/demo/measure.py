"""Metrics of the demo: mean score per requested goal, and log-prob change of good rejected completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from prefboost.statistics import Interval, bootstrap_difference, bootstrap_mean, bootstrap_mean_by, bootstrap_slope

__all__ = ["Following", "Unlearning", "measure_following", "measure_unlearning", "state_verdict"]


@dataclass(frozen=True)
class Following:
    """Dependence of a policy's score on the score it was asked for.

    Args:
        by_goal: goal -> mean achieved score with interval (bootstrap over prompts).
        slope: achieved points per asked-for point; 1 is perfect, 0 is deaf.
    """

    by_goal: Mapping[float, Interval]
    slope: Interval


@dataclass(frozen=True)
class Unlearning:
    """Mean change of the log-prob (nats per completion) that training brought, on well-scored rejected completions."""

    policy: str
    change: Interval


def measure_following(scored: pl.DataFrame) -> Following:
    """Measure goal-following.

    Args:
        scored: one row a completion, with ``prompt_id``, ``goal`` and ``score``.
    """
    goals, achieved, prompts = (scored[name].to_numpy() for name in ("goal", "score", "prompt_id"))
    return Following(
        bootstrap_mean_by(achieved, goals, clusters=prompts), bootstrap_slope(goals, achieved, clusters=prompts)
    )


def measure_unlearning(
    policy: str, before: Sequence[float], after: Sequence[float], prompts: Sequence[str]
) -> Unlearning:
    """Compare log-probs of the same completions before and after training.

    Args:
        policy: its name.
        before: nats under the start model.
        after: nats under the policy, in the same order.
        prompts: prompt_id of each.
    """
    return Unlearning(policy, bootstrap_mean([a - b for a, b in zip(after, before, strict=True)], clusters=prompts))


def state_verdict(
    augmented: Following, plain: Following, changes: Sequence[Unlearning], scores: Mapping[str, pl.DataFrame]
) -> tuple[bool, list[str]]:
    """Decide whether the reward-augmented policy follows its goal, and describe the figures in sentences.

    A policy follows when the interval of its slope lies above zero and above the plain policy's estimate.
    """
    slope, other = augmented.slope, plain.slope
    follows = slope.low > 0 and slope.low > other.estimate
    means = [augmented.by_goal[goal].estimate for goal in sorted(augmented.by_goal)]
    ordered = all(low <= high for low, high in pairwise(means))
    first = (
        f"The reward-augmented policy {'follows' if follows else 'does not visibly follow'} the goal: its achieved "
        f"score moves by {slope.format(signed=True)} points per point asked for; plain DPO's "
        f"by {other.format(signed=True)}."
    )
    rises = f"Its mean score {'rises' if ordered else 'does not rise'} with every step of the goal"
    spans = f"{rises} ({' → '.join(f'{mean:.1f}' for mean in means)})."
    top = max(augmented.by_goal)
    ours, theirs = (scores[name].filter(pl.col("goal") == top).sort("completion_id") for name in ("augmented", "plain"))
    gap = bootstrap_difference(
        ours["score"].to_numpy(), theirs["score"].to_numpy(), clusters=ours["prompt_id"].to_numpy()
    )
    compare = "above" if gap.low > 0 else "below" if gap.high < 0 else "not distinguishable from"
    third = f"Asked for the top score it is {compare} plain DPO: difference {gap.format(signed=True)} points."
    unlearned = "; ".join(f"{change.policy} {change.change.format(signed=True)} nats" for change in changes)
    fourth = f"Log-prob of well-scored rejected completions: {unlearned or 'there were none'}."
    return follows, [first, spans, third, fourth]
