"""Metrics of a policy that learns: rewards, accuracy per view, and changes of log-probs, overall and by score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from prefboost.losses import LossOutput, PairLogps

__all__ = ["measure_goals", "compute_view_metrics"]

VIEW_NAMES = {"chosen": "goal_high", "rejected": "goal_low"}
"""A view is named after the completion whose score is asked for; in the log it is the higher or the lower goal."""


def compute_view_metrics(
    output: LossOutput, pairs: PairLogps, batch: Mapping[str, Any], score_buckets: Sequence[float]
) -> dict[str, list[float]]:
    """Compute one number per view [V] for each metric, to be averaged over views; NaN where a metric has none of it.

    Returns:
        ``rewards/*`` and ``accuracy/*`` (accuracy: the chosen completion has the higher implicit reward), ``logps/*``
        (nats), and ``logp_change/chosen_score>=5`` etc.: log-prob minus the reference's, by the completion's score.
        ``displacement/*``, where there is a reference: change of the chosen log-prob against the reference in nats per
        completion and per token, change of the margin (nats, without beta), and the mean absolute change per token of
        both completions. ``goal/*`` as well, of pairs with a view of either goal: see `measure_goals`.
    """
    # float64, since the log averages thousands of views.
    with torch.no_grad():
        chosen, rejected = output.reward_chosen.double(), output.reward_rejected.double()
        right = (chosen > rejected).double().tolist()
        metrics: dict[str, list[float]] = {
            "rewards/chosen": chosen.tolist(),
            "rewards/rejected": rejected.tolist(),
            "rewards/margins": (chosen - rejected).tolist(),
            "rewards/accuracies": right,
            "logps/chosen": pairs.chosen.double().tolist(),
            "logps/rejected": pairs.rejected.double().tolist(),
        }
        for name in dict.fromkeys(batch["views"]):
            metrics[f"accuracy/{VIEW_NAMES.get(name, name)}"] = [
                hit if view == name else math.nan for view, hit in zip(batch["views"], right, strict=True)
            ]
        if pairs.ref_chosen is not None and pairs.ref_rejected is not None:
            change_chosen, change_rejected = pairs.ratio_chosen.double(), pairs.ratio_rejected.double()  # [V] each
            per_token_chosen = change_chosen / pairs.length_chosen.clamp(min=1)
            per_token_rejected = change_rejected / pairs.length_rejected.clamp(min=1)
            # Rewards would not do: some losses scale and shift them. No name ends in "token": the manifest has these
            # numbers, and would hide them as access tokens.
            columns = {
                "displacement/chosen": change_chosen,
                "displacement/chosen_token_mean": per_token_chosen,
                "displacement/margin": change_chosen - change_rejected,
                "displacement/distance_token_mean": (per_token_chosen.abs() + per_token_rejected.abs()) / 2,
            }
            # One copy from the device for all of them, since each waits for it.
            metrics.update(zip(columns, torch.stack(list(columns.values())).tolist(), strict=True))
            metrics.update(measure_goals(metrics["displacement/margin"], batch["unit_ids"], batch["views"]))
        for side in ("chosen", "rejected"):
            # Unlearning shows here: log-probs of well-scored rejected completions that fall below the reference's.
            if getattr(pairs, f"ref_{side}") is not None:
                change = getattr(pairs, f"ratio_{side}").tolist()
                metrics.update(
                    _group_by_score(change, batch[f"score_{side}"].tolist(), f"logp_change/{side}", score_buckets)
                )
    return metrics


def measure_goals(margins: Sequence[float], unit_ids: Sequence[str], views: Sequence[str]) -> dict[str, list[float]]:
    """Split the change of a pair's margins into a part that follows the goal and one that does not.

    Let d_g be the change of log pi(A|x, g) - log pi(B|x, g) against the reference, A the completion with the higher
    score. Under the high goal A is to win, and d_high is the margin's change there; under the low goal B is to, and
    d_low is the negative one.

    Args:
        margins: [V], change of log-prob of the view's winner less that of its loser, nats.
        unit_ids: [V], the pair of each view.
        views: [V], names.

    Returns:
        at both views of each pair that has both (NaN elsewhere), nats: ``goal/followed`` (d_high - d_low)/2, positive
        where the preference turns with the goal, and ``goal/ignored`` |d_high + d_low|/2, the size of the preference
        that is the same under both goals. Nothing where no pair has both views.
    """
    rows = {(unit, view): row for row, (unit, view) in enumerate(zip(unit_ids, views, strict=True))}
    followed, ignored = [math.nan] * len(margins), [math.nan] * len(margins)
    for (unit, view), high in rows.items():
        low = rows.get((unit, "rejected"))
        if view == "chosen" and low is not None:
            followed[high] = followed[low] = (margins[high] + margins[low]) / 2
            ignored[high] = ignored[low] = abs(margins[high] - margins[low]) / 2
    return {} if all(map(math.isnan, followed)) else {"goal/followed": followed, "goal/ignored": ignored}


def _group_by_score(
    values: Sequence[float], scores: Sequence[float], name: str, buckets: Sequence[float]
) -> dict[str, list[float]]:
    # Half-open buckets, so that every score falls into exactly one; NaN falls into none.
    edges = [-float("inf"), *sorted(buckets), float("inf")]
    numbers_by_label: dict[str, list[float]] = {}
    for low, high in pairwise(edges):
        label = (
            f"{name}_score{f'>={low:g}' if low > -float('inf') else ''}{f'<{high:g}' if high < float('inf') else ''}"
        )
        inside = [low <= score < high for score in scores]
        if any(inside):
            numbers_by_label[label] = [
                value if within else math.nan for value, within in zip(values, inside, strict=True)
            ]
    return numbers_by_label
