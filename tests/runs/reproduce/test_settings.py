"""Settings of a reproduction are refused where they cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefboost.errors import SettingsError
from prefboost.preferences import RewardAugmented
from prefboost.runs.reproduce.arms import ARMS

from .conftest import build_settings

SCORER = {"kind": "length_scorer:LengthScorer"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["ra", "dop"]}, "arms are some of"),
        ({"arms": ["ra", "ra"]}, "each once"),
        ({"validation": 0.5, "test": 0.5}, "no prompts to train on"),
        ({"seeds": [1, 1]}, "stands twice in seeds"),
        ({"betas": [0.1, 0.0]}, "are above 0"),
        ({"arms": ["ra", "on_policy_ra"]}, "on_policy_ra need what they are trained on; write on_policy"),
        ({"arms": ["aspects_ra"]}, "aspects_ra need what they are trained on; write relabel.aspects"),
        ({"scorer": SCORER, "on_policy": {"rounds": 2}}, "no arm uses on_policy.rounds; add on_policy_dpo or"),
        ({"relabel": {"aspects": ["size"]}}, "no arm uses relabel.aspects; add aspects_ra"),
        ({"arms": ["on_policy_ra"], "on_policy": {}}, "nothing scores the policy's own samples"),
        ({"arms": ["on_policy_ra"], "scorer": SCORER, "on_policy": {"rounds": 3}, "steps": 4}, "no whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused(scored: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_settings(Path("m"), scored, **changes)


def test_options_bring_their_arms_where_none_are_named(scored: Path) -> None:
    settings = build_settings(Path("m"), scored)
    values = {name: getattr(settings, name) for name in settings.model_fields_set - {"arms"}}
    recipe = settings.recipe.model_copy(update={"relabel": RewardAugmented(aspects=("size", "calm"))})
    plain = {name for name, arm in ARMS.items() if not arm.needs}
    assert set(type(settings)(**values).arms) == plain
    assert set(type(settings)(**{**values, "recipe": recipe}).arms) == plain | {"aspects_ra"}
    with_rounds = type(settings)(**{**values, "scorer": SCORER, "on_policy": {"rounds": 1}})
    assert set(with_rounds.arms) == plain | {"on_policy_dpo", "on_policy_ra"}
    # A dump loads to itself, and the options of an earlier version's folder are those that are not set.
    assert type(settings)(**with_rounds.model_dump(mode="json")) == with_rounds
    dumped = settings.model_dump(mode="json")
    assert all(dumped[name] is None for name in ("on_policy", "noise", "academic", "assets"))


def test_noise_stays_on_the_scale_that_the_recipe_declares(scored: Path) -> None:
    settings = build_settings(Path("m"), scored, noise={"deviation": 2.0})
    assert settings.training_noise is not None and settings.training_noise.ends == (1.0, 10.0)
    named = build_settings(Path("m"), scored, noise={"deviation": 2.0, "ends": [2, 9]})
    assert named.training_noise is not None and named.training_noise.ends == (2.0, 9.0)


def test_a_recipe_that_is_prepared_on_a_cluster_is_refused_with_the_remedy(scored: Path) -> None:
    recipe = build_settings(Path("m"), scored).recipe.model_dump(mode="json")
    with pytest.raises(SettingsError, match="write executor: local"):
        build_settings(Path("m"), scored, recipe={**recipe, "executor": "ray"})
