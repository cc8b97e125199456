"""The frame of every reproduction: cells measured once each, settings chosen with the first seed, verdicts with all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefboost.diagnosis.frontier import FrontierReport
from prefboost.progress import duration
from prefboost.runs.reproduce.cells import Cell, CellResult, read_cell
from prefboost.runs.reproduce.verdicts import ArmFigure, ClaimVerdict
from prefboost.statistics.json_form import replace_nan

__all__ = ["REPORT", "RESULTS", "TRAIN", "CellRunner", "ReproductionReport"]

TRAIN, RESULTS, REPORT = "train.parquet", "results.json", "report.md"
"""Names in the folder of a reproduction."""


@dataclass(frozen=True)
class ReproductionReport:
    """Report of a reproduction.

    Args:
        folder: where everything lies.
        figures: every measure of every arm.
        claims: the paper's claims, each with its verdict.
        cells: that were trained or read.
        seconds: of all cells, those of earlier calls included.
        frontier: arms at equal KL; None without new scored completions.
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


class CellRunner:
    """Measures cells once each, and tells how far the reproduction has come.

    Args:
        folder: of the cells' files.
        work: measures a cell, and writes its file.
        most: cells that may be measured in all.
        tell: receives a line after every cell: how many are done, and the time left.
    """

    def __init__(
        self, folder: Path, work: Callable[[Cell], CellResult], most: int, tell: Callable[[str], None]
    ) -> None:
        self.folder, self.work, self.most, self.tell = folder, work, most, tell
        self.results: dict[Cell, CellResult] = {}

    @property
    def seconds(self) -> float:
        """Seconds of all cells, also in earlier calls."""
        return sum(result.seconds for result in self.results.values())

    def measure(self, cell: Cell) -> CellResult:
        """Measure a cell, or read what an earlier call measured."""
        if cell not in self.results:
            self.results[cell] = read_cell(self.folder, cell) or self.work(cell)
            self.tell(f"{cell.name}: {len(self.results)} of at most {self.most} cells{self._describe_time_left()}")
        return self.results[cell]

    def measure_seeds(self, cell: Cell, seeds: Sequence[int]) -> list[CellResult]:
        """Measure the settings of a cell with every seed."""
        return [self.measure(Cell(cell.arm, cell.beta, cell.learning_rate, seed)) for seed in seeds]

    def _describe_time_left(self) -> str:
        """Return words for the time left, guessed by the mean of trained cells; empty before one is trained."""
        trained = [result.seconds for result in self.results.values() if result.steps]
        if not trained:
            return ""
        left = max(0, self.most - len(self.results)) * sum(trained) / len(trained)
        return f", at most {duration(left)} left"
