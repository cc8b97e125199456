"""`reproduce`: the comparison of the paper on one's own model and data, in one folder that resumes."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prefboost.atomic import write_atomically
from prefboost.diagnosis.frontier import CompareFrontiers
from prefboost.runs.folder.manifest import open_run
from prefboost.runs.pipelines.goal_pairs import choose_recipe_rows, list_input_paths
from prefboost.runs.reproduce.ability import check_academic_data
from prefboost.runs.reproduce.arms import ARMS
from prefboost.runs.reproduce.cells import CELLS, START, CellResult, CellSetup, measure_cell
from prefboost.runs.reproduce.equal_kl import compare_at_equal_kl
from prefboost.runs.reproduce.frame import REPORT, RESULTS, TRAIN, CellRunner, ReproductionReport
from prefboost.runs.reproduce.held_out import hold_prompts_out
from prefboost.runs.reproduce.own_samples import ROUND_PROMPTS, write_round_prompts
from prefboost.runs.reproduce.plan import check_betas, count_further_cells, count_steps, plan_cells
from prefboost.runs.reproduce.settings import Reproduction
from prefboost.runs.reproduce.verdicts import (
    choose_best,
    format_table,
    list_claims,
    list_figures,
    name_measure,
)
from prefboost.sources import File, read
from prefboost.sources.write import write
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.training.claim import hold_folder

if TYPE_CHECKING:
    from prefboost.progress import Progress
    from prefboost.runs.reproduce.cells import Cell

__all__ = ["CELLS", "ReproductionReport", "reproduce"]

logger = logging.getLogger(__name__)

BEST, PUBLISHED = "best", "published"


def reproduce(
    settings: Reproduction,
    out: str | Path,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] = logger.info,
) -> ReproductionReport:
    """Compare reward augmentation with its rivals at equal steps (arXiv 2410.08067, section 5).

    Every arm's beta and learning rate are chosen on validation prompts with the first seed; the verdict is that of all
    seeds on test prompts. The same call after an interruption goes on where it stopped.

    Args:
        settings: recipe, arms, grid, seeds, and what the verdict is taken by.
        out: folder; gets ``results.json``, ``report.md``, the rows to train on, and a folder of cells.
        progress: of the cell at work.
        tell: receives a line after every cell: how many are done, and the time left.

    Raises:
        RunError: the folder holds something else, lies around an input, or another process is at work in it.
        DataError, ModelError, SettingsError: see the stages.
    """
    folder, recipe = Path(out), settings.recipe
    check_betas(settings)
    check_academic_data(settings)
    refuse_inputs([folder], list_input_paths(recipe), [settings])
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder):
        open_run(folder, "reproduce", settings.model_dump(mode="json"), list_input_paths(recipe))
        held_out = hold_prompts_out(choose_recipe_rows(recipe, read(recipe.data)), settings)
        if settings.training_noise is not None:
            held_out = held_out.add_training_noise(settings.training_noise)
        # Cells read a file, not the source: their run folders then name its hash, and a hub is asked once.
        rows = folder / TRAIN
        if not rows.exists():
            write(held_out.select("train"), rows)
        ours = recipe.model_copy(update={"data": File(path=str(rows)), "select": None, "decontaminate": ()})
        steps = count_steps(settings, held_out.select("train"))
        if settings.on_policy is not None:
            write_round_prompts(held_out.select("train"), folder / ROUND_PROMPTS)
        setup = CellSetup(settings, ours, held_out, steps, folder / CELLS)
        report = _compare(setup, str(folder), progress, tell)
        write_atomically(folder / RESULTS, json.dumps(report.record(), indent=2, ensure_ascii=False) + "\n")
        write_atomically(folder / REPORT, "\n".join(_format_report(report, settings, steps)) + "\n")
    return report


def _compare(
    setup: CellSetup, folder: str, progress: Progress | None, tell: Callable[[str], None]
) -> ReproductionReport:
    """Measure all cells: first those that choose settings, then the other seeds of what was chosen."""
    settings = setup.settings
    first, seed = plan_cells(settings), settings.seeds[0]
    work = functools.partial(measure_cell, setup=setup, progress=progress)
    cells = CellRunner(setup.folder, work, len(first) + count_further_cells(settings), tell)
    tried = [cells.measure(cell) for cell in first]
    # Which measure decides is read off the results: without a scorer there is none of new completions.
    measure = name_measure(tried)
    settled: dict[tuple[str, str], Cell] = {}
    for arm in settings.arms:
        best = settled[arm, BEST] = choose_best(arm, tried, measure, seed)
        settled[arm, PUBLISHED] = min(
            (result.cell for result in tried if result.cell.arm == arm and result.cell.beta == settings.published_beta),
            # The recipe's own learning rate, or the nearest that was tried.
            key=lambda cell: abs(cell.learning_rate - settings.recipe.train.learning_rate),
            default=best,
        )
    # The best settings of all arms come first, since their comparison decides.
    for arm in settings.arms:
        cells.measure_seeds(settled[arm, BEST], settings.seeds)
    chosen: dict[tuple[str, str], list[CellResult]] = {(START, BEST): tried[:1]}
    chosen |= {place: cells.measure_seeds(cell, settings.seeds) for place, cell in settled.items()}
    figures = [figure for (arm, setting), results in chosen.items() for figure in list_figures(arm, setting, results)]
    claims = list_claims(lambda arm, setting: chosen.get((arm, setting), []), measure, settings.published_beta)
    # The frontier takes every cell: settings that lost on validation are points of it all the same.
    against = CompareFrontiers(against="dpo" if "dpo" in settings.arms else None)
    frontier = compare_at_equal_kl(cells.results.values(), against)
    return ReproductionReport(folder, tuple(figures), tuple(claims), len(cells.results), cells.seconds, frontier)


def _format_report(report: ReproductionReport, settings: Reproduction, steps: int) -> Iterator[str]:
    train = settings.recipe.train
    kind = getattr(settings.scorer, "kind", None)
    judged = "held-out completions of the file" if kind is None else f"scorer {kind} on new completions"
    seeds = ", ".join(map(str, settings.seeds))
    yield "# Reward-augmented preference alignment against its rivals"
    yield ""
    yield f"{train.model}, {steps:,} optimiser steps of {train.batch_size} rows, seeds {seeds}; verdict by {judged}."
    if settings.noise is not None:
        yield f"Training saw scores with errors of standard deviation {settings.noise.deviation:g}; no verdict did."
    rates = settings.learning_rates or (train.learning_rate,)
    searched = (f"{', '.join(f'{value:g}' for value in sorted(values))}" for values in (settings.betas, rates))
    alone = " An arm that needs another rate is at a disadvantage." if len(rates) == 1 else ""
    yield f"Chosen on validation prompts for every arm: beta of {next(searched)}; rate of {next(searched)}.{alone}"
    yield "Intervals: 95 %, over seeds and prompts."
    if settings.on_policy is not None:
        yield "The first round's own samples were drawn once, for all cells: intervals hold no other draw of them."
    yield ""
    yield from (f"- {claim.line()}" for claim in report.claims)
    yield ""
    yield from format_table(report.figures)
    yield ""
    if report.frontier is not None:
        yield "At equal KL, all betas and learning rates of an arm as one curve:"
        yield ""
        yield from (f"    {line}" for line in report.frontier.lines())
        yield ""
    yield from (f"- {name}: {arm.purpose}" for name, arm in ARMS.items() if name in settings.arms)
