"""Cells are points of their arm's frontier; without new completions there is none."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from prefboost.diagnosis.frontier import CompareFrontiers
from prefboost.errors import DataError
from prefboost.runs.reproduce.cells import START, Cell, CellResult
from prefboost.runs.reproduce.equal_kl import compare_at_equal_kl, list_cell_results

PROMPTS = [f"p{at}" for at in range(12)]


def build_result(arm: str, score: float, kl: float, seed: int = 1, beta: float | None = 0.1) -> CellResult:
    test = {"score": {p: score + at % 2 for at, p in enumerate(PROMPTS)}, "kl": dict.fromkeys(PROMPTS, kl)}
    return CellResult(Cell(arm, beta, 1e-5, seed), {"validation": {}, "test": test}, 10, 1.0)


RESULTS = [
    build_result(START, 5.0, 0.0, 0, None),
    *(build_result("dpo", 6.0, 10.0, seed) for seed in (1, 2, 3)),
    *(build_result("ra", 6.5, 5.0, seed) for seed in (1, 2, 3)),
    build_result("ra", 7.0, 8.0, 1, 0.03),
]


def test_every_beta_is_a_point_and_arms_are_compared_with_dpo() -> None:
    report = compare_at_equal_kl(RESULTS, CompareFrontiers(against="dpo", at=(5.0,)))
    assert report is not None
    assert [(point.arm, point.setting, point.seeds) for point in report.points] == [
        ("dpo", "beta 0.1, rate 1e-05", 3),
        ("ra", "beta 0.1, rate 1e-05", 3),
        ("ra", "beta 0.03, rate 1e-05", 1),
    ]
    (lead,) = report.leads
    assert lead.arm == "ra" and lead.at[5.0][2].estimate == pytest.approx(6.5 - 5.5) and lead.decided


def test_results_are_read_from_the_folder_of_a_reproduction(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no cell of a reproduction"):
        list_cell_results(tmp_path)
    (tmp_path / "cells").mkdir()
    for result in RESULTS:
        (tmp_path / "cells" / f"{result.cell.name}.json").write_text(json.dumps(asdict(result)))
    assert sorted(list_cell_results(tmp_path), key=lambda each: each.cell.name) == sorted(
        RESULTS, key=lambda each: each.cell.name
    )
    (tmp_path / "cells" / "broken.json").write_text("{}")
    with pytest.raises(DataError, match="a cell cannot be read"):
        list_cell_results(tmp_path)


def test_without_new_completions_there_is_no_kl() -> None:
    unscored = CellResult(Cell("dpo", 0.1, 1e-5, 1), {"validation": {}, "test": {"pair_accuracy": {"p": 1.0}}}, 1, 1.0)
    assert compare_at_equal_kl([unscored], CompareFrontiers()) is None
