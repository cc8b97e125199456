"""Cells are measured once, read where an earlier call measured them, and every seed takes the settings chosen."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from prefboost.runs.reproduce.cells import Cell, CellResult
from prefboost.runs.reproduce.frame import CellRunner, ReproductionReport


def build_result(cell: Cell) -> CellResult:
    return CellResult(cell, {"validation": {}, "test": {}}, 3, 60.0)


def test_no_cell_is_measured_twice_and_the_time_left_follows_from_those_done(tmp_path: Path) -> None:
    measured: list[str] = []
    lines: list[str] = []

    def work(cell: Cell) -> CellResult:
        measured.append(cell.name)
        return build_result(cell)

    stored = Cell("ra", 0.1, 1e-5, 1)
    (tmp_path / f"{stored.name}.json").write_text(json.dumps(asdict(build_result(stored))))
    runner = CellRunner(tmp_path, work, 4, lines.append)
    results = runner.measure_seeds(stored, (1, 2, 3))
    assert [result.cell.seed for result in results] == [1, 2, 3]
    assert measured == ["ra-beta0.1-rate1e-05-seed2", "ra-beta0.1-rate1e-05-seed3"]
    assert runner.measure(stored) == results[0] and len(lines) == 3
    # Three of four are done, a minute each.
    assert (
        lines[-1].startswith("ra-beta0.1-rate1e-05-seed3: 3 of at most 4 cells, at most 60 s left")
        and runner.seconds == 180
    )


def test_what_is_not_trained_says_nothing_about_the_time_left(tmp_path: Path) -> None:
    lines: list[str] = []
    runner = CellRunner(
        tmp_path,
        lambda cell: CellResult(cell, {}, 3 * bool(cell.learning_rate), 90.0 if cell.learning_rate else 0.1),
        4,
        lines.append,
    )
    for cell in (Cell("chance"), Cell("rlaif", None, 1e-5, 1)):
        runner.measure(cell)
    assert lines[0] == "chance: 1 of at most 4 cells"
    # Two cells of 90 seconds are left.
    assert lines[1] == "rlaif-rate1e-05-seed1: 2 of at most 4 cells, at most 3 min left"


def test_a_report_without_a_frontier_has_none_in_its_record() -> None:
    report = ReproductionReport("out", (), (), 2, 61.0)
    assert report.record()["frontier"] is None
    assert list(report.lines())[-1].endswith("out/report.md")
