"""Arms of a reproduction at equal KL: every cell with new scored completions is a point of its arm's frontier."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prefboost.diagnosis.frontier import CompareFrontiers, FrontierReport, PolicyPoint, measure_frontier
from prefboost.errors import DataError, Place
from prefboost.runs.diagnose.report_file import guard_report, write_report
from prefboost.runs.reproduce.cells import CELLS, START, CellResult, read_cell_file
from prefboost.runs.reproduce.held_out import TEST

__all__ = ["compare_at_equal_kl", "diagnose_reproduction", "list_cell_results"]


def compare_at_equal_kl(results: Iterable[CellResult], settings: CompareFrontiers) -> FrontierReport | None:
    """Compare the arms at equal KL, on the test prompts.

    Args:
        results: of all cells: every beta and learning rate of an arm is a point.
        settings: where, and against which arm.

    Returns:
        None where no cell has new completions with a score: without a scorer there is no KL.
    """
    points, start = [], None
    for result in results:
        cell, measures = result.cell, result.measures[TEST]
        if cell.arm == START:
            start = measures.get("score")
        elif "score" in measures and "kl" in measures:
            beta = "" if cell.beta is None else f"beta {cell.beta:g}, "
            setting = f"{beta}rate {cell.learning_rate:g}"
            points.append(PolicyPoint(cell.arm, setting, cell.seed, measures["score"], measures["kl"]))
    return measure_frontier(points, start, settings) if points else None


def diagnose_reproduction(folder: str | Path, settings: CompareFrontiers, out: str | Path) -> FrontierReport:
    """Compare the arms of a reproduction at equal KL, and write the report; also while the reproduction is at work.

    Args:
        folder: of the reproduction.
        settings: where, and against which arm.
        out: ``.json`` file for the report.

    Raises:
        DataError: no cell has new completions with a score.
        RunError: the output is an input, or a file that `diagnose` did not write.
    """
    guard_report(out, [folder])
    report = compare_at_equal_kl(list_cell_results(folder), settings)
    if report is None:
        raise DataError(
            "no cell has new completions with a score, so that there is no KL",
            remedy="reproduce with a scorer (e.g. scorer.kind=rules) into another folder",
            place=Place(path=str(folder)),
        )
    write_report(out, "frontier", report.record())
    return report


def list_cell_results(folder: str | Path) -> list[CellResult]:
    """Read all cells that a reproduction has measured so far; also while it is at work.

    Raises:
        DataError: the folder holds no cells, or one that cannot be read.
    """
    paths = sorted((Path(folder) / CELLS).glob("*.json"))
    if not paths:
        raise DataError(
            "no cell of a reproduction is measured here",
            remedy="give the folder that prefboost reproduce writes",
            place=Place(path=str(folder)),
        )
    try:
        return [read_cell_file(path) for path in paths]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"a cell cannot be read: {error}", remedy="give the folder of a reproduction") from error
