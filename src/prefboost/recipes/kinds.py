"""Every kind of recipe."""

from __future__ import annotations

from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.on_policy import OnPolicy
from prefboost.recipes.recipe import Recipe

__all__ = ["OFFLINE", "RECIPES", "AnyRecipe"]

AnyRecipe = Recipe | OnPolicy | ImplicitRewards

OFFLINE = "offline"
"""The kind of a recipe that names none: its scored data are there before it begins."""

RECIPES: dict[str, type[AnyRecipe]] = {OFFLINE: Recipe, "on_policy": OnPolicy, "implicit_reward": ImplicitRewards}
"""Kind -> settings."""
