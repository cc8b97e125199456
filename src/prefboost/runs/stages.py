"""The whole pipeline on one screen: what a recipe does, stage by stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.chat import SayGoal, join_text, to_record
from prefboost.errors import DataError, Place
from prefboost.preferences import FittedScale, apply_scale, condition, fit_scales, pair, relabel
from prefboost.preferences.condition import said_on
from prefboost.preferences.goals import asked_scale, declared_by
from prefboost.preferences.select import CountTokens, Select, decontaminate, select
from prefboost.recipes.recipe import Recipe
from prefboost.runs.executor import Executor, Local
from prefboost.runs.run import Run, fingerprint, fingerprint_of, open_run
from prefboost.runs.token_counts import counter_of
from prefboost.sources import read
from prefboost.tables import Step, Table
from prefboost.training import Train, TrainReport, train

if TYPE_CHECKING:
    from prefboost.chat.template import Render
    from prefboost.training.callbacks import Progress
    from prefboost.training.forecast import Forecast

__all__ = [
    "PAIRS",
    "REJECTS",
    "Prepared",
    "predict",
    "prepare",
    "prepared_from",
    "render_of",
    "run_recipe",
    "split_rows",
    "train_on",
]

PAIRS, REJECTS = "pairs.parquet", "rejects.parquet"
"""Names of the goal pairs and of the rows that were set aside, in a run folder."""

EVALUATION = ("validation", "test")
"""Values of the column ``split`` that mark rows to evaluate on."""


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
    table = read(recipe.data)
    if recipe.select is not None:
        table = select(table, recipe.select, count_tokens=_token_counter(recipe))
    if recipe.decontaminate:
        table = decontaminate(table, _benchmark_prompts(recipe), ngram=(recipe.select or Select()).ngram)
    if recipe.scale is not None:
        table = apply_scale(table, fit_scales(recipe.scale, [table], aspects=_aspects(recipe), own=declared_by(table)))
    table = pair(table, recipe.pair)
    return condition(relabel(table, recipe.relabel), recipe.condition, render=render)


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
        RunError: ``out`` holds another run.
        DataError, ModelError: see the stages.
    """
    import pyarrow.parquet as pq

    executor = executor or Local()
    inputs = _inputs(recipe)
    run = _open(recipe, Path(out), inputs) if executor.leads else Run(Path(out))
    key = fingerprint_of(recipe.model_dump(mode="json", exclude={"train"}), recipe.train.model, recipe.train.revision,
                         recipe.train.chat_template, {name: fingerprint(name) for name in inputs})  # fmt: skip
    executor.see_to(
        "pairs",
        done=lambda: run.is_done("pairs", key),
        work=lambda: run.do(
            "pairs", key, [PAIRS, REJECTS], lambda: _write(prepare(recipe, render_of(recipe)), run.path)
        ),
    )
    pairs, evaluation = split_rows(pq.read_table(run.path / PAIRS))
    scales = run.notes("pairs")["scales"]
    return train(
        pairs,
        recipe.train,
        run.path,
        eval_pairs=evaluation,
        say=said_on(recipe.condition, asked_scale({k: FittedScale(**v) for k, v in scales.items()}, _aspects(recipe))),
        scales=scales,
        progress=progress,
    )


def predict(recipe: Recipe) -> tuple[Prepared, Forecast]:
    """What a recipe's data come to, and what training on them will take. Nothing is written.

    Raises:
        DataError, ModelError: see the stages.
    """
    from prefboost.training.forecast import forecast

    table = prepare(recipe, render_of(recipe))
    pairs, evaluation = split_rows(table.frame.to_arrow())
    return prepared_from(table), forecast(pairs, recipe.train, eval_pairs=evaluation, say=recipe.condition)


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


def _aspects(recipe: Recipe) -> tuple[str, ...]:
    """Aspects that goals are made of."""
    return tuple(getattr(recipe.relabel, "aspects", ()))


def _benchmark_prompts(recipe: Recipe) -> list[str]:
    return [join_text(prompt) for path in recipe.decontaminate for prompt in read(path).frame["prompt"].to_list()]


def _open(recipe: Recipe, out: Path, inputs: list[str]) -> Run:
    return open_run(out, recipe.name, recipe.model_dump(mode="json"), inputs)


def _inputs(recipe: Recipe) -> list[str]:
    """Files and folders the recipe reads; data sets on the hub are pinned by their revision instead."""
    paths = [getattr(recipe.data, "path", None), *recipe.decontaminate]
    return [str(path) for path in paths if path and Path(path).exists()]


def render_of(recipe: Recipe) -> Render:
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


def _token_counter(recipe: Recipe) -> CountTokens | None:
    if recipe.select is None or not recipe.select.counts_tokens:
        return None
    from prefboost.training.policy import load_tokenizer

    return counter_of(load_tokenizer(recipe.train))


def _write(table: Table, folder: Path) -> dict[str, Any]:
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
        unfinished = folder / f".{name}.tmp"
        pq.write_table(frame.to_arrow(), unfinished)
        unfinished.replace(folder / name)
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
    aside = pc.fill_null(pc.is_in(pairs["split"], value_set=pa.array(EVALUATION)), False)
    evaluation = pairs.filter(aside)
    return pairs.filter(pc.invert(aside)), evaluation if len(evaluation) else None
