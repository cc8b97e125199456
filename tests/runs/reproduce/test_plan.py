"""The plan names every cell, what it samples and answers, and the time; betas without a loss to go to are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stand_in_harness
from academic_files import write_academic_files

from prefboost.errors import SettingsError
from prefboost.forecast import Forecast
from prefboost.recipes.recipe import Recipe
from prefboost.runs.reproduce import plan
from prefboost.runs.reproduce.cells import Cell
from prefboost.runs.reproduce.held_out import hold_prompts_out
from prefboost.runs.reproduce.plan import ReproductionPlan, check_betas, plan_cells, plan_reproduction
from prefboost.sources import read

from .conftest import build_settings

SUM = {"kind": "sum", "terms": [{"loss": {"kind": "dpo", "beta": 0.2}}, {"loss": "sft", "weight": 0.2}]}


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


def test_the_betas_of_a_sum_are_searched_in_its_preference_term(scored: Path) -> None:
    settings = build_settings(Path("m"), scored, loss=SUM, arms=["dpo", "rpo", "conditional_sft"], betas=[0.1, 0.3])
    cells = plan_cells(settings)
    assert [cell.beta for cell in cells if cell.arm == "dpo"] == [0.01, 0.1, 0.3]
    assert [cell.beta for cell in cells if cell.arm == "rpo"] == [0.01, 0.1, 0.3]
    assert [cell.beta for cell in cells if cell.arm == "conditional_sft"] == [None]


def test_betas_without_a_loss_that_has_one_are_refused_by_name(scored: Path) -> None:
    with pytest.raises(SettingsError, match=r"betas=\(0.1,\) is asked for, but the loss of dpo has no beta .*sft"):
        check_betas(build_settings(Path("m"), scored, loss="sft", arms=["dpo", "rpo"], betas=[0.1]))
    with pytest.raises(SettingsError, match="the loss of conditional_sft has no beta"):
        check_betas(build_settings(Path("m"), scored, loss=SUM, arms=["conditional_sft"], betas=[0.1]))
    with pytest.raises(SettingsError, match=r"have the betas 0\.2, 0\.5"):
        both = {
            "kind": "sum",
            "terms": [{"loss": {"kind": "dpo", "beta": 0.2}}, {"loss": {"kind": "ipo", "beta": 0.5}}],
        }
        check_betas(build_settings(Path("m"), scored, loss=both))
    check_betas(build_settings(Path("m"), scored, loss="sft", arms=["dpo"], betas=[]))


@pytest.mark.torch
@pytest.mark.parametrize(("steps", "rounds"), [(None, None), (None, 4), (6, 3), (1, None)])
def test_the_plan_times_the_steps_that_the_run_takes(
    steps: int | None, rounds: int | None, tiny: Path, scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"steps": steps}
    if rounds is not None:
        changes |= {"arms": ["ra", "on_policy_ra"], "scorer": {"kind": "length_scorer:LengthScorer"}}
        changes["on_policy"] = {"rounds": rounds}
    settings = build_settings(tiny, scored, **changes)
    forecasts: list[int | None] = []

    def forecast(recipe: Recipe) -> tuple[None, Any]:
        forecasts.append(recipe.train.max_steps)
        return None, Forecast(device="cpu")

    monkeypatch.setattr(plan, "forecast_recipe", forecast)
    monkeypatch.setattr(plan, "plan_samples", lambda *_: ReproductionPlan([], {}))
    plan_reproduction(settings)
    prompts = hold_prompts_out(read(settings.recipe.data), settings).select("train").frame["prompt_id"].n_unique()
    # One pass: each prompt has three pairs, in two views. Rounds share the steps evenly.
    whole = steps or prompts * 3 * 2 // settings.recipe.train.batch_size
    assert 0 < prompts < 24 and forecasts == [whole - whole % (rounds or 1)]


@pytest.mark.torch
def test_the_plan_counts_own_samples_held_out_completions_and_questions(
    tiny: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_harness.install(monkeypatch, tmp_path / "harness").says = "<user>?"
    write_academic_files(tmp_path / "tasks")
    settings = build_settings(
        tiny,
        scored,
        arms=["dpo", "on_policy_dpo"],
        seeds=[1, 2, 3],
        betas=[],
        most_prompts=3,
        scorer={"kind": "length_scorer:LengthScorer"},
        on_policy={"rounds": 2, "generate": {"n": 3, "sampling": {"max_tokens": 4}}},
        noise={"deviation": 2.0},
        academic={"kind": "academic", "benchmarks": ["arc"], "limit": 5, "data_dir": str(tmp_path / "tasks")},
    )
    found = plan_reproduction(settings)
    lines = found.lines
    assert lines[:3] == ["start", "dpo-beta0.01-rate0.001-seed1", "on_policy_dpo-beta0.01-rate0.001-seed1"]
    text = "\n".join(lines)
    assert "6 held-out completions per cell, scored by length_scorer:LengthScorer: about" in text
    # One cell chooses, and two other seeds of its best and published settings come at most.
    assert "own samples in each of 2 rounds of on_policy_dpo" in text and "at most 5 cells" in text
    assert "standard deviation 2; no verdict does" in text
    assert "academic tasks of every cell: arc, at most 5 questions of each task; about" in text
    # Three cells to choose settings and eight more sample six completions each; the 24 own samples of the first round
    # are drawn once, and those of the second by five cells.
    works = found.works
    assert list(works) == ["choosing settings", "other seeds", "held-out completions", "own samples"]
    assert "24 own samples in each" in text
    assert (works["held-out completions"].total.calls, works["own samples"].total.calls) == (6 * (3 + 8), 24 * (1 + 5))
    assert works["own samples"].total.most_tokens == 4 * 144 and works["own samples"].total.prompt_tokens > 144
    assert works["other seeds"].tokens["packed"] == 4 * works["choosing settings"].tokens["packed"] > 0
    # Log-probs of the reference model are computed by the first cell, and kept.
    assert "reference" in works["choosing settings"].seconds and "reference" not in works["other seeds"].seconds
    assert not list(tmp_path.rglob("*.store"))
