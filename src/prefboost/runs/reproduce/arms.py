"""The arms of the comparison: each changes one part of the reward-augmented recipe (arXiv 2410.08067, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prefboost.errors import SettingsError
from prefboost.losses import RPO, SFT, MarginDPO
from prefboost.losses.weighted_sum import find_betas, replace_betas, replace_preference
from prefboost.preferences import HighGoalOnly, Plain, RewardAugmented
from prefboost.preferences.scales.kinds import Percentile
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.recipe import Recipe

__all__ = ["ARMS", "ComparedArm", "build_arm_recipe", "find_arm_betas", "list_compared_arms", "searches_beta"]


@dataclass(frozen=True)
class ComparedArm:
    """One way of training.

    Args:
        purpose: what a setup with it shows.
        change: recipe -> fields that are replaced.
        asks: its prompts name a goal, so that it is asked for the highest.
        pace: optimiser steps, as a share of those of the other arms.
        needs: the option without which there is no such arm: rounds of the policy's own samples, or aspects of goals.
    """

    purpose: str
    change: Callable[[Recipe], Mapping[str, Any]]
    asks: bool = True
    pace: float = 1.0
    needs: Literal["", "on_policy", "aspects"] = ""


def _keep(_: Recipe) -> Mapping[str, Any]:
    return {}


def _without_goals(recipe: Recipe) -> Mapping[str, Any]:
    # Exactly the pairs that are augmented, twice: as many rows as reward augmentation makes of them.
    return {"relabel": Plain(repeat=2, like=_read_augmentation(recipe))}


def _with_loss(loss: Any) -> Callable[[Recipe], Mapping[str, Any]]:
    def change(recipe: Recipe) -> Mapping[str, Any]:
        # The other terms of a sum stay: the arm differs in the preference term alone.
        swapped = replace_preference(recipe.train.loss, loss)
        reference = "start" if recipe.train.reference == "none" else recipe.train.reference
        train = recipe.train.model_copy(update={"loss": swapped, "reference": reference})
        return {**_without_goals(recipe), "train": train}

    return change


def _read_augmentation(recipe: Recipe) -> RewardAugmented:
    if not isinstance(recipe.relabel, RewardAugmented):
        raise SettingsError(
            "the recipe of a reproduction is the reward-augmented one, of which the other arms are made",
            remedy="write relabel: {kind: reward_augmented}",
        )
    return recipe.relabel


ARMS: dict[str, ComparedArm] = {
    "dpo_one_pass": ComparedArm("plain preference training as published: half the steps", _without_goals, False, 0.5),
    "dpo": ComparedArm("is it more steps? plain preference training, as many", _without_goals, asks=False),
    "ra": ComparedArm("reward augmentation", _keep),
    "half_ra": ComparedArm(
        "is it more rows? half of the prompts, as many rows as pairs",
        lambda recipe: {"relabel": _read_augmentation(recipe).model_copy(update={"fraction": 0.5})},
    ),
    "high_goal_only": ComparedArm(
        "is it only the goal in the prompt? never flipped",
        lambda recipe: {"relabel": HighGoalOnly(repeat=2, like=_read_augmentation(recipe))},
    ),
    "conditional_sft": ComparedArm(
        "are pairs needed? fine-tuning on (goal, completion)",
        # A loss without a reference refuses one, and spares the pass that computes it.
        lambda recipe: {"train": recipe.train.model_copy(update={"loss": SFT(), "reference": "none"})},
    ),
    "rpo": ComparedArm(
        "do scores help without goals? reward-aware preference optimisation", _with_loss(RPO()), asks=False
    ),
    "margin_dpo": ComparedArm("do scores help without goals? DPO with an offset", _with_loss(MarginDPO()), asks=False),
    "grid": ComparedArm(
        "goals of a grid instead of the pair's own scores",
        # Four goals over the scale, ends included: 1, 4, 7, 10 of 1..10.
        lambda recipe: {
            "relabel": _read_augmentation(recipe).model_copy(
                update={
                    "goals": "grid",
                    "grid": tuple(
                        recipe.condition.low + (recipe.condition.high - recipe.condition.low) * step / 3
                        for step in range(4)
                    ),
                }
            )
        },
    ),
    "goal_after": ComparedArm(
        "the goal behind the prompt",
        lambda recipe: {"condition": recipe.condition.model_copy(update={"place": "after"})},
    ),
    "quantile_scale": ComparedArm("goals as percentiles of the scores", lambda _: {"scale": Percentile()}),
    "implicit_ra": ComparedArm("scores of the policy's own training in the place of a judge's", _keep),
    "aspects_ra": ComparedArm("goals of several aspects in the place of one overall score", _keep, needs="aspects"),
    "on_policy_dpo": ComparedArm(
        "plain preference training on the policy's own samples, scored", _without_goals, asks=False, needs="on_policy"
    ),
    "on_policy_ra": ComparedArm("reward augmentation of the policy's own samples, scored", _keep, needs="on_policy"),
}
"""Name -> arm, in the order of reports."""


def list_compared_arms(*options: str) -> tuple[str, ...]:
    """List the arms that need no option, and those of the options that are given: on_policy, aspects."""
    return tuple(name for name, arm in ARMS.items() if arm.needs in ("", *options))


def find_arm_betas(name: str, recipe: Recipe) -> list[float]:
    """List the betas of an arm's loss, of a sum those of its terms; none where it has none."""
    return find_betas({**dict(recipe), **ARMS[name].change(_without_aspects(recipe))}["train"].loss)


def searches_beta(name: str, recipe: Recipe) -> bool:
    """Return whether an arm's loss, or a term of it, has a beta."""
    return bool(find_arm_betas(name, recipe))


def build_arm_recipe(
    name: str, recipe: Recipe, training: Mapping[str, Any], beta: float | None
) -> Recipe | ImplicitRewards:
    """Build the recipe of an arm; one on the policy's own samples still names the data of the file.

    Args:
        name: of the arm.
        recipe: the reward-augmented one; the aspects of its relabelling are those of the arm that needs them.
        training: fields of ``train`` that all arms share: learning_rate, seed, max_steps.
        beta: of its loss, in a sum of every term that has one; None for losses without one.

    Raises:
        SettingsError: the recipe does not relabel by reward augmentation.
    """
    base = recipe if ARMS[name].needs == "aspects" else _without_aspects(recipe)
    fields = {**dict(base), **ARMS[name].change(base)}
    train = fields["train"]
    loss = train.loss if beta is None else replace_betas(train.loss, beta)
    fields["train"] = train.model_copy(update={**training, "loss": loss})
    if name == "implicit_ra":
        # Its own scale: percentiles of implicit rewards, as its recipe has them.
        fields.pop("scale")
        return ImplicitRewards(**fields)
    return Recipe(**fields)


def _without_aspects(recipe: Recipe) -> Recipe:
    """Return the recipe with goals of the overall score."""
    relabel = _read_augmentation(recipe).model_copy(update={"aspects": (), "weights": {}})
    return recipe.model_copy(update={"relabel": relabel})
