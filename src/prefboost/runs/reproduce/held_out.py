"""Held-out prompts of a reproduction, and measures on the completions that the file has of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from prefboost.chat.rendering import GoalRequest
from prefboost.diagnosis.agreement import correlate_rewards
from prefboost.diagnosis.log_ratios import compute_policy_ratios, open_policy_reader
from prefboost.engines.budget import UNLIMITED
from prefboost.errors import DataError, Place
from prefboost.preferences import Plain, RewardAugmented
from prefboost.preferences.draw import draw_rank, draw_share
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.progress import Tell
from prefboost.recipes.kinds import PolicyRecipe
from prefboost.recipes.recipe import Recipe
from prefboost.runs.diagnose.policy_completions import PromptMeasures, average_within_prompts
from prefboost.runs.pipelines.goal_pairs import make_recipe_pairs
from prefboost.runs.reproduce.noise import ScoreNoise, add_noise
from prefboost.runs.reproduce.settings import Reproduction
from prefboost.runs.score.questions import open_call_session
from prefboost.scoring.sides import ScoredItem, Scores, list_scored_items, read_item_scores
from prefboost.tables import Table

__all__ = [
    "SPLITS",
    "HeldOutRows",
    "make_held_out_pairs",
    "measure_pairs",
    "measure_rank_agreement",
    "hold_prompts_out",
]

VALIDATION, TEST = SPLITS = ("validation", "test")
"""Settings are chosen by the first; the second gives the verdict."""

_SEED = 20241008
"""Of the draw of held-out prompts: a constant, so that every reproduction of the same data holds out the same."""


_MOST_RANKED = 8
"""Completions of a prompt that are ranked: further ones cost a pass each, and move a correlation little."""


@dataclass(frozen=True)
class HeldOutRows:
    """Scored rows with a column ``part``: train, validation or test."""

    table: Table

    def select(self, part: str) -> Table:
        """Select the rows of a part."""
        frame = self.table.frame.filter(pl.col("part") == part).drop("part")
        return replace(self.table, frame=frame)

    def add_training_noise(self, noise: ScoreNoise) -> HeldOutRows:
        """Add the errors of a judge to the scores that are trained on; held-out rows keep the true ones."""
        trained = pl.col("part") == "train"
        noisy = add_noise(replace(self.table, frame=self.table.frame.filter(trained)), noise)
        return HeldOutRows(replace(self.table, frame=pl.concat([noisy.frame, self.table.frame.filter(~trained)])))


class HeldOutShares(Protocol):
    """Settings that say how many prompts are held out."""

    @property
    def validation(self) -> float:
        """Share of the prompts by which settings are chosen."""

    @property
    def test(self) -> float:
        """Share of the prompts that give the verdict."""

    @property
    def most_prompts(self) -> int:
        """Most prompts that are measured, of either."""


def hold_prompts_out(table: Table, settings: HeldOutShares) -> HeldOutRows:
    """Split scored rows into those to train on, and the prompts of both measurements.

    Args:
        table: ScoredCompletions or PreferencePairs.
        settings: shares, and the most prompts that are measured; rows of further held-out prompts are left out.

    Raises:
        DataError: a part has no prompt.
    """
    # By the hash of the prompt's id: a row that is added to the file moves no other prompt into another part.
    share = draw_share(_SEED, "prompt_id")
    part = (
        pl.when(share < settings.validation)
        .then(pl.lit(VALIDATION))
        .when(share < settings.validation + settings.test)
        .then(pl.lit(TEST))
        .otherwise(pl.lit("train"))
    )
    frame = table.frame.with_columns(part=part)
    parts = [frame.filter(pl.col("part") == "train")]
    for name in SPLITS:
        prompts = frame.filter(pl.col("part") == name).select("prompt_id").unique()
        chosen = prompts.sort(draw_rank(_SEED, "prompt_id")).head(settings.most_prompts)
        parts.append(frame.filter(pl.col("part") == name).join(chosen, on="prompt_id", how="semi"))
    for name, rows in zip(("train", *SPLITS), parts, strict=True):
        if rows.is_empty():
            raise DataError(
                f"no prompt is left for {name}, of {table.frame['prompt_id'].n_unique():,}",
                remedy="give more prompts, or other shares: validation=0.2 test=0.2",
                place=Place(table.path),
            )
    return HeldOutRows(replace(table, frame=pl.concat(parts)))


def make_held_out_pairs(rows: Table, base: Recipe, recipe: PolicyRecipe, stated: StatedGoals | None) -> Table:
    """Make goal pairs of held-out rows: both goals of every pair for arms that ask, plain pairs for the others.

    Args:
        rows: of a split, with the scores of the file.
        base: the reward-augmented recipe; its relabelling of whole data serves all arms that ask.
        recipe: of the arm; its scale, place and wording are taken.
        stated: how goals stand in the pairs that the arm was trained on; None: it does not ask.
    """
    assert isinstance(base.relabel, RewardAugmented)
    relabel = recipe.relabel if isinstance(recipe.relabel, RewardAugmented) else RewardAugmented()
    whole = {"fraction": 1.0, "goals": "own", "grid": (), "aspects": relabel.aspects, "weights": relabel.weights}
    both = base.relabel.model_copy(update=whole)
    relabelling = Plain(like=both) if stated is None else both
    say = recipe.condition if stated is None else stated.say
    # Implicit rewards and scores of own samples have a scale of their own, which maps no score of the file.
    fitted = None if stated is None or not isinstance(recipe, Recipe) else stated.scales
    measured = recipe.model_copy(update={"condition": say, "relabel": relabelling})
    return make_recipe_pairs(measured, rows, None, fitted or None)


def measure_pairs(pairs: Table, model: str, settings: Reproduction, store: Path, tell: Tell) -> PromptMeasures:
    """Measure a policy on held-out goal pairs; no judge is needed.

    Args:
        pairs: GoalPairs with goals in their prompts, or plain ones.
        model: the policy.
        settings: start model, quantile of good completions.
        store: folder that keeps the log-probs; those of the start model serve all cells.
        tell: is told the progress.

    Returns:
        per prompt: ``goal_accuracy``, the share of goal pairs, both goals, in which the implicit reward prefers the
        winner (of arms that ask); ``pair_accuracy``, the same where the chosen completion wins; and in nats the change
        of the log-prob of ``good_rejected`` and ``good_chosen`` completions, asked for as it was trained: by an arm
        that asks under the completion's own score.
    """
    frame = pairs.frame
    items = [
        ScoredItem(at, side, row["prompt"], row[side], False)
        for at, row in enumerate(frame.select("prompt", "chosen", "rejected").iter_rows(named=True))
        for side in ("chosen", "rejected")
    ]
    start = settings.start_model
    # Goals stand in these prompts already, so that the template is told to add none.
    encoded = open_policy_reader(model, start).encode(items, Scores())
    with open_call_session(None, store, UNLIMITED, tell) as session:
        ratios = compute_policy_ratios(start, {model: list(encoded.values())}, session)[model]
    changes = dict(zip(encoded, ratios.tolist(), strict=True))
    both = [(at, changes.get((at, "chosen")), changes.get((at, "rejected"))) for at in range(frame.height)]
    scores = np.concatenate([frame["score_chosen"].to_numpy(), frame["score_rejected"].to_numpy()])
    good = float(np.nanquantile(scores, settings.good))
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (_, winner, loser), row in zip(
        both, frame.select("prompt_id", "view", "score_chosen", "score_rejected").iter_rows(named=True), strict=True
    ):
        if winner is None or loser is None:
            continue
        prompt, view = row["prompt_id"], row["view"]
        right = float(winner > loser)
        if view != "plain":
            values["goal_accuracy"][prompt].append(right)
        if view != "rejected":
            values["pair_accuracy"][prompt].append(right)
            if row["score_chosen"] >= good:
                values["good_chosen"][prompt].append(winner)
        # The completion that the pair rejects: under its own goal it wins, so that it stands on the chosen side there.
        if view == "rejected" and row["score_chosen"] >= good:
            values["good_rejected"][prompt].append(winner)
        if view == "plain" and row["score_rejected"] >= good:
            values["good_rejected"][prompt].append(loser)
    return average_within_prompts(values)


def measure_rank_agreement(
    rows: Table, model: str, top: GoalRequest, settings: Reproduction, store: Path, tell: Tell
) -> PromptMeasures:
    """Correlate a policy's implicit reward with the scores of held-out completions; no judge is needed.

    Args:
        rows: of a split, with the scores of the file.
        model: the policy.
        top: the score, or score per aspect, that it is asked for; None: nothing is asked for.
        settings: start model.
        store: folder that keeps the log-probs.
        tell: is told the progress.

    Returns:
        per prompt ``rank_correlation`` and ``rank_at_equal_length``, whose means over prompts are the correlations
        (see `prefboost.statistics.within_ranks.PooledRanks`).
    """
    frame = rows.frame.filter(pl.int_range(pl.len()).over("prompt_id") < _MOST_RANKED)
    table = replace(rows, frame=frame)
    items = list_scored_items(table)
    score_of = {(item.row, item.side): score for item, score in zip(items, read_item_scores(table, items), strict=True)}
    start = settings.start_model
    encoded = open_policy_reader(model, start).encode(items, Scores(), lambda _: top)
    usable = [key for key in encoded if score_of[key] is not None]
    if not usable:
        return {}
    with open_call_session(None, store, UNLIMITED, tell) as session:
        ratios = compute_policy_ratios(start, {model: [encoded[key] for key in usable]}, session)[model]
    raw, partial = correlate_rewards(
        ratios.tolist(),
        [score_of[key] or 0.0 for key in usable],
        [len(encoded[key][1]) for key in usable],
        [frame["prompt_id"][row] for row, _ in usable],
    )
    measures = {"rank_correlation": dict(raw.by_group), "rank_at_equal_length": dict(partial.by_group)}
    return {name: values for name, values in measures.items() if values}
