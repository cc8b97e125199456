"""Held-out prompts of a reproduction, and measures on them: log-probs of their completions, and new completions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from prefboost.chat.rendering import ChatEncoder
from prefboost.engines.budget import UNLIMITED
from prefboost.engines.local.engine import Local
from prefboost.errors import DataError, Place
from prefboost.preferences import Plain, RewardAugmented
from prefboost.preferences.draw import draw_rank, draw_share
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.progress import Tell
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.recipe import Recipe
from prefboost.runs.generate.generate import generate
from prefboost.runs.generate.settings import Generate
from prefboost.runs.pipelines.goal_pairs import make_recipe_pairs
from prefboost.runs.reproduce.arms import ArmRecipe
from prefboost.runs.reproduce.settings import Reproduction
from prefboost.runs.score.questions import open_desk
from prefboost.runs.score.score import score
from prefboost.scoring.sequence_logps import LogprobModel, compute_log_ratios, encode_items
from prefboost.scoring.sides import ScoredItem, Scores
from prefboost.tables import PROMPTS, Step, Table

__all__ = ["SPLITS", "HeldOutRows", "make_held_out_pairs", "measure_completions", "measure_pairs", "hold_prompts_out"]

VALIDATION, TEST = SPLITS = ("validation", "test")
"""Settings are chosen by the first; the second gives the verdict."""

_SEED = 20241008
"""Of the draw of held-out prompts: a constant, so that every reproduction of the same data holds out the same."""

Values = dict[str, dict[str, float]]
"""Measure -> prompt_id -> value."""


@dataclass(frozen=True)
class HeldOutRows:
    """Scored rows with a column ``part``: train, validation or test."""

    table: Table

    def select(self, part: str) -> Table:
        """Select the rows of a part."""
        frame = self.table.frame.filter(pl.col("part") == part).drop("part")
        return replace(self.table, frame=frame)


def hold_prompts_out(table: Table, settings: Reproduction) -> HeldOutRows:
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


def make_held_out_pairs(rows: Table, base: Recipe, recipe: ArmRecipe, stated: StatedGoals | None) -> Table:
    """Make goal pairs of held-out rows: both goals of every pair for arms that ask, plain pairs for the others.

    Args:
        rows: of a split, with the scores of the file.
        base: the reward-augmented recipe; its relabelling of whole data serves all arms that ask.
        recipe: of the arm; its scale, place and wording are taken.
        stated: how goals stand in the pairs that the arm was trained on; None: it does not ask.
    """
    assert isinstance(base.relabel, RewardAugmented)
    both = base.relabel.model_copy(update={"fraction": 1.0, "goals": "own", "grid": ()})
    relabelling = Plain(like=both) if stated is None else both
    say = recipe.condition if stated is None else stated.say
    # Implicit rewards have a scale of their own, which maps no score of the file.
    fitted = None if stated is None or isinstance(recipe, ImplicitRewards) else stated.scales
    measured = recipe.model_copy(update={"condition": say, "relabel": relabelling})
    return make_recipe_pairs(measured, rows, None, fitted or None)


def measure_pairs(pairs: Table, model: str, settings: Reproduction, store: Path, tell: Tell) -> Values:
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
    # Goals stand in these prompts already, so that the template is told to add none.
    changes = _compare_log_probs(items, [None] * len(items), model, settings, store, tell)
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
    return _average(values)


def measure_completions(
    rows: Table, model: str, top: float | None, settings: Reproduction, folder: Path, tell: Tell
) -> Values:
    """Let a policy complete held-out prompts and score what it wrote.

    Args:
        rows: of a split.
        model: the policy.
        top: the score that it is asked for; None: nothing is asked for.
        settings: scorer, sampling, start model.
        folder: of the completions and their scores; an interrupted measurement goes on.
        tell: is told the progress.

    Returns:
        per prompt: ``score``, ``tokens`` of a completion, and ``kl``: log-prob under the policy minus that under the
        start model, in nats per completion (an estimate of the KL divergence, as the policy wrote them).
    """
    assert settings.scorer is not None
    folder.mkdir(parents=True, exist_ok=True)
    columns = [column.name for column in PROMPTS.columns if column.name in rows.frame.columns]
    frame = rows.frame.select(columns).unique("prompt_id", keep="first", maintain_order=True)
    prompts = rows.derive(PROMPTS, frame, Step("prompts", {}, len(rows), frame.height), scales={})
    goals = () if top is None else (top,)
    how = Generate(
        engine=Local(model=model), sampling=settings.sampling, n=settings.samples, goals=goals, silent=top is None
    )
    completions = generate(prompts, how, folder / "completions.parquet", progress=tell)
    scored = score(completions, settings.scorer, folder / "scored.parquet", progress=tell).frame
    items = [
        ScoredItem(at, "completion", row["prompt"], row["completion"], row["finish_reason"] == "length")
        for at, row in enumerate(scored.select("prompt", "completion", "finish_reason").iter_rows(named=True))
    ]
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    # The start model against itself: zero by definition, and no pass over its completions.
    drift = (
        dict.fromkeys(((item.row, item.side) for item in items), 0.0)
        if model == settings.recipe.train.model
        else _compare_log_probs(items, [top] * len(items), model, settings, folder / "logprobs.store", tell)
    )
    for at, (prompt, number, tokens) in enumerate(scored.select("prompt_id", "score", "tokens").iter_rows()):
        values["score"][prompt].append(number)
        values["tokens"][prompt].append(float(tokens))
        if (at, "completion") in drift:
            values["kl"][prompt].append(drift[at, "completion"])
    return _average(values)


def _compare_log_probs(
    items: Sequence[ScoredItem],
    goals: Sequence[float | None],
    model: str,
    settings: Reproduction,
    store: Path,
    tell: Tell,
) -> dict[tuple[int, str], float]:
    """Compute log-prob under the policy minus that under the start model, of the completions that can be read."""
    from prefboost.engines.models.weights import context_of, load_config, load_tokenizer

    train = settings.recipe.train
    goal_of = dict(zip(((item.row, item.side) for item in items), goals, strict=True))
    tokenizer = load_tokenizer(model, trust_remote_code=train.trust_remote_code)
    limit = context_of(load_config(model, trust_remote_code=train.trust_remote_code))
    encoded = encode_items(items, ChatEncoder(tokenizer), limit, Scores(), lambda item: goal_of[item.row, item.side])
    start = LogprobModel(
        train.model, train.revision, batch_tokens=settings.batch_tokens, trust_remote_code=train.trust_remote_code
    )
    stages = ("log-probs of the policy", "log-probs of the start model")
    with open_desk(None, store, UNLIMITED, tell) as desk:
        ratios = compute_log_ratios(
            replace(start, name=model, revision=None), start, [ids for _, ids in encoded], desk, stages
        )
    return {(item.row, item.side): ratio for (item, _), ratio in zip(encoded, ratios, strict=True) if ratio is not None}


def _average(values: dict[str, dict[str, list[float]]]) -> Values:
    return {name: {prompt: float(np.mean(numbers)) for prompt, numbers in by.items()} for name, by in values.items()}
