"""The stages of implicit-reward augmentation: train on the pairs as they are, score them, train on goals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.preferences import Plain, condition, pair, relabel
from prefboost.progress import tell_bar
from prefboost.recipes.executors import OnThisMachine
from prefboost.recipes.implicit_reward import ImplicitRewards, ImplicitScores
from prefboost.runs.folder.manifest import Run, hash_input
from prefboost.runs.folder.schedule import Stage
from prefboost.runs.folder.staging import locate_staging
from prefboost.runs.pipelines.goal_pairs import (
    PAIRS,
    REJECTS,
    choose_recipe_rows,
    list_input_paths,
    load_renderer,
    make_recipe_pairs,
    write_goal_pairs,
)
from prefboost.runs.pipelines.parts import TOKEN_SETTINGS, take_part
from prefboost.runs.pipelines.stage_tables import list_table_files, load_table, score_table, write_table
from prefboost.runs.pipelines.training import (
    STATED_BY,
    build_training_stage,
    fingerprint_models,
    join_folder,
    train_on_stage,
)
from prefboost.scoring import ImplicitReward
from prefboost.settings import dump_with_kind
from prefboost.sources import read
from prefboost.tables import PREFERENCE_PAIRS

if TYPE_CHECKING:
    from prefboost.progress import Progress
    from prefboost.training import Train

__all__ = ["AUGMENTED", "FIRST", "PREFERENCES", "build_implicit_reward_stages", "build_scorer", "find_compared_model"]

PREFERENCES, SCORED = "preferences.parquet", "scored.parquet"
FIRST, AUGMENTED = "first", "augmented"
"""Folders of the two trainings."""


def build_implicit_reward_stages(recipe: ImplicitRewards, run: Run, progress: Progress | None = None) -> list[Stage]:
    """Build every stage of the recipe, in order."""
    stages = _Stages(recipe, run, progress)
    return [
        stages.pairs(),
        stages.plain_pairs(),
        stages.train(FIRST, recipe.training_first),
        stages.score(),
        stages.goal_pairs(),
        stages.train(AUGMENTED, recipe.train),
    ]


def find_compared_model(recipe: ImplicitRewards) -> dict[str, Any]:
    """Return the model that the first training begins with or is compared with, its revision, and beta."""
    first = recipe.training_first
    begins = first.reference in ("start", "none")
    reference, revision = (first.model, first.revision) if begins else (first.reference, None)
    return {"beta": recipe.beta, "reference": reference, "revision": revision}


def build_scorer(policy: str, comparison: Mapping[str, Any], how: ImplicitScores) -> ImplicitReward:
    """Build what scores the pairs.

    Args:
        policy: that the first training made.
        comparison: see `find_compared_model`.
        how: the recipe's settings.
    """
    beta, reference, revision = (comparison[name] for name in ("beta", "reference", "revision"))
    return ImplicitReward(
        policy=policy, reference=reference, reference_revision=revision, beta=beta, **how.model_dump()
    )


@dataclass(frozen=True)
class _Stages:
    recipe: ImplicitRewards
    run: Run
    progress: Progress | None

    def pairs(self) -> Stage:
        part = take_part(
            self.recipe,
            ("data", "select", "decontaminate", "pair", *TOKEN_SETTINGS),
            free=("executor", "train.trust_remote_code"),
        )

        def work() -> Mapping[str, Any]:
            recipe, place = part.recipe, self.run.path / PREFERENCES
            if isinstance(recipe.executor, OnThisMachine):
                return write_table(pair(choose_recipe_rows(recipe, read(recipe.data)), recipe.pair), place)
            from prefboost.runs.ray.data_spread import open_spread
            from prefboost.runs.ray.data_verbs import choose_selection, pair_on

            verb, settings = partial(pair, strategy=recipe.pair), dump_with_kind(recipe.pair)
            selection = choose_selection(recipe)
            with open_spread(recipe.executor) as spread:
                return write_table(pair_on(spread, recipe.data, selection, verb, place, settings=settings), place)

        return Stage(
            "pairs",
            part.settings,
            list_table_files(PREFERENCES),
            work,
            inputs={path: hash_input(path) for path in list_input_paths(self.recipe)},
            scraps=(locate_staging(Path(PREFERENCES)).name,),
        )

    def plain_pairs(self) -> Stage:
        def work() -> Mapping[str, Any]:
            table = load_table(self.run.path / PREFERENCES, PREFERENCE_PAIRS)
            return write_goal_pairs(condition(relabel(table, Plain(contradictions="keep"))), self.run.path / FIRST)

        return Stage(f"{FIRST}/pairs", {}, join_folder(FIRST, PAIRS, REJECTS), work, after=("pairs",))

    def train(self, folder: str, settings: Train) -> Stage:
        before = f"{folder}/pairs"
        part = take_part(self.recipe, (), free=(*STATED_BY, *TOKEN_SETTINGS, "train.trust_remote_code"))
        return build_training_stage(
            f"{folder}/train",
            folder,
            {"train": settings.model_dump(mode="json")},
            lambda: asdict(
                train_on_stage(part.recipe, settings, self.run, before, folder=folder, progress=self.progress)
            ),
            after=(before,),
            inputs=fingerprint_models(settings.model, settings.reference),
        )

    def score(self) -> Stage:
        part, comparison = take_part(self.recipe, ("score",)), find_compared_model(self.recipe)

        def work() -> Mapping[str, Any]:
            policy = str((self.run.path / FIRST / "model").resolve())
            scorer = build_scorer(policy, comparison, part.recipe.score)
            table = load_table(self.run.path / PREFERENCES, PREFERENCE_PAIRS)
            scored, notes = score_table(table, scorer, self.run.path / SCORED, tell_bar(self.progress))
            return {**notes, **scored.steps[-1].notes}

        return Stage(
            "score",
            {**part.settings} | comparison,
            list_table_files(SCORED),
            work,
            after=("pairs", f"{FIRST}/train"),
        )

    def goal_pairs(self) -> Stage:
        part = take_part(
            self.recipe,
            ("scale", "pair", "relabel", "condition", *TOKEN_SETTINGS),
            free=("keep", "train.trust_remote_code"),  # a recipe of this kind never has a keep
        )

        def work() -> Mapping[str, Any]:
            recipe, table = part.recipe, load_table(self.run.path / SCORED, PREFERENCE_PAIRS)
            return write_goal_pairs(make_recipe_pairs(recipe, table, load_renderer(recipe)), self.run.path / AUGMENTED)

        outputs = join_folder(AUGMENTED, PAIRS, REJECTS)
        return Stage(f"{AUGMENTED}/pairs", part.settings, outputs, work, after=("score",))
