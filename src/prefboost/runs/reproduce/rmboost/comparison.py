"""`reproduce_rmboost`: pairs of every arm, a reward model on each, and how often each agrees with held-out labels."""

from __future__ import annotations

import functools
import json
import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prefboost.atomic import write_atomically
from prefboost.chat import join_text
from prefboost.forecast import CallForecast, Forecast
from prefboost.progress import tell_bar
from prefboost.runs.diagnose.policy_completions import PromptMeasures, average_within_prompts
from prefboost.runs.folder.manifest import names_input, open_run
from prefboost.runs.pipelines.train_reward import forecast_reward_run, train_reward_on
from prefboost.runs.reproduce.cells import CELLS, Cell, CellResult
from prefboost.runs.reproduce.frame import REPORT, RESULTS, CellRunner, ReproductionReport
from prefboost.runs.reproduce.held_out import SPLITS, HeldOutRows, hold_prompts_out
from prefboost.runs.reproduce.plan import repeat_training
from prefboost.runs.reproduce.rmboost.arms import HUMAN, METHOD_ARMS
from prefboost.runs.reproduce.rmboost.data import ArmPairs, forecast_arms, make_arm_pairs
from prefboost.runs.reproduce.rmboost.settings import RewardReproduction
from prefboost.runs.reproduce.verdicts import (
    Statement,
    choose_best,
    format_table,
    judge_statements,
    list_figures,
)
from prefboost.scoring import RewardModelScorer
from prefboost.sources import read
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.tables import PREFERENCE_PAIRS, Table, refuse_other_tables
from prefboost.training.claim import MODEL, hold_folder

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["forecast_rmboost", "plan_reward_cells", "read_labelled", "reproduce_rmboost"]

logger = logging.getLogger(__name__)

CHANCE, LONGER = "chance", "longer_completion"
"""Arms that train nothing: half of the pairs, and the longer completion."""

BEST, ACCURACY = "best", "accuracy"

STATEMENTS: tuple[Statement, ...] = (
    ("rmboost's pairs teach more than rlaif's", "rmboost", "rlaif", BEST, ACCURACY),
    ("rmboost's pairs teach more than rlcd's", "rmboost", "rlcd", BEST, ACCURACY),
    ("rmboost's pairs teach more than west_of_n's", "rmboost", "west_of_n", BEST, ACCURACY),
    ("several aspects beat one", "rmboost", "rmboost_one_aspect", BEST, ACCURACY),
    ("named aspects beat better or worse as a whole", "rmboost", "rmboost_no_aspects", BEST, ACCURACY),
    ("the label first beats the judge's label on the same edits", "rmboost", "rmboost_judged", BEST, ACCURACY),
    ("rmboost beats chance", "rmboost", CHANCE, BEST, ACCURACY),
    ("rlaif beats chance", "rlaif", CHANCE, BEST, ACCURACY),
    ("rmboost beats the longer completion", "rmboost", LONGER, BEST, ACCURACY),
    ("the labels of the data beat rmboost's pairs", HUMAN, "rmboost", BEST, ACCURACY),
)
"""The paper's claims, and what has to hold for them to mean anything."""


@dataclass(frozen=True)
class _Setup:
    """All that the cells share."""

    settings: RewardReproduction
    arms: Mapping[str, ArmPairs]
    held_out: HeldOutRows
    steps: int
    folder: Path


def read_labelled(settings: RewardReproduction) -> HeldOutRows:
    """Read the labelled pairs, and split their prompts.

    Raises:
        DataError: the file holds no pairs, or too few prompts.
    """
    table = read(settings.data, columns=settings.columns)
    remedy = "give pairs that people or a strong judge labelled"
    refuse_other_tables(table, PREFERENCE_PAIRS, task="reproduce rmboost", remedy=remedy)
    return hold_prompts_out(table, settings)


def plan_reward_cells(settings: RewardReproduction) -> list[Cell]:
    """List the cells that choose learning rates: every arm at each, with the first seed."""
    rates = settings.learning_rates or (settings.train.learning_rate,)
    trained = [Cell(arm, None, rate, settings.seeds[0]) for arm in settings.arms for rate in rates]
    return [Cell(CHANCE), Cell(LONGER), *trained]


def forecast_rmboost(settings: RewardReproduction) -> tuple[Forecast, dict[str, Forecast]]:
    """Forecast the calls of every arm, the trainings and their time; asks for nothing, and writes nothing.

    Args:
        settings: of the comparison.

    Returns:
        the whole; and part of the work -> its calls or trainings alone, for an estimate on other machines.

    Raises:
        DataError, ModelError: as in `reproduce_rmboost`.
    """
    labelled = read_labelled(settings).select("train")
    arms = forecast_arms(labelled, settings)
    parts = tuple(replace(each.total, name=arm) for arm, each in arms.items())
    # Labelled pairs stand for those that are not written yet: the same prompts, completions of about the same length.
    steps = settings.steps or max(1, len(labelled) // settings.train.batch_size)
    training = forecast_reward_run(labelled, settings.train.model_copy(update={"max_steps": steps}))
    chosen = len(plan_reward_cells(settings)) - 2
    trained = chosen + len(settings.arms) * (len(settings.seeds) - 1)
    seconds = {name: value * trained for name, value in training.seconds.items()}
    calls = sum(parts, CallForecast())
    whole = Forecast(
        f"{chosen:,} reward models to choose learning rates, {trained - chosen:,} more for the other seeds, "
        f"{steps:,} steps each",
        {"prompts": max((each.counts["prompts"] for each in arms.values()), default=0), "steps": steps * trained},
        calls,
        parts,
        device=training.device,
        seconds=seconds,
        memory=training.memory,
        guesses=[*training.guesses, "pairs: labelled ones stand for those that are not written yet"],
        remarks=["the time of the calls depends on the engine; their progress bar shows it"],
    )
    return whole, {"calls": Forecast(total=calls), **repeat_training(training, chosen, trained - chosen)}


def reproduce_rmboost(
    settings: RewardReproduction,
    out: str | Path,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] = logger.info,
) -> ReproductionReport:
    """Compare RMBoost with its rivals by the reward models that their pairs train (arXiv 2407.16008).

    All arms write to the same prompts with the same engine, at equal calls or equal pairs; all reward models take
    equally many steps, at the learning rate that suits the arm best on validation labels; the verdict is that of all
    seeds on test labels. The same call after an interruption resumes.

    Args:
        settings: data, engine, arms, training.
        out: folder; gets ``results.json``, ``report.md``, the pairs of every arm, and a folder of cells.
        progress: of the work.
        tell: receives a line after every cell.

    Raises:
        RunError: the folder holds something else, lies around an input, or another process is at work in it.
        DataError, ModelError, SettingsError: see the stages.
    """
    folder = Path(out)
    inputs = [settings.data] if names_input(settings.data) else []
    refuse_inputs([folder], inputs, [settings])
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder):
        open_run(folder, "reproduce rmboost", settings.model_dump(mode="json"), inputs)
        held_out = read_labelled(settings)
        arms = make_arm_pairs(held_out.select("train"), settings, folder / "pairs", tell_bar(progress))
        # One pass of the largest arm: smaller ones go over their pairs more often, and none takes more steps.
        largest = max(len(each.table) for each in arms.values())
        steps = settings.steps or max(1, largest // settings.train.batch_size)
        setup = _Setup(settings, arms, held_out, steps, folder / CELLS)
        first = plan_reward_cells(settings)
        most = len(first) + len(settings.arms) * (len(settings.seeds) - 1)
        cells = CellRunner(setup.folder, functools.partial(_measure_cell, setup=setup, progress=progress), most, tell)
        tried = [cells.measure(cell) for cell in first]
        chosen = {name: [result] for name, result in zip((CHANCE, LONGER), tried[:2], strict=True)}
        for arm in settings.arms:
            chosen[arm] = cells.measure_seeds(choose_best(arm, tried, ACCURACY, settings.seeds[0]), settings.seeds)
        figures = [figure for arm, results in chosen.items() for figure in list_figures(arm, BEST, results)]
        claims = judge_statements(STATEMENTS, lambda arm, _: chosen.get(arm, []))
        report = ReproductionReport(str(folder), tuple(figures), tuple(claims), len(cells.results), cells.seconds)
        write_atomically(folder / RESULTS, json.dumps(report.record(), indent=2, ensure_ascii=False) + "\n")
        write_atomically(folder / REPORT, "\n".join(_format_report(report, setup)) + "\n")
    return report


def _measure_cell(cell: Cell, setup: _Setup, progress: Progress | None) -> CellResult:
    """Train a reward model, hold it against both splits, and write its measures; the training resumes."""
    settings, place, began = setup.settings, setup.folder / cell.name, time.monotonic()
    trained = cell.arm not in (CHANCE, LONGER)
    if trained:
        changes = {"learning_rate": cell.learning_rate, "seed": cell.seed, "max_steps": setup.steps}
        train = settings.train.model_copy(update=changes)
        train_reward_on(setup.arms[cell.arm].table, train, place, progress=progress)
    measures: dict[str, PromptMeasures] = {}
    for split in SPLITS:
        pairs = setup.held_out.select(split)
        if trained:
            scored = RewardModelScorer(model=str((place / MODEL).resolve()), dtype="float32").score(pairs)
            leads = (scored.frame["score_chosen"] - scored.frame["score_rejected"]).to_list()
            measures[split] = _average_accuracy(scored, leads)
        else:
            leads = [0.0] * len(pairs) if cell.arm == CHANCE else _measure_longer(pairs)
            measures[split] = _average_accuracy(pairs, leads)
    result = CellResult(cell, measures, setup.steps if trained else 0, time.monotonic() - began)
    write_atomically(setup.folder / f"{cell.name}.json", json.dumps(asdict(result)) + "\n")
    if trained and not settings.keep_models:
        shutil.rmtree(place / MODEL)
    return result


def _average_accuracy(pairs: Table, leads: list[float]) -> PromptMeasures:
    """Average per prompt how often the preferred completion is ahead; a tie is half right."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for prompt, lead, excess in zip(pairs.frame["prompt_id"], leads, _measure_longer(pairs), strict=True):
        right = 0.5 if lead == 0 else float(lead > 0)
        values[ACCURACY][prompt].append(right)
        # A reward model that only counts words is right where the preferred completion is the longer one.
        if excess <= 0:
            values["accuracy_if_shorter"][prompt].append(right)
    return average_within_prompts(values)


def _measure_longer(pairs: Table) -> list[float]:
    """Measure by how many characters the preferred completion is the longer one."""
    sides = (pairs.frame[side].to_list() for side in ("chosen", "rejected"))
    return [float(len(join_text(chosen)) - len(join_text(rejected))) for chosen, rejected in zip(*sides, strict=True)]


def _format_report(report: ReproductionReport, setup: _Setup) -> Iterator[str]:
    settings, train = setup.settings, setup.settings.train
    seeds = ", ".join(map(str, settings.seeds))
    prompts = setup.held_out.select("test").frame.select(pl.col("prompt_id").n_unique()).item()
    yield "# RMBoost against its rivals"
    yield ""
    yield (
        f"Reward models from {train.model}, {setup.steps:,} optimiser steps of {train.batch_size} pairs, "
        f"seeds {seeds}; verdict by the labels of {prompts:,} prompts that no arm wrote to. Equal {settings.equal}."
    )
    yield "Intervals: 95 %, over seeds of training and prompts; every arm's pairs were made once, so that they hold no"
    yield "other draw of completions."
    yield ""
    yield from (f"- {claim.line()}" for claim in report.claims)
    yield ""
    yield from format_table(report.figures, (CHANCE, LONGER, *settings.arms))
    yield ""
    yield "| arm | prompts | calls at most | pairs proposed | pairs |"
    yield "|---|---|---|---|---|"
    for arm, each in setup.arms.items():
        yield f"| {arm} | {each.prompts:,} | {each.calls:,} | {each.proposed:,} | {len(each.table):,} |"
    yield ""
    yield from (f"- {arm}: {METHOD_ARMS[arm].purpose}" for arm in settings.arms)
