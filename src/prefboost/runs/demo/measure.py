"""Metrics of the demo: score per requested goal, score against KL, and log-prob change of good answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from prefboost.runs.demo.arms import Arm
from prefboost.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_mean_by,
    bootstrap_slope,
    bootstrap_slope_difference,
    match_means,
)

__all__ = [
    "GoalDependence",
    "SlopeGap",
    "TopScore",
    "Unlearning",
    "measure_following",
    "measure_slope_gap",
    "measure_top",
    "measure_unlearning",
    "state_verdict",
]


@dataclass(frozen=True)
class GoalDependence:
    """Dependence of a policy's score on the score it was asked for.

    Args:
        by_goal: goal -> mean proxy score with interval (bootstrap over prompts).
        slope: achieved points per asked-for point; 1 is perfect, 0 is deaf.
        gold_by_goal: goal -> mean gold score with interval.
        gold_slope: the same as ``slope``, of the gold score.
    """

    by_goal: Mapping[float, Interval]
    slope: Interval
    gold_by_goal: Mapping[float, Interval]
    gold_slope: Interval


@dataclass(frozen=True)
class SlopeGap:
    """Slope of the augmented policy less that of plain DPO, on the same prompts and goals.

    Args:
        proxy: in achieved points per asked-for point, of the proxy score.
        gold: the same, of the gold score.
    """

    proxy: Interval
    gold: Interval


@dataclass(frozen=True)
class TopScore:
    """Answers of a policy that is asked for the top goal.

    Args:
        arm: the policy.
        proxy: mean proxy score.
        gold: mean gold score.
        kl: estimated KL to the start model, nats per answer: mean log-prob under the policy less that under the start
            model, of the policy's own answers.
    """

    arm: Arm
    proxy: Interval
    gold: Interval
    kl: Interval


@dataclass(frozen=True)
class Unlearning:
    """Mean change of the log-prob (nats per completion) that training brought, on good answers no pair chose."""

    policy: str
    change: Interval


def measure_following(scored: pl.DataFrame) -> GoalDependence:
    """Measure goal-following.

    Args:
        scored: one row per completion, with ``prompt_id``, ``goal``, ``score`` (proxy) and ``gold``.
    """
    goals, proxy, gold, prompts = (scored[name].to_numpy() for name in ("goal", "score", "gold", "prompt_id"))
    return GoalDependence(
        bootstrap_mean_by(proxy, goals, clusters=prompts),
        bootstrap_slope(goals, proxy, clusters=prompts),
        bootstrap_mean_by(gold, goals, clusters=prompts),
        bootstrap_slope(goals, gold, clusters=prompts),
    )


def measure_slope_gap(augmented: pl.DataFrame, plain: pl.DataFrame) -> SlopeGap:
    """Measure how much more the augmented policy follows its goal than plain DPO does.

    Args:
        augmented: its answers, with ``prompt_id``, ``goal``, ``score`` (proxy) and ``gold``.
        plain: those of plain DPO, to the same prompts and goals.

    Raises:
        DataError: a prompt was asked for a goal of one policy only.
    """
    gaps = {}
    for column in ("score", "gold"):
        # Means per prompt and goal: answers of two policies have nothing else in common.
        keyed = [
            (list(zip(frame["prompt_id"], frame["goal"], strict=True)), frame[column].to_numpy())
            for frame in (augmented, plain)
        ]
        keys, ours, theirs = match_means(*keyed)
        prompts, goals = zip(*keys, strict=True)
        gaps[column] = bootstrap_slope_difference(goals, ours, theirs, clusters=prompts)
    return SlopeGap(proxy=gaps["score"], gold=gaps["gold"])


def measure_top(
    arm: Arm, answers: pl.DataFrame, policy_logps: Sequence[float], start_logps: Sequence[float]
) -> TopScore:
    """Measure a policy at the top goal.

    Args:
        arm: the policy.
        answers: N rows with ``prompt_id``, ``score`` (proxy) and ``gold``, all asked for the top goal.
        policy_logps: N log-probs of these answers under the policy, nats.
        start_logps: N log-probs under the start model, same prompts.
    """
    prompts = answers["prompt_id"].to_numpy()
    return TopScore(
        arm,
        bootstrap_mean(answers["score"].to_numpy(), clusters=prompts),
        bootstrap_mean(answers["gold"].to_numpy(), clusters=prompts),
        bootstrap_difference(policy_logps, start_logps, clusters=prompts),
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
    followings: Mapping[str, GoalDependence],
    gap: SlopeGap,
    tops: Sequence[TopScore],
    changes: Sequence[Unlearning],
    scores: Mapping[str, pl.DataFrame],
    start: Mapping[str, float],
) -> tuple[bool, list[str]]:
    """Decide whether the reward-augmented policy follows its goal, and describe the figures in sentences.

    A policy follows when its slope, in the score that it is trained on, and that slope less the plain policy's on the
    same prompts both have intervals above zero.

    Args:
        followings: ``augmented`` and ``plain`` -> how each depends on the goal, at the tuned beta.
        gap: how much more the augmented one depends on it.
        tops: every policy at the top goal.
        changes: log-prob changes, one per policy.
        scores: key of an arm -> its scored answers.
        start: mean ``proxy`` and ``gold`` score of the start model, not asked for a goal.
    """
    augmented, plain = followings["augmented"], followings["plain"]
    follows = augmented.slope.low > 0 and gap.proxy.low > 0
    means = [augmented.by_goal[goal].estimate for goal in sorted(augmented.by_goal)]
    ordered = all(low <= high for low, high in pairwise(means))
    sentences = [
        f"The reward-augmented policy {'follows' if follows else 'does not visibly follow'} the goal: per point asked "
        f"for, its proxy score moves by {augmented.slope.format(signed=True)} points (plain DPO: "
        f"{plain.slope.format(signed=True)}, difference on the same prompts {gap.proxy.format(signed=True)}) and its "
        f"gold score by {augmented.gold_slope.format(signed=True)} (plain DPO: {plain.gold_slope.format(signed=True)}, "
        f"difference {gap.gold.format(signed=True)}).",
        f"Its mean proxy score {'rises' if ordered else 'does not rise'} with every step of the goal "
        f"({' → '.join(f'{mean:.1f}' for mean in means)}).",
    ]
    goal = max(augmented.by_goal)
    for ours in (top for top in tops if top.arm.kind == "augmented"):
        theirs = next(top for top in tops if top.arm.kind == "plain" and top.arm.small == ours.arm.small)
        sentences.append(_compare_tops(ours, theirs, goal, scores))
    best = max(tops, key=lambda top: top.gold.estimate)
    gain = (
        "above"
        if best.gold.low > start["gold"]
        else "below"
        if best.gold.high < start["gold"]
        else "not distinguishable from"
    )
    sentences.append(
        f"Highest gold score at the top goal: {best.arm.name}, {best.gold.format()}; that is {gain} the start model "
        f"without a goal ({start['gold']:.2f}). Highest proxy score: "
        f"{max(tops, key=lambda top: top.proxy.estimate).arm.name}."
    )
    unlearned = "; ".join(f"{change.policy}: {change.change.format(signed=True)} nats" for change in changes)
    outcome = f"change of their log-prob: {unlearned}" if changes else "there were none"
    sentences.append(f"Good answers that no pair chose: {outcome}.")
    return follows, sentences


def _compare_tops(ours: TopScore, theirs: TopScore, goal: float, scores: Mapping[str, pl.DataFrame]) -> str:
    """Compare augmented and plain DPO of one beta on the same prompts, by gold and by proxy."""
    mine, other = (scores[top.arm.key].filter(pl.col("goal") == goal).sort("completion_id") for top in (ours, theirs))
    gaps = {
        name: bootstrap_difference(mine[name].to_numpy(), other[name].to_numpy(), clusters=mine["prompt_id"].to_numpy())
        for name in ("gold", "score")
    }
    gold = gaps["gold"]
    compare = "above" if gold.low > 0 else "below" if gold.high < 0 else "not distinguishable from"
    return (
        f"At beta {ours.arm.beta:g}, asked for the top score, the reward-augmented policy is {compare} "
        f"plain DPO in gold score: difference {gold.format(signed=True)} points (proxy: "
        f"{gaps['score'].format(signed=True)}), at a KL to the start of {ours.kl.estimate:.1f} against "
        f"{theirs.kl.estimate:.1f} nats."
    )
