"""The whole pipeline on one screen: what a recipe does, stage by stage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.atomic import replacing
from prefboost.chat import SayGoal, to_record
from prefboost.errors import DataError, Place
from prefboost.preferences import FittedScale, apply_scale, condition, fit_scales, pair, relabel
from prefboost.preferences.accept import accept
from prefboost.preferences.condition import said_on
from prefboost.preferences.goals import declared_by
from prefboost.preferences.select import CountTokens, Select, decontaminate, select
from prefboost.recipes.kinds import PolicyRecipe
from prefboost.recipes.on_policy import OnPolicy
from prefboost.recipes.recipe import Recipe
from prefboost.runs.folder.executor import Executor, Local
from prefboost.runs.folder.manifest import Run, fingerprint, holds_something_else, open_run
from prefboost.runs.folder.schedule import Stage, Work, carry_out
from prefboost.runs.generate.prompt_files import benchmark_prompts
from prefboost.runs.pipelines.token_counts import counter_of
from prefboost.sources import read
from prefboost.sources.outputs import refuse_inputs
from prefboost.tables import EVALUATION_SPLITS, Step, Table
from prefboost.training import Train, TrainReport, train
from prefboost.training.claim import BEGUN, LOG, MANIFEST, MODEL, REPORT, alone_in
from prefboost.training.text_loss import REJECTED_FILE
from prefboost.training.trackers import TRACKING

if TYPE_CHECKING:
    from prefboost.chat.template import Render
    from prefboost.progress import Progress
    from prefboost.training.forecast import Forecast

__all__ = [
    "PAIRS",
    "REJECTS",
    "Scales",
    "TRAINED",
    "TRAINING",
    "Prepared",
    "chosen_rows",
    "data_settings",
    "finished_training",
    "goal_pairs",
    "inside",
    "inputs_of",
    "model_inputs",
    "offline_stages",
    "predict",
    "prepare",
    "prepared_from",
    "render_of",
    "run_recipe",
    "split_rows",
    "train_from",
    "token_settings",
    "train_on",
    "training_stage",
    "write_pairs",
]

PAIRS, REJECTS = "pairs.parquet", "rejects.parquet"
"""Names of the goal pairs and of the rows that were set aside, in a run folder."""

TRAINED = (MODEL, REPORT)
"""What a finished training leaves in its folder."""

TRAINING = (MANIFEST, BEGUN, LOG, REJECTED_FILE, "checkpoints", TRACKING, f"{MODEL}.unfinished")
"""What else a training writes."""

Scales = Mapping[str, FittedScale]
"""Fitted scales by aspect; "" is the overall score's."""


@dataclass(frozen=True)
class Prepared:
    """What the data of a recipe came to: one step a stage, and all rows that were set aside, by reason."""

    goal_pairs: int
    steps: tuple[Mapping[str, Any], ...]
    rejected: Mapping[str, int] = field(default_factory=dict)


def prepare(recipe: Recipe, render: Render | None = None) -> Table:
    """Everything before training: GoalPairs with the goal said in their prompts.

    Args:
        recipe: which stages, with which settings; of ``train`` only the model's tokenizer plays a part, and only where
            ``select`` has a limit in tokens.
        render: the chat template of the model to train, probed for where the goal can stand.

    Raises:
        DataError, ModelError: see the stages.
    """
    return goal_pairs(recipe, chosen_rows(recipe, read(recipe.data)), render)


def chosen_rows(recipe: PolicyRecipe, table: Table) -> Table:
    """The rows that ``select`` keeps, without those that share words with a benchmark."""
    if recipe.select is not None:
        table = select(table, recipe.select, count_tokens=_token_counter(recipe))
    if recipe.decontaminate:
        table = decontaminate(table, _benchmark_prompts(recipe), ngram=(recipe.select or Select()).ngram)
    return table


def goal_pairs(recipe: PolicyRecipe, table: Table, render: Render | None, fitted: Scales | None = None) -> Table:
    """From scored rows to GoalPairs with the goal said in their prompts.

    Args:
        recipe: scale, keep, pair, relabel, condition.
        table: ScoredCompletions or PreferencePairs.
        render: the chat template of the model to train.
        fitted: the scales where they were fitted before; None fits them to this table.
    """
    if fitted is None and recipe.scale is not None:
        fitted = fit_scales(recipe.scale, [table], aspects=_aspects(recipe), own=declared_by(table))
    if fitted:
        table = apply_scale(table, fitted)
    if recipe.keep is not None:
        table = accept(table, recipe.keep)
    table = pair(table, recipe.pair)
    return condition(relabel(table, recipe.relabel, say=recipe.condition), recipe.condition, render=render)


def run_recipe(
    recipe: Recipe, out: str | Path, *, executor: Executor | None = None, progress: Progress | None = None
) -> TrainReport:
    """Prepare the data and train. The same call after an interruption goes on where it stopped.

    Args:
        recipe: what to do.
        out: run folder: manifest.json, pairs.parquet, rejects.parquet, and what `prefboost.training.train` writes.
        executor: who prepares the data; default: this process.
        progress: is told how far training has come.

    Raises:
        RunError: ``out`` holds another run, or lies around an input, or another process is at work in it.
        DataError, ModelError: see the stages.
    """
    from prefboost.training.preflight import check_request

    executor = executor or Local()
    check_request(recipe.train)  # before the folder is claimed for these settings
    refuse_inputs([out], [recipe.data], [recipe])
    folder, inputs = Path(out), inputs_of(recipe)
    guarded = executor.leads and not holds_something_else(folder)
    with alone_in(folder) if guarded else nullcontext():
        run = open_run(folder, recipe.name, recipe.model_dump(mode="json"), inputs) if executor.leads else Run(folder)
        carry_out(run, offline_stages(recipe, run, progress), executor)
    return finished_training(folder)


def offline_stages(recipe: Recipe, run: Run, progress: Progress | None = None) -> list[Stage]:
    """The stages of a recipe whose data are there: pairs, then training."""
    return [
        Stage(
            "pairs",
            data_settings(recipe),
            (PAIRS, REJECTS),
            lambda: write_pairs(prepare(recipe, render_of(recipe)), run.path),
            inputs={name: fingerprint(name) for name in inputs_of(recipe)},
        ),
        training_stage(
            "train",
            "",
            {"train": recipe.train.model_dump(mode="json")},
            lambda: asdict(train_from(recipe, recipe.train, run, "pairs", progress=progress)),
            after=("pairs",),
            inputs=model_inputs(recipe.train.model, recipe.train.reference),
        ),
    ]


def training_stage(
    name: str,
    folder: str,
    settings: Mapping[str, Any],
    work: Work,
    *,
    after: tuple[str, ...],
    inputs: Mapping[str, str],
) -> Stage:
    """A stage that trains a model: all devices do it together, and what it began with goes when it is done anew.

    Args:
        name: of the stage.
        folder: where in the run folder the training goes; "" is the run folder itself.
        settings: what the model depends on.
        work: trains; its notes go into the manifest.
        after: the stages whose outputs it reads.
        inputs: fingerprints of the models that it reads.
    """
    return Stage(
        name, settings, inside(folder, *TRAINED), work, after=after, inputs=inputs, scraps=inside(folder, *TRAINING),
        together=True,
    )  # fmt: skip


def inside(folder: str, *names: str) -> tuple[str, ...]:
    """Paths of files in a folder of a run."""
    return tuple(f"{folder}/{name}" if folder else name for name in names)


def train_from(
    recipe: PolicyRecipe, settings: Train, run: Run, stage: str, *, folder: str = "", progress: Progress | None = None
) -> TrainReport:
    """Train on the pairs that a stage has written.

    Args:
        recipe: says how goals are said.
        settings: of this training.
        run: the run folder.
        stage: the stage that wrote the pairs; its notes hold the scales.
        folder: where in the run folder they are, and the training goes.
        progress: is told how far it has come.
    """
    import pyarrow.parquet as pq

    pairs, evaluation = split_rows(pq.read_table(run.path / folder / PAIRS))
    scales = run.notes(stage)["scales"]
    return train(
        pairs,
        settings,
        run.path / folder,
        eval_pairs=evaluation,
        say=said_on(recipe.condition, {name: FittedScale(**scale) for name, scale in scales.items()}, _aspects(recipe)),
        scales=scales,
        progress=progress,
    )


def finished_training(folder: Path) -> TrainReport:
    """The report of a training that has come to its end."""
    return TrainReport(**json.loads((folder / REPORT).read_text(encoding="utf-8")))


def data_settings(recipe: PolicyRecipe) -> dict[str, Any]:
    """What goal pairs depend on: everything but training, of which the tokenizer and its chat template count."""
    return {**recipe.model_dump(mode="json", exclude={"train"}), "train": token_settings(recipe.train)}


def token_settings(train: Train) -> dict[str, Any]:
    """What decides how texts become tokens."""
    return {name: getattr(train, name) for name in ("model", "revision", "chat_template")}


def model_inputs(*names: str) -> dict[str, str]:
    """Fingerprints of those models that are folders; hub ids are pinned by their revision instead."""
    from prefboost.engines.weights import fingerprint_of_model

    return {name: fingerprint_of_model(name) for name in names if Path(name).is_dir()}


def predict(recipe: Recipe, show: Callable[[Prepared], object] | None = None) -> tuple[Prepared, Forecast]:
    """What a recipe's data come to, and what training on them will take. Nothing is written.

    Args:
        recipe: of the training.
        show: is given the first of the two before the second is computed, which may fail.

    Raises:
        DataError, ModelError: see the stages.
    """
    from prefboost.training.forecast import forecast

    table = prepare(recipe, render_of(recipe))
    prepared = prepared_from(table)
    if show is not None:
        show(prepared)
    pairs, evaluation = split_rows(table.frame.to_arrow())
    return prepared, forecast(pairs, recipe.train, eval_pairs=evaluation, say=recipe.condition)


def train_on(
    table: Table, settings: Train, out: str | Path = "policy", *, progress: Progress | None = None
) -> TrainReport:
    """Train on GoalPairs that stand in memory: ``pb.train(data, pb.Train(model=..., loss=pb.DPO(beta=0.01)))``.

    Args:
        table: GoalPairs after `condition`; how goals are said is taken from its history.
        settings: a `Train`.
        out: run folder; the model is saved in ``out/model``.
        progress: is told how far training has come.

    Raises:
        RunError, DataError, ModelError: see `prefboost.training.train`.
    """
    said = [step.settings for step in table.steps if step.verb == "condition"]
    say = SayGoal.model_validate(dict(said[-1])) if said else None
    pairs, evaluation = split_rows(table.frame.to_arrow())
    return train(pairs, settings, Path(out), eval_pairs=evaluation, say=say, scales=_scales(table), progress=progress)


def prepared_from(table: Table) -> Prepared:
    """The counts of a table's history."""
    steps = tuple(_shown(step) for step in table.steps)
    return Prepared(len(table), steps, dict(Counter(table.rejects["reason"].to_list())))


def _aspects(recipe: PolicyRecipe) -> tuple[str, ...]:
    """Aspects that goals are made of."""
    return tuple(getattr(recipe.relabel, "aspects", ()))


def _benchmark_prompts(recipe: PolicyRecipe) -> list[str]:
    return [text for path in recipe.decontaminate for text in benchmark_prompts(path)]


def inputs_of(recipe: PolicyRecipe) -> list[str]:
    """Files and folders the recipe reads; data sets on the hub are pinned by their revision instead."""
    source = recipe.prompts if isinstance(recipe, OnPolicy) else recipe.data
    paths = [getattr(source, "path", None), *recipe.decontaminate]
    return [str(path) for path in paths if path and Path(path).exists()]


def render_of(recipe: PolicyRecipe) -> Render:
    """The chat template of the model to train, as a function.

    Raises:
        ModelError: the tokenizer cannot be loaded.
    """
    from prefboost.training.policy import load_tokenizer

    tokenizer = load_tokenizer(recipe.train)

    def render(messages: Sequence[Mapping[str, Any]]) -> str:
        # goal=False: a template that asks for a goal by itself is told not to.
        text: str = tokenizer.apply_chat_template([to_record(each) for each in messages], tokenize=False, goal=False)
        return text

    return render


def _token_counter(recipe: PolicyRecipe) -> CountTokens | None:
    if recipe.select is None or not recipe.select.counts_tokens:
        return None
    from prefboost.training.policy import load_tokenizer

    return counter_of(load_tokenizer(recipe.train))


def write_pairs(table: Table, folder: Path) -> dict[str, Any]:
    """Write goal pairs and rejects into a folder; returns counts, history and scales.

    Raises:
        DataError: no pair is left.
    """
    import pyarrow.parquet as pq

    made = prepared_from(table)
    if not len(table):
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in made.rejected.items())
        raise DataError(
            f"no goal pair is left to train on; rows set aside: {reasons or 'none, the input is empty'}",
            remedy="`prefboost inspect` shows what is in the data",
            place=Place(table.path),
        )
    for name, frame in ((PAIRS, table.frame), (REJECTS, table.rejects)):
        with replacing(folder / name) as waiting:
            pq.write_table(frame.to_arrow(), waiting)
    return {
        "goal_pairs": made.goal_pairs,
        "steps": list(made.steps),
        "rejected": made.rejected,
        "scales": _scales(table),
    }


def _scales(table: Table) -> dict[str, Any]:
    return {name: scale.model_dump(mode="json") for name, scale in table.scales.items()}


def _shown(step: Step) -> dict[str, Any]:
    return {"verb": step.verb, "rows_in": step.rows_in, "rows_out": step.rows_out, "rejected": dict(step.rejected)}


def split_rows(pairs: Any) -> tuple[Any, Any]:
    """Rows to train on, and those whose ``split`` says that they are for evaluation (None where there are none)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "split" not in pairs.column_names:
        return pairs, None
    aside = pc.fill_null(pc.is_in(pairs["split"], value_set=pa.array(EVALUATION_SPLITS)), False)
    evaluation = pairs.filter(aside)
    return pairs.filter(pc.invert(aside)), evaluation if len(evaluation) else None
