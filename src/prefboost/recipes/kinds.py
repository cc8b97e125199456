"""Every kind of recipe."""

from __future__ import annotations

from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.on_policy import OnPolicy
from prefboost.recipes.recipe import Recipe
from prefboost.recipes.reward import RewardModels

__all__ = ["OFFLINE", "RECIPES", "AnyRecipe", "PolicyRecipe"]

PolicyRecipe = Recipe | OnPolicy | ImplicitRewards
"""Recipes that train a policy on goals."""

AnyRecipe = PolicyRecipe | RewardModels

OFFLINE = "offline"
"""The kind of a recipe that names none: its scored data are there before it begins."""

RECIPES: dict[str, type[AnyRecipe]] = {
    OFFLINE: Recipe,
    "on_policy": OnPolicy,
    "implicit_reward": ImplicitRewards,
    "reward": RewardModels,
}
"""Kind -> settings."""
