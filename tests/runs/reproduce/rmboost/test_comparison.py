"""The comparison: a reward model per arm and seed, one line per claim, nothing trained twice, no label trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import build_folder

from prefboost.errors import DataError
from prefboost.runs.reproduce.cells import Cell
from prefboost.runs.reproduce.rmboost import comparison
from prefboost.runs.reproduce.rmboost.comparison import (
    forecast_rmboost,
    plan_reward_cells,
    read_labelled,
    reproduce_rmboost,
)

from .conftest import build_comparison, write_pairs


@pytest.mark.torch
def test_it_compares_arms_on_held_out_labels_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, out = build_folder(tmp_path / "tiny"), write_pairs(tmp_path / "pairs.jsonl"), tmp_path / "out"
    settings = build_comparison(model, data, arms=("rmboost", "rlaif", "labelled"), learning_rates=(1e-3, 3e-3))
    killed = comparison.RewardModelScorer

    class Dying(killed):  # type: ignore[misc, valid-type]
        """Stops at the third reward model, as a kill would: trained, and not measured yet."""

        def score(self, table: Any) -> Any:
            if len(list(out.rglob("cells/*.json"))) == 4:
                raise KeyboardInterrupt
            return super().score(table)

    monkeypatch.setattr(comparison, "RewardModelScorer", Dying)
    with pytest.raises(KeyboardInterrupt):
        reproduce_rmboost(settings, out)
    monkeypatch.setattr(comparison, "RewardModelScorer", killed)
    lines: list[str] = []
    report = reproduce_rmboost(settings, out, tell=lines.append)
    # Chance and the longer completion; three arms at two rates; the second seed of each.
    assert report.cells == len(lines) == 2 + 3 * 2 + 3
    assert {figure.measure for figure in report.figures} == {"accuracy", "accuracy_if_shorter"}
    chance = next(figure for figure in report.figures if figure.arm == "chance" and figure.measure == "accuracy")
    assert chance.value.estimate == 0.5
    texts = [claim.text for claim in report.claims]
    assert texts[0] == "rmboost's pairs teach more than rlaif's" and "rmboost beats chance" in texts
    assert not any("rlcd" in text or "aspect" in text for text in texts)  # arms that were not trained claim nothing
    written = (out / "report.md").read_text()
    assert "| rmboost | best: rate" in written and "| rlaif |" in written and "no arm wrote to" in written
    assert json.loads((out / "results.json").read_text())["cells"] == report.cells
    assert not list(out.rglob("cells/**/*.safetensors"))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(comparison, "train_reward_on", refuse)
    assert reproduce_rmboost(settings, out).record() == report.record()


@pytest.mark.torch
def test_labels_that_can_be_learned_are_learned(tmp_path: Path) -> None:
    model, data = build_folder(tmp_path / "tiny"), write_pairs(tmp_path / "pairs.jsonl")
    settings = build_comparison(model, data, arms=("labelled", "rmboost"), steps=20, seeds=(1, 2, 3))
    report = reproduce_rmboost(settings, tmp_path / "out")
    accuracies = {figure.arm: figure.value for figure in report.figures if figure.measure == "accuracy"}
    assert accuracies["labelled"].estimate > 0.95 and accuracies["longer_completion"].estimate == 0.0
    verdicts = {claim.text: claim.verdict for claim in report.claims}
    # Three seeds, and in none of them is the longer completion right.
    assert verdicts["rmboost beats the longer completion"] == "yes" or accuracies["rmboost"].estimate < 0.5


@pytest.mark.torch
def test_a_dry_run_tells_calls_and_time_and_asks_nothing(tmp_path: Path) -> None:
    model, data = build_folder(tmp_path / "tiny"), write_pairs(tmp_path / "pairs.jsonl")
    settings = build_comparison(model, data)
    forecast, works = forecast_rmboost(settings)
    assert not settings.generator.asked
    assert [part.name for part in forecast.parts] == [arm for arm in settings.arms if arm != "labelled"]
    assert forecast.total.calls == sum(part.calls for part in forecast.parts) and forecast.seconds["training"] > 0
    assert list(works) == ["calls", "choosing settings", "other seeds"] and works["calls"].total == forecast.total
    # Eight trainings of each kind, as the headline says.
    assert works["choosing settings"].tokens == works["other seeds"].tokens
    assert sum(work.seconds.get("training", 0) for work in works.values()) == pytest.approx(
        forecast.seconds["training"]
    )
    printed = "\n".join(forecast.lines())
    assert "8 reward models to choose learning rates, 8 more for the other seeds, 2 steps each" in printed


def test_cells_try_every_rate_with_the_first_seed(tmp_path: Path) -> None:
    settings = build_comparison(Path("m"), tmp_path / "p", arms=("rlcd",), learning_rates=(1e-4, 1e-3))
    assert plan_reward_cells(settings) == [
        Cell("chance"), Cell("longer_completion"), Cell("rlcd", None, 1e-4, 1), Cell("rlcd", None, 1e-3, 1)
    ]  # fmt: skip


def test_what_is_not_labelled_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scored.jsonl").write_text('{"prompt": "q", "completion": "a", "score": 1.0}\n')
    with pytest.raises(DataError, match="reproduce rmboost needs PreferencePairs, found ScoredCompletions"):
        read_labelled(build_comparison(Path("m"), tmp_path / "scored.jsonl"))
