"""The stages of on-policy rounds: prompts; then generate, score, pairs, train and evaluate, round by round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from prefboost.atomic import write_atomically
from prefboost.preferences import FittedScale
from prefboost.progress import tell_bar
from prefboost.recipes.on_policy import OnPolicy, RoundEvaluation
from prefboost.runs.folder.manifest import Run, hash_path
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
from prefboost.runs.pipelines.rounds import RoundPolicy
from prefboost.runs.pipelines.stage_tables import list_table_files, load_table, score_table, write_table
from prefboost.runs.pipelines.training import (
    build_training_stage,
    fingerprint_models,
    join_folder,
    pick_token_settings,
    train_on_stage,
)
from prefboost.runs.preparation import Scales
from prefboost.tables import COMPLETIONS, PROMPTS, SCORED_COMPLETIONS, Table

if TYPE_CHECKING:
    from prefboost.progress import Progress
    from prefboost.training import Train

__all__ = ["EVALUATION", "build_on_policy_stages"]

PROMPTS_FILE, COMPLETED, SCORED = "prompts.parquet", "completions.parquet", "scored.parquet"
ANSWERS, EVALUATION = "held_out.parquet", "evaluation.json"
"""Names in the folder of a round: scored completions of held-out prompts, and what they come to."""

SCORES = "scores.store"
"""Folder of what the scorer has finished, of all rounds."""

START = "start"

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


def _name_folder(number: int) -> str:
    return START if number == 0 else f"round-{number}"


def _name_stage(number: int, what: str) -> str:
    return f"{START}/{what}" if number == 0 else f"round {number}/{what}"


@dataclass(frozen=True)
class _Stages:
    """Makes the stages of a recipe. Rounds are numbered from 1; 0 is the start model."""

    recipe: OnPolicy
    run: Run
    progress: Progress | None

    def prompts(self) -> Stage:
        kept_settings = self._settings("prompts", "seed") | {"evaluate.share": self._get_evaluation("share")}
        paths = [path for path in list_input_paths(self.recipe) if path not in self.recipe.decontaminate]
        return Stage(
            "prompts",
            kept_settings,
            list_table_files(PROMPTS_FILE),
            lambda: write_table(rounds.read_round_prompts(self.recipe), self.run.path / PROMPTS_FILE),
            inputs={path: hash_path(path) for path in paths},
        )

    def generate(self, number: int) -> Stage:
        name = f"{_name_folder(number)}/{COMPLETED}"
        settings = self._settings("generate", "seed", "prompts_a_round", "trust_remote_code")
        if self.recipe.generate.goal != "plain":
            settings |= self._settings(*_SAID) | {"evaluate.goal": self._get_evaluation("goal")}
            # Before scores were seen the scale that prompts name is foreseen, by the range that the scorer declares.
            declared = rounds.read_declared_range(self.recipe) if number == 1 else None
            settings |= {} if declared is None else {"scorer range": declared}
        if self.recipe.prompts_a_round == "parts":
            settings["rounds"] = self.recipe.rounds
        settings |= self._template_of(number - 1)

        def work() -> Mapping[str, Any]:
            out = self.run.path / name
            wording = rounds.choose_wording(self.recipe, self._scales(number - 1) if number > 1 else None)
            chosen = rounds.select_round_prompts(self._prompts(), self.recipe, number)
            table = rounds.complete_round(self.recipe, chosen, self._policy(number - 1), wording, out, self.progress)
            notes = write_table(table, out)
            return {**notes, **table.steps[-1].notes}

        return Stage(
            _name_stage(number, "generate"), settings, list_table_files(name), work, **self._after_policy(number - 1)
        )

    def score(self, number: int) -> Stage:
        source, name = (f"{_name_folder(number)}/{each}" for each in (COMPLETED, SCORED))

        def work() -> Mapping[str, Any]:
            return self._score(load_table(self.run.path / source, COMPLETIONS), name)[1]

        return Stage(
            _name_stage(number, "score"),
            self._settings("scorer"),
            list_table_files(name),
            work,
            after=(_name_stage(number, "generate"),),
            inputs=self._scorer_inputs(),
        )

    def pairs(self, number: int) -> Stage:
        folder, first = _name_folder(number), self.recipe.scale_of == "first" and number > 1
        settings = self._settings("select", "decontaminate", "scale", "scale_of", "keep", "pair", *_SAID)

        def work() -> Mapping[str, Any]:
            scored = load_table(self.run.path / folder / SCORED, SCORED_COMPLETIONS)
            fitted = self._scales(1) if first else None
            rows = choose_recipe_rows(self.recipe, scored)
            return write_goal_pairs(
                make_recipe_pairs(self.recipe, rows, load_renderer(self.recipe), fitted), self.run.path / folder
            )

        return Stage(
            _name_stage(number, "pairs"),
            settings | {"train": pick_token_settings(self.recipe.train)},
            join_folder(folder, PAIRS, REJECTS),
            work,
            after=(_name_stage(number, "score"), *([_name_stage(1, "pairs")] if first else [])),
            inputs=self._benchmarks,
        )

    def train(self, number: int) -> Stage:
        folder = _name_folder(number)
        after = [_name_stage(number, "pairs")]
        if number > 1:
            after.append(_name_stage(number - 1, "train"))
        return build_training_stage(
            _name_stage(number, "train"),
            folder,
            self._settings("train", "begin", "reference"),
            lambda: asdict(
                train_on_stage(
                    self.recipe, self.build_training(number), self.run, after[0], folder=folder, progress=self.progress
                )
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
        folder = _name_folder(number)
        name = f"{folder}/{ANSWERS}"
        against = number > 0 and how.start
        relation = self._after_policy(number)
        after = [*relation["after"], *([_name_stage(number, "pairs")] if number else [])]
        settings = self._settings("evaluate", "scorer", *_SAID) | {
            "generate.engine": self._dumped["generate"]["engine"]
        }
        settings |= self._template_of(number)

        def work() -> Mapping[str, Any]:
            place = self.run.path / folder / "held_out.completions.parquet"
            wording = rounds.choose_wording(self.recipe, self._scales(number) if number else None)
            generation = rounds.build_evaluation_settings(self.recipe, how, self._policy(number))
            completions = rounds.complete_prompts(
                rounds.select_held_out(self._prompts()), generation, wording, place, self.progress
            )
            scored, notes = self._score(completions, name)
            start = pl.read_parquet(self.run.path / START / ANSWERS) if against else None
            figures = rounds.measure_policy(scored, wording, how.bootstrap, start)
            write_atomically(self.run.path / folder / EVALUATION, json.dumps(figures, indent=2) + "\n")
            return {**notes, **figures}

        return Stage(
            _name_stage(number, "evaluate"),
            settings,
            (*list_table_files(name), f"{folder}/{EVALUATION}"),
            work,
            after=(*after, *([_name_stage(0, "evaluate")] if against else [])),
            inputs={**relation["inputs"], **self._scorer_inputs()},
        )

    @cached_property
    def _benchmarks(self) -> dict[str, str]:
        """Hash the benchmark files once; the pairs of every round depend on them."""
        return {path: hash_path(path) for path in self.recipe.decontaminate}

    @property
    def _dumped(self) -> dict[str, Any]:
        return self.recipe.model_dump(mode="json")

    def _settings(self, *names: str) -> dict[str, Any]:
        dumped = self._dumped
        of_train = {"trust_remote_code": self.recipe.train.trust_remote_code}
        return {name: dumped[name] if name in dumped else of_train[name] for name in names}

    def _get_evaluation(self, name: str) -> Any:
        return None if self.recipe.evaluate is None else getattr(self.recipe.evaluate, name)

    def _score(self, table: Table, name: str) -> tuple[Table, dict[str, Any]]:
        """Score a table and write it; all rounds share a store, and the scorer's budget."""
        return score_table(
            table,
            self.recipe.scorer,
            self.run.path / name,
            tell_bar(self.progress),
            spending=self.recipe.spending,
            store=self.run.path / SCORES,
        )

    def _template_of(self, number: int) -> dict[str, Any]:
        """Return the chat template as a setting where the policy does not bring it itself."""
        template = self._policy(0).chat_template if number == 0 else None
        return {} if template is None else {"train.chat_template": template}

    def _policy(self, number: int) -> RoundPolicy:
        """Return the policy after a round; of round 0 the start model."""
        train = self.recipe.train
        if number == 0:
            return RoundPolicy(
                train.model, train.revision, train.trust_remote_code, _read_template(train.chat_template)
            )
        return RoundPolicy(
            str((self.run.path / _name_folder(number) / "model").resolve()), None, train.trust_remote_code
        )

    def _after_policy(self, number: int) -> dict[str, Any]:
        """Return the stages and outside inputs that a stage depends on if it uses the policy of a round."""
        model = self.recipe.train.model
        if number:
            return {"after": ("prompts", _name_stage(number, "train")), "inputs": {}}
        pinned = {f"revision of {model}": str(self.recipe.train.revision)} if self.recipe.train.revision else {}
        return {"after": ("prompts",), "inputs": {**(fingerprint_models(model) or {model: "by name"}), **pinned}}

    def _prompts(self) -> Table:
        return load_table(self.run.path / PROMPTS_FILE, PROMPTS)

    def _scales(self, number: int) -> Scales:
        """Return the scales that were fitted, or taken over, when a round's pairs were made."""
        scales = self.run.notes(_name_stage(number, "pairs"))["scales"]
        return {name: FittedScale(**scale) for name, scale in scales.items()}

    def _scorer_inputs(self) -> dict[str, str]:
        named = (getattr(self.recipe.scorer, each, None) for each in ("model", "policy", "reference"))
        return fingerprint_models(*(each for each in named if each))


def _read_template(chat_template: str | None) -> str | None:
    """Read a chat template, a file's too; torch is loaded where there is one."""
    if chat_template is None:
        return None
    from prefboost.training.policy.model import template_text

    return template_text(chat_template)
