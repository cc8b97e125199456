"""`reproduce`: the comparison of the paper on one's own model and data, in one folder that resumes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.atomic import write_atomically
from prefboost.diagnosis.frontier import CompareFrontiers, FrontierReport
from prefboost.progress import duration
from prefboost.runs.folder.manifest import open_run
from prefboost.runs.pipelines.goal_pairs import choose_recipe_rows, list_input_paths, load_renderer, make_recipe_pairs
from prefboost.runs.reproduce.arms import ARMS, searches_beta
from prefboost.runs.reproduce.cells import CELLS, START, Cell, CellResult, CellSetup, measure_cell, read_cell
from prefboost.runs.reproduce.equal_kl import compare_at_equal_kl
from prefboost.runs.reproduce.held_out import hold_prompts_out
from prefboost.runs.reproduce.settings import Reproduction
from prefboost.runs.reproduce.verdicts import (
    ArmFigure,
    ClaimVerdict,
    choose_best,
    format_table,
    list_claims,
    list_figures,
    name_measure,
)
from prefboost.sources import File, read
from prefboost.sources.write import write
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.statistics.json_form import replace_nan
from prefboost.training.claim import hold_folder

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["CELLS", "ReproductionReport", "plan_cells", "reproduce"]

logger = logging.getLogger(__name__)

TRAIN, RESULTS, REPORT = "train.parquet", "results.json", "report.md"
"""Names in the folder of a reproduction."""

BEST, PUBLISHED = "best", "published"


@dataclass(frozen=True)
class ReproductionReport:
    """Report of `reproduce`.

    Args:
        folder: where everything lies.
        figures: every measure of every arm.
        claims: the paper's claims, each with its verdict.
        cells: that were trained or read.
        seconds: of all cells, those of earlier calls included.
        frontier: arms at equal KL; None without a scorer.
    """

    folder: str
    figures: tuple[ArmFigure, ...]
    claims: tuple[ClaimVerdict, ...]
    cells: int
    seconds: float
    frontier: FrontierReport | None = None

    def record(self) -> dict[str, Any]:
        """Return the JSON form; unknown ends of intervals are null."""
        values: dict[str, Any] = replace_nan(asdict(self))
        return {**values, "frontier": None if self.frontier is None else self.frontier.record()}

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        yield f"{self.cells:,} cells, {duration(self.seconds)} of training and measuring"
        yield from (claim.line() for claim in self.claims)
        yield f"table: {Path(self.folder) / REPORT}"


def plan_cells(settings: Reproduction) -> list[Cell]:
    """List the cells that choose settings: every arm at every beta and learning rate, with the first seed.

    The published beta is among them. What `reproduce` trains besides, once the best settings are known, are the other
    seeds of the best and of the published settings.
    """
    recipe, seed = settings.recipe, settings.seeds[0]
    rates = settings.learning_rates or (recipe.train.learning_rate,)
    betas = sorted({*settings.betas, settings.published_beta})
    return [Cell(START)] + [
        Cell(arm, beta, rate, seed)
        for arm in settings.arms
        for beta in (betas if searches_beta(arm, recipe) else [None])
        for rate in rates
    ]


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
    refuse_inputs([folder], list_input_paths(recipe), [settings])
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder):
        open_run(folder, "reproduce", settings.model_dump(mode="json"), list_input_paths(recipe))
        held_out = hold_prompts_out(choose_recipe_rows(recipe, read(recipe.data)), settings)
        # Cells read a file, not the source: their run folders then name its hash, and a hub is asked once.
        rows = folder / TRAIN
        if not rows.exists():
            write(held_out.select("train"), rows)
        ours = recipe.model_copy(update={"data": File(path=str(rows)), "select": None, "decontaminate": ()})
        pairs = make_recipe_pairs(ours, held_out.select("train"), load_renderer(ours))
        # One pass of the augmented rows; plain arms hold each pair twice, so that this is one pass of theirs too.
        steps = settings.steps or max(1, len(pairs) // recipe.train.batch_size)
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
    further = 2 * len(settings.arms) * (len(settings.seeds) - 1)
    cells = _Cells(setup, len(first) + further, progress, tell)
    tried = [cells.measure(cell) for cell in first]
    # Which measure decides is read off the results: without a scorer there is none of new completions.
    measure = name_measure(tried)
    chosen: dict[tuple[str, str], list[CellResult]] = {(START, BEST): tried[:1]}
    for arm in settings.arms:
        best = choose_best(arm, tried, measure, seed)
        published = min(
            (result.cell for result in tried if result.cell.arm == arm and result.cell.beta == settings.published_beta),
            # The recipe's own learning rate, or the nearest that was tried.
            key=lambda cell: abs(cell.learning_rate - settings.recipe.train.learning_rate),
            default=best,
        )
        for setting, cell in ((BEST, best), (PUBLISHED, published)):
            seeds = [Cell(arm, cell.beta, cell.learning_rate, each) for each in settings.seeds]
            chosen[arm, setting] = [cells.measure(each) for each in seeds]
    figures = [figure for (arm, setting), results in chosen.items() for figure in list_figures(arm, setting, results)]
    claims = list_claims(lambda arm, setting: chosen.get((arm, setting), []), measure, settings.published_beta)
    # The frontier takes every cell: settings that lost on validation are points of it all the same.
    against = CompareFrontiers(against="dpo" if "dpo" in settings.arms else None)
    frontier = compare_at_equal_kl(cells.results.values(), against)
    return ReproductionReport(folder, tuple(figures), tuple(claims), len(cells.results), cells.seconds, frontier)


class _Cells:
    """Measures cells once each, and tells how far the reproduction has come."""

    def __init__(self, setup: CellSetup, most: int, progress: Progress | None, tell: Callable[[str], None]) -> None:
        self.setup, self.most, self.progress, self.tell = setup, most, progress, tell
        self.results: dict[Cell, CellResult] = {}

    @property
    def seconds(self) -> float:
        """Seconds of all cells, also in earlier calls."""
        return sum(result.seconds for result in self.results.values())

    def measure(self, cell: Cell) -> CellResult:
        """Measure a cell, or read what an earlier call measured."""
        if cell not in self.results:
            stored = read_cell(self.setup.folder, cell)
            self.results[cell] = stored or measure_cell(cell, self.setup, self.progress)
            done = len(self.results)
            # Cells differ in length; their mean is the best guess once a few are done.
            left = max(0, self.most - done) * self.seconds / done
            self.tell(f"{cell.name}: {done} of at most {self.most} cells, at most {duration(left)} left")
        return self.results[cell]


def _format_report(report: ReproductionReport, settings: Reproduction, steps: int) -> Iterator[str]:
    train = settings.recipe.train
    kind = getattr(settings.scorer, "kind", None)
    judged = "held-out completions of the file" if kind is None else f"scorer {kind} on new completions"
    seeds = ", ".join(map(str, settings.seeds))
    yield "# Reward-augmented preference alignment against its rivals"
    yield ""
    yield f"{train.model}, {steps:,} optimiser steps of {train.batch_size} rows, seeds {seeds}; verdict by {judged}."
    yield "Intervals: 95 %, over seeds and prompts."
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
