"""The stages of on-policy rounds: prompts; then generate, score, pairs, train and evaluate, round by round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prefboost.atomic import write_atomically
from prefboost.preferences import FittedScale
from prefboost.progress import tell_bar
from prefboost.recipes.on_policy import OnPolicy, RoundEvaluation
from prefboost.runs.folder.manifest import Run, hash_input
from prefboost.runs.folder.schedule import Stage
from prefboost.runs.pipelines import rounds
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
from prefboost.runs.pipelines.rounds import RoundPolicy
from prefboost.runs.pipelines.stage_tables import list_table_files, load_table, score_table, write_table
from prefboost.runs.pipelines.training import (
    STATED_BY,
    build_training_stage,
    fingerprint_models,
    join_folder,
    train_on_stage,
)
from prefboost.runs.preparation import Scales
from prefboost.tables import COMPLETIONS, PROMPTS, SCORED_COMPLETIONS, Table
from prefboost.training.claim import ADAPTER

if TYPE_CHECKING:
    from prefboost.progress import Progress
    from prefboost.training import Train

__all__ = [
    "COMPLETED",
    "EVALUATION",
    "HELD_OUT_COMPLETED",
    "SCORES",
    "build_on_policy_stages",
    "find_round_policy",
    "name_round_folder",
    "name_round_stage",
]

PROMPTS_FILE, COMPLETED, SCORED = "prompts.parquet", "completions.parquet", "scored.parquet"
HELD_OUT_COMPLETED, ANSWERS, EVALUATION = "held_out.completions.parquet", "held_out.parquet", "evaluation.json"
"""Names in the folder of a round: completions of held-out prompts, the same with scores, and what they come to."""

SCORES = "scores.store"
"""Folder of what the scorer has finished, of all rounds."""

START = "start"

_COST = ("budget", "prices")
"""Settings that decide whether a stage can be done and what it costs, and not what it writes."""

_SAID = ("condition", "scale", "relabel")
"""Settings that decide how the highest score is asked for."""


def build_on_policy_stages(recipe: OnPolicy, run: Run, progress: Progress | None = None) -> list[Stage]:
    """Build every stage of the recipe, in order."""
    builder = _Stages(recipe, run, progress)
    stages, how = [builder.prompts()], recipe.evaluate
    if how is not None and how.start:
        stages.append(builder.evaluate(0, how))
    for number in range(1, recipe.rounds + 1):
        stages += [builder.generate(number), builder.score(number), builder.pairs(number), builder.train(number)]
        if how is not None:
            stages.append(builder.evaluate(number, how))
    return stages


def name_round_folder(number: int) -> str:
    """Name the folder of a round; 0 is the start model."""
    return START if number == 0 else f"round-{number}"


def name_round_stage(number: int, what: str) -> str:
    """Name a stage of a round; 0 is the start model, which is measured alone."""
    return f"{START}/{what}" if number == 0 else f"round {number}/{what}"


def find_round_policy(recipe: OnPolicy, run_folder: Path, number: int) -> RoundPolicy:
    """Return the policy after a round; of round 0 the start model."""
    train = recipe.train
    if number == 0:
        template = train.chat_template
        if template is not None:
            from prefboost.training.policy.model import template_text  # torch is loaded where there is a template

            template = template_text(template)
        return RoundPolicy(train.model, train.revision, train.trust_remote_code, template)
    folder = (run_folder / name_round_folder(number) / "model").resolve()
    adapter = None
    if train.lora is not None:
        adapter = str(folder / ADAPTER if train.lora.merge else folder)
    return RoundPolicy(str(folder), None, train.trust_remote_code, start=train.model, adapter=adapter)


@dataclass(frozen=True)
class _Stages:
    """Makes the stages of a recipe. Rounds are numbered from 1; 0 is the start model."""

    recipe: OnPolicy
    run: Run
    progress: Progress | None

    def prompts(self) -> Stage:
        part = take_part(self.recipe, ("prompts", "seed"), flat=("evaluate.share",))
        paths = [path for path in list_input_paths(self.recipe) if path not in self.recipe.decontaminate]
        return Stage(
            "prompts",
            part.settings,
            list_table_files(PROMPTS_FILE),
            lambda: write_table(rounds.read_round_prompts(part.recipe), self.run.path / PROMPTS_FILE),
            inputs={path: hash_input(path) for path in paths},
        )

    def generate(self, number: int) -> Stage:
        name = f"{name_round_folder(number)}/{COMPLETED}"
        plain, policy = self.recipe.generate.goal == "plain", self._policy(number - 1)
        part = take_part(
            self.recipe,
            (
                *("generate", "seed", "prompts_a_round"),
                *(() if plain else _SAID),
                *(("rounds",) if self.recipe.prompts_a_round == "parts" else ()),
            ),
            flat=() if plain else ("evaluate.goal",),
            free=("scorer",),  # no more than its range, which is added
        )
        settings = {**part.settings} | {"trust_remote_code": self.recipe.train.trust_remote_code}
        if not plain:
            # Before scores were seen the scale that prompts name is foreseen, by the range that the scorer declares.
            declared = rounds.read_declared_range(self.recipe) if number == 1 else None
            settings |= {} if declared is None else {"scorer range": declared}
        settings |= self._template_of(number - 1)

        def work() -> Mapping[str, Any]:
            recipe, out = part.recipe, self.run.path / name
            wording = None
            if not plain:
                wording = rounds.choose_wording(recipe, self._scales(number - 1) if number > 1 else None)
            chosen = rounds.select_round_prompts(self._prompts(), recipe, number)
            table = rounds.complete_round(recipe, chosen, policy, wording, out, self.progress)
            notes = write_table(table, out)
            return {**notes, **table.steps[-1].notes}

        return Stage(
            name_round_stage(number, "generate"),
            settings,
            list_table_files(name),
            work,
            **self._after_policy(number - 1),
        )

    def score(self, number: int) -> Stage:
        source, name = (f"{name_round_folder(number)}/{each}" for each in (COMPLETED, SCORED))

        part = take_part(self.recipe, ("scorer",), free=_COST)

        def work() -> Mapping[str, Any]:
            return self._score(part.recipe, load_table(self.run.path / source, COMPLETIONS), name)[1]

        return Stage(
            name_round_stage(number, "score"),
            part.settings,
            list_table_files(name),
            work,
            after=(name_round_stage(number, "generate"),),
            inputs=self._scorer_inputs(),
        )

    def pairs(self, number: int) -> Stage:
        folder, first = name_round_folder(number), self.recipe.scale_of == "first" and number > 1
        part = take_part(
            self.recipe,
            ("select", "decontaminate", "scale_of", "keep", "pair", *_SAID, *TOKEN_SETTINGS),
            free=("train.trust_remote_code",),
        )

        def work() -> Mapping[str, Any]:
            recipe = part.recipe
            scored = load_table(self.run.path / folder / SCORED, SCORED_COMPLETIONS)
            fitted = self._scales(1) if first else None
            rows = choose_recipe_rows(recipe, scored)
            return write_goal_pairs(
                make_recipe_pairs(recipe, rows, load_renderer(recipe), fitted), self.run.path / folder
            )

        return Stage(
            name_round_stage(number, "pairs"),
            part.settings,
            join_folder(folder, PAIRS, REJECTS),
            work,
            after=(name_round_stage(number, "score"), *([name_round_stage(1, "pairs")] if first else [])),
            inputs=self._benchmarks,
        )

    def train(self, number: int) -> Stage:
        folder = name_round_folder(number)
        after = [name_round_stage(number, "pairs")]
        if number > 1:
            after.append(name_round_stage(number - 1, "train"))
        part = take_part(self.recipe, ("train", "begin", "reference"), free=STATED_BY)
        settings = self.build_training(number)
        return build_training_stage(
            name_round_stage(number, "train"),
            folder,
            part.settings,
            lambda: asdict(
                train_on_stage(part.recipe, settings, self.run, after[0], folder=folder, progress=self.progress)
            ),
            after=tuple(after),
            inputs=fingerprint_models(self.recipe.train.model),
        )

    def build_training(self, number: int) -> Train:
        """Return the settings of a round's training, with the model it begins with and its reference model."""
        train, last = self.recipe.train, self._policy(number - 1).model
        begins = last if self.recipe.begin == "last" else train.model
        compared = last if self.recipe.reference == "last" else train.model
        changes = {} if begins == train.model else {"model": begins, "revision": None, "chat_template": None}
        reference = train.reference if not train.uses_reference or compared == begins else compared
        return train.model_copy(update={**changes, "reference": reference})

    def evaluate(self, number: int, how: RoundEvaluation) -> Stage:
        folder = name_round_folder(number)
        name = f"{folder}/{ANSWERS}"
        against = number > 0 and how.start
        relation = self._after_policy(number)
        after = [*relation["after"], *([name_round_stage(number, "pairs")] if number else [])]
        part = take_part(self.recipe, ("evaluate", "scorer", *_SAID), flat=("generate.engine",), free=_COST)
        policy = self._policy(number)

        def work() -> Mapping[str, Any]:
            place = self.run.path / folder / HELD_OUT_COMPLETED
            recipe = part.recipe
            wording = rounds.choose_wording(recipe, self._scales(number) if number else None)
            generation = rounds.build_evaluation_settings(recipe, how, policy)
            completions = rounds.complete_prompts(
                rounds.select_held_out(self._prompts()), generation, wording, place, self.progress
            )
            scored, notes = self._score(recipe, completions, name)
            start = pl.read_parquet(self.run.path / START / ANSWERS) if against else None
            figures = rounds.measure_policy(scored, wording, how.bootstrap, start)
            write_atomically(self.run.path / folder / EVALUATION, json.dumps(figures, indent=2) + "\n")
            return {**notes, **figures}

        return Stage(
            name_round_stage(number, "evaluate"),
            {**part.settings} | self._template_of(number),
            (*list_table_files(name), f"{folder}/{EVALUATION}"),
            work,
            after=(*after, *([name_round_stage(0, "evaluate")] if against else [])),
            inputs={**relation["inputs"], **self._scorer_inputs()},
        )

    @cached_property
    def _benchmarks(self) -> dict[str, str]:
        """Hash the benchmark files once; the pairs of every round depend on them."""
        return {path: hash_input(path) for path in self.recipe.decontaminate}

    def _score(self, recipe: OnPolicy, table: Table, name: str) -> tuple[Table, dict[str, Any]]:
        """Score a table and write it; all rounds share a store, and the scorer's budget."""
        return score_table(
            table,
            recipe.scorer,
            self.run.path / name,
            tell_bar(self.progress),
            spending=recipe.spending,
            store=self.run.path / SCORES,
        )

    def _template_of(self, number: int) -> dict[str, Any]:
        """Return the chat template as a setting where the policy does not bring it itself."""
        template = self._policy(0).chat_template if number == 0 else None
        return {} if template is None else {"train.chat_template": template}

    def _policy(self, number: int) -> RoundPolicy:
        """Return the policy after a round; of round 0 the start model."""
        return find_round_policy(self.recipe, self.run.path, number)

    def _after_policy(self, number: int) -> dict[str, Any]:
        """Return the stages and outside inputs that a stage depends on if it uses the policy of a round."""
        model = self.recipe.train.model
        if number:
            return {"after": ("prompts", name_round_stage(number, "train")), "inputs": {}}
        pinned = {f"revision of {model}": str(self.recipe.train.revision)} if self.recipe.train.revision else {}
        return {"after": ("prompts",), "inputs": {**(fingerprint_models(model) or {model: "by name"}), **pinned}}

    def _prompts(self) -> Table:
        return load_table(self.run.path / PROMPTS_FILE, PROMPTS)

    def _scales(self, number: int) -> Scales:
        """Return the scales that were fitted, or taken over, when a round's pairs were made."""
        scales = self.run.notes(name_round_stage(number, "pairs"))["scales"]
        return {name: FittedScale(**scale) for name, scale in scales.items()}

    def _scorer_inputs(self) -> dict[str, str]:
        named = (getattr(self.recipe.scorer, each, None) for each in ("model", "policy", "reference"))
        return fingerprint_models(*(each for each in named if each))
