"""The plan of a reproduction: its cells, what each of them does, and the time that all will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prefboost.engines.engine import Sampling
from prefboost.engines.local.engine import Local
from prefboost.engines.pool import open_engine
from prefboost.errors import SettingsError
from prefboost.forecast import CallForecast, Forecast
from prefboost.losses.weighted_sum import find_betas
from prefboost.progress import duration
from prefboost.runs.generate.generate import forecast_generation, generate
from prefboost.runs.generate.settings import Generate
from prefboost.runs.pipelines.goal_pairs import choose_recipe_rows, load_renderer, make_recipe_pairs
from prefboost.runs.pipelines.offline import forecast_recipe
from prefboost.runs.reproduce.ability import check_academic_data, time_question
from prefboost.runs.reproduce.arms import ARMS, build_arm_recipe, searches_beta
from prefboost.runs.reproduce.cells import START, Cell
from prefboost.runs.reproduce.held_out import SPLITS, HeldOutRows, hold_prompts_out
from prefboost.runs.reproduce.rmboost.data import choose_prompts
from prefboost.runs.reproduce.settings import Reproduction
from prefboost.settings import kind_of
from prefboost.sources import read
from prefboost.tables import Table

__all__ = [
    "ReproductionPlan",
    "check_betas",
    "count_further_cells",
    "count_steps",
    "plan_cells",
    "plan_reproduction",
    "plan_samples",
    "repeat_training",
]

_TIMED = 8
"""Prompts that are completed to tell how long a completion takes."""


def check_betas(settings: Reproduction) -> None:
    """Check that betas which are asked for have a loss to go to.

    Raises:
        SettingsError: an arm that trains with the recipe's loss has no beta to set, or a sum has several betas.
    """
    recipe = settings.recipe
    betas, kind = find_betas(recipe.train.loss), kind_of(recipe.train.loss)
    if len(set(betas)) > 1:
        raise SettingsError(
            f"the terms of train.loss have the betas {', '.join(f'{beta:g}' for beta in betas)}, and a search sets one "
            "for all terms",
            remedy="give all terms the same beta",
        )
    requests = [
        f"{name}={getattr(settings, name)}"
        for name in ("betas", "published_beta")
        if name in settings.model_fields_set and getattr(settings, name)
    ]
    without = [arm for arm in settings.arms if not searches_beta(arm, recipe)]
    # Fine-tuning never has one, whatever the recipe's loss.
    if requests and ({*without} - {"conditional_sft"} or without == [*settings.arms]):
        raise SettingsError(
            f"{requests[0]} is asked for, but the loss of {', '.join(without)} has no beta (train.loss: {kind})",
            remedy="take a loss with a beta, e.g. train.loss=dpo, or leave betas and published_beta out",
        )


def plan_cells(settings: Reproduction) -> list[Cell]:
    """List the cells that choose settings: every arm at every beta and learning rate, with the first seed.

    The published beta is among them. What `reproduce` trains besides, once the best settings are known, are the other
    seeds of the best and of the published settings.

    Raises:
        SettingsError: see `check_betas`.
    """
    check_betas(settings)
    recipe, seed = settings.recipe, settings.seeds[0]
    rates = settings.learning_rates or (recipe.train.learning_rate,)
    betas = sorted({*settings.betas, settings.published_beta})
    return [Cell(START)] + [
        Cell(arm, beta, rate, seed)
        for arm in settings.arms
        for beta in (betas if searches_beta(arm, recipe) else [None])
        for rate in rates
    ]


def count_further_cells(settings: Reproduction) -> int:
    """Count the most cells of the other seeds: those of each arm's best and published settings."""
    return 2 * len(settings.arms) * (len(settings.seeds) - 1)


def count_steps(settings: Reproduction, rows: Table) -> int:
    """Count the optimiser steps of an arm of full pace.

    Args:
        settings: say how many, or nothing: then it is one pass of the augmented rows. Plain arms hold each pair twice,
            so that this is one pass of theirs too.
        rows: to train on.
    """
    recipe, steps = settings.recipe, settings.steps
    if steps is None:
        pairs = make_recipe_pairs(build_arm_recipe("ra", recipe, {}, None), rows, load_renderer(recipe))
        steps = max(1, len(pairs) // recipe.train.batch_size)
    # Every round takes as many steps, and all rounds together as many as the other arms.
    rounds = 1 if settings.on_policy is None else settings.on_policy.rounds
    return max(rounds, steps - steps % rounds)


@dataclass(frozen=True)
class ReproductionPlan:
    """Cells, samples, time and cost of a reproduction.

    Args:
        lines: its cells, what they sample, score and answer, and the time of it all on this machine.
        works: part of the work -> forecast of its trainings or calls, for an estimate on other machines.
    """

    lines: Sequence[str]
    works: Mapping[str, Forecast]


def plan_reproduction(settings: Reproduction) -> ReproductionPlan:
    """Plan the cells, and forecast what they train, sample and answer; trains and writes nothing.

    Raises:
        DataError, ModelError, SettingsError: as in `prefboost.runs.reproduce.reproduce.reproduce`.
    """
    cells = plan_cells(settings)
    check_academic_data(settings)
    held_out = hold_prompts_out(choose_recipe_rows(settings.recipe, read(settings.recipe.data)), settings)
    further = count_further_cells(settings)
    trained = len(cells) - 1 + further
    lines = [cell.name for cell in cells]
    lines.append(f"{len(cells):,} cells to choose settings, at most {further:,} more for the other seeds")
    if settings.noise is not None:
        deviation = settings.noise.deviation
        lines.append(f"training sees scores with errors of standard deviation {deviation:g}; no verdict does")
    train = settings.recipe.train.model_copy(update={"max_steps": count_steps(settings, held_out.select("train"))})
    _, forecast = forecast_recipe(settings.recipe.model_copy(update={"train": train}))
    training = forecast.seconds.get("training", 0.0)
    total = training * trained + forecast.seconds.get("reference", 0.0)
    lines.append(
        f"about {duration(training)} of training per cell on {forecast.device}, at most {duration(total)} for all, "
        "and the measurements besides"
    )
    samples = plan_samples(settings, held_out, cells, further)
    lines += samples.lines
    if settings.academic is not None:
        tasks, limit = ", ".join(settings.academic.benchmarks), settings.academic.limit
        seconds = time_question(settings)
        most = "all questions" if limit is None else f"at most {limit:,} questions"
        cost = f"{duration(seconds)} for a question of each"
        if limit is not None:
            cost = f"{duration(seconds * limit)} per cell, at most {duration(seconds * limit * (trained + 1))} for all"
        lines.append(f"academic tasks of every cell: {tasks}, {most} of each task; about {cost}")
    return ReproductionPlan(lines, {**repeat_training(forecast, len(cells) - 1, further), **samples.works})


def repeat_training(training: Forecast, chosen: int, further: int) -> dict[str, Forecast]:
    """Forecast trainings of equal size: those that choose settings, and those of the other seeds.

    Log-probs of the reference model are kept, so that the first training alone computes them.

    Args:
        training: one of them.
        chosen: trainings that choose settings.
        further: trainings of the other seeds.
    """
    works: dict[str, Forecast] = {}
    for name, count in (("choosing settings", chosen), ("other seeds", further)):
        if count:
            alone = training.seconds if not works else {"training": training.seconds.get("training", 0.0)}
            seconds = {part: value * (count if part == "training" else 1) for part, value in alone.items()}
            tokens = {part: value * count for part, value in training.tokens.items()}
            works[name] = Forecast(tokens=tokens, seconds=seconds, device=training.device)
    return works


def plan_samples(settings: Reproduction, rows: HeldOutRows, cells: list[Cell], further: int) -> ReproductionPlan:
    """Plan what is sampled: completions of held-out prompts by every cell, and those that on-policy arms train on."""
    lines: list[str] = []
    works: dict[str, Forecast] = {}
    prompts = choose_prompts(rows.select("train"))
    if settings.scorer is not None:
        by_split = [choose_prompts(rows.select(split)) for split in SPLITS]
        held_out = settings.samples * sum(map(len, by_split))
        seconds = held_out * _time_completion(settings, prompts, settings.sampling)
        trained = len(cells) + further
        lines.append(
            f"{held_out:,} held-out completions per cell, scored by {kind_of(settings.scorer)}: about "
            f"{duration(seconds)} per cell, at most {duration(seconds * trained)} for all, and the scorer's time "
            "besides"
        )
        calls = [
            _forecast_samples(settings, each, settings.samples, settings.sampling) for each in by_split if len(each)
        ]
        works["held-out completions"] = Forecast(total=sum(calls, CallForecast()).scale(trained))
    samples = settings.on_policy
    if samples is not None:
        arms = [arm for arm in settings.arms if ARMS[arm].needs == "on_policy"]
        count = sum(cell.arm in arms for cell in cells) + further * len(arms) // len(settings.arms)
        drawn = len(prompts) * samples.generate.n
        seconds = drawn * _time_completion(settings, prompts, samples.generate.sampling)
        # The first round is the start model's, and is sampled once for all of them.
        times = 1 + count * (samples.rounds - 1)
        lines.append(
            f"{drawn:,} own samples in each of {samples.rounds} rounds of {', '.join(arms)}, scored by "
            f"{kind_of(samples.scorer or settings.scorer)}; the first round's once for all of at most {count:,} cells: "
            f"about {duration(seconds)} per round, at most {duration(seconds * times)} for all, and the scorer's time "
            "besides"
        )
        first_round = _forecast_samples(settings, prompts, samples.generate.n, samples.generate.sampling)
        works["own samples"] = Forecast(total=first_round.scale(times))
    return ReproductionPlan(lines, works)


def _forecast_samples(settings: Reproduction, prompts: Table, count: int, sampling: Sampling) -> CallForecast:
    """Forecast the calls for so many completions of each prompt."""
    requests = _ask_start_model(settings, sampling, count)
    return forecast_generation(prompts, requests, engine=open_engine(requests.engine)).total


def _time_completion(settings: Reproduction, prompts: Table, sampling: Sampling) -> float:
    """Time a completion of the start model, seconds; many at once are faster."""
    requests = _ask_start_model(settings, sampling, 1)
    opened = open_engine(requests.engine)
    for count in (1, _TIMED):  # the first call loads the model
        few = Table(prompts.spec, prompts.frame.head(count), path=prompts.path)
        began = time.monotonic()
        generate(few, requests, engine=opened)
    return (time.monotonic() - began) / len(few)


def _ask_start_model(settings: Reproduction, sampling: Sampling, count: int) -> Generate:
    """Ask the start model for so many completions of each prompt, without the words of a goal."""
    engine = Local(model=settings.recipe.train.model, revision=settings.recipe.train.revision)
    return Generate(engine=engine, sampling=sampling, n=count, silent=True)
