"""The arms of the comparison: each changes one part of the reward-augmented recipe (arXiv 2410.08067, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prefboost.errors import SettingsError
from prefboost.losses import RPO, SFT, MarginDPO
from prefboost.preferences import HighGoalOnly, Plain, RewardAugmented
from prefboost.preferences.scales.kinds import Percentile
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.recipe import Recipe

__all__ = ["ARMS", "ComparedArm", "ArmRecipe", "build_arm_recipe", "searches_beta"]

ArmRecipe = Recipe | ImplicitRewards


@dataclass(frozen=True)
class ComparedArm:
    """One way of training.

    Args:
        purpose: what a setup with it shows.
        change: recipe -> fields that are replaced.
        asks: its prompts name a goal, so that it is asked for the highest.
        pace: optimiser steps, as a share of those of the other arms.
    """

    purpose: str
    change: Callable[[Recipe], Mapping[str, Any]]
    asks: bool = True
    pace: float = 1.0


def _keep(_: Recipe) -> Mapping[str, Any]:
    return {}


def _without_goals(recipe: Recipe) -> Mapping[str, Any]:
    # Exactly the pairs that are augmented, twice: as many rows as reward augmentation makes of them.
    return {"relabel": Plain(repeat=2, like=_read_augmentation(recipe))}


def _with_loss(loss: Any, *, goals: bool = False) -> Callable[[Recipe], Mapping[str, Any]]:
    def change(recipe: Recipe) -> Mapping[str, Any]:
        # A loss without a reference refuses one, and spares the pass that computes it.
        part = {} if goals else _without_goals(recipe)
        reference = "none" if not loss.needs_reference else recipe.train.reference
        return {**part, "train": recipe.train.model_copy(update={"loss": loss, "reference": reference})}

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
        "are pairs needed? fine-tuning on (goal, completion)", _with_loss(SFT(), goals=True)
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
}
"""Name -> arm, in the order of reports."""


def searches_beta(name: str, recipe: Recipe) -> bool:
    """Return whether an arm's loss has a beta."""
    loss = {**dict(recipe), **ARMS[name].change(recipe)}["train"].loss
    return getattr(loss, "beta", None) is not None


def build_arm_recipe(name: str, recipe: Recipe, training: Mapping[str, Any], beta: float | None) -> ArmRecipe:
    """Build the recipe of an arm.

    Args:
        name: of the arm.
        recipe: the reward-augmented one.
        training: fields of ``train`` that all arms share: learning_rate, seed, max_steps.
        beta: of its loss; None for losses without one.

    Raises:
        SettingsError: the recipe does not relabel by reward augmentation.
    """
    fields = {**dict(recipe), **ARMS[name].change(recipe)}
    train = fields["train"]
    loss = train.loss if beta is None else train.loss.model_copy(update={"beta": beta})
    fields["train"] = train.model_copy(update={**training, "loss": loss})
    if name == "implicit_ra":
        # Its own scale: percentiles of implicit rewards, as its recipe has them.
        fields.pop("scale")
        return ImplicitRewards(**fields)
    return Recipe(**fields)
