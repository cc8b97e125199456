"""The comparison: arms at equal steps, seeds inside intervals, one line per claim; it resumes and leaves no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefboost.runs.reproduce import reproduce as module
from prefboost.runs.reproduce.arms import ARMS
from prefboost.runs.reproduce.cells import Cell
from prefboost.runs.reproduce.reproduce import plan_cells, reproduce

from .conftest import build_settings

pytestmark = pytest.mark.torch

SCORER = {"kind": "length_scorer:LengthScorer"}


def test_it_compares_arms_on_new_completions_and_resumes_without_training_again(
    tiny: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = build_settings(tiny, scored, scorer=SCORER)
    out, lines = tmp_path / "out", list[str]()
    report = reproduce(settings, out, tell=lines.append)
    # The start model; both arms at the published and at a searched beta; then the second seed of the published and of
    # the best one, which are the same for an arm where the published beta is the best.
    again = {(figure.arm, figure.beta) for figure in report.figures if figure.arm != "start"}
    assert {arm for arm, _ in again} == {"dpo", "ra"}
    assert report.cells == 1 + 2 * 2 + len(again) == len(lines)
    assert "at most" in lines[0] and "left" in lines[0]
    assert [claim.text for claim in report.claims][:1] == ["at the published beta 0.01 ra beats dpo with as many steps"]
    assert {claim.verdict for claim in report.claims} <= {"yes", "no", "undecided"}
    measures = {figure.measure for figure in report.figures if figure.arm == "ra"}
    assert {"score", "tokens", "kl", "goal_accuracy", "pair_accuracy", "good_rejected"} <= measures
    assert all(figure.value.clusters == 2 for figure in report.figures if figure.arm != "start")
    assert not list(out.rglob("*.safetensors"))
    assert json.loads((out / "results.json").read_text())["cells"] == report.cells
    assert "| ra | best: beta" in (out / "report.md").read_text()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "measure_cell", refuse)
    assert reproduce(settings, out).record() == report.record()


def test_every_arm_trains_and_is_measured_without_a_judge(tiny: Path, scored: Path, tmp_path: Path) -> None:
    settings = build_settings(tiny, scored, arms=list(ARMS), seeds=[1], betas=[], steps=1)
    report = reproduce(settings, tmp_path / "out")
    assert report.cells == 1 + len(ARMS)
    assert {figure.arm for figure in report.figures} == set(ARMS)
    # One seed proves nothing: no claim is decided.
    assert {claim.verdict for claim in report.claims} == {"undecided"}
    assert len(report.claims) >= 9


def test_all_settings_are_tried_with_the_first_seed(tiny: Path, scored: Path) -> None:
    settings = build_settings(
        tiny, scored, arms=["ra", "conditional_sft"], betas=[0.1, 0.3], learning_rates=[1e-4, 1e-3]
    )
    cells = plan_cells(settings)
    assert cells[0] == Cell("start")
    assert [cell for cell in cells if cell.arm == "ra"] == [
        Cell("ra", beta, rate, 1) for beta in (0.01, 0.1, 0.3) for rate in (1e-4, 1e-3)
    ]
    # Fine-tuning has no beta to search.
    assert [cell for cell in cells if cell.arm == "conditional_sft"] == [
        Cell("conditional_sft", None, rate, 1) for rate in (1e-4, 1e-3)
    ]
