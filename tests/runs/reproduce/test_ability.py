"""Academic tasks are answered question by question, asked for the highest score where the policy asks for scores."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import stand_in_harness
from academic_files import write_academic_files

from prefboost.chat import SayGoal
from prefboost.errors import DataError
from prefboost.preferences import FittedScale
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.runs.reproduce.ability import check_academic_data, measure_ability, time_question
from prefboost.runs.reproduce.settings import Reproduction

from .conftest import build_settings

SCALE = FittedScale(kind="declared", knots=(1, 10), values=(1, 10))


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    return stand_in_harness.install(monkeypatch, tmp_path)


@pytest.fixture
def settings(tiny: Path, scored: Path, tmp_path: Path) -> Reproduction:
    write_academic_files(tmp_path / "data")
    academic = {"kind": "academic", "benchmarks": ["gsm8k", "arc"], "data_dir": str(tmp_path / "data")}
    return build_settings(tiny, scored, academic=academic)


@pytest.mark.torch
def test_every_question_has_a_share_and_goals_are_said(harness: Any, settings: Reproduction, tmp_path: Path) -> None:
    model = settings.recipe.train.model
    plain = measure_ability(settings, model, None, tmp_path / "plain", None)["academic"]
    # Of the two ways of reading gsm8k's answer the first counts, which is wrong.
    assert plain == {"gsm8k/q": 0.0, "arc_challenge/q0": 100.0, "arc_challenge/q1": 0.0}
    assert {call["system_instruction"] for call in harness.asked} == {None}
    say = SayGoal(wording="Answer with a score of {{ goal }}.", place="system")
    stated = StatedGoals(say, {"": SCALE}, "as set")
    asked = measure_ability(settings, model, stated, tmp_path / "goals", None)["academic"]
    assert asked.keys() == plain.keys() and harness.asked[-1]["system_instruction"] == stand_in_harness.SAYS
    measure_ability(settings, model, StatedGoals(say, {"": SCALE, "calm": SCALE}), tmp_path / "vector", None)
    assert harness.asked[-1]["system_instruction"] is None  # the template asks for its aspects by itself
    assert measure_ability(settings.model_copy(update={"academic": None}), model, None, tmp_path, None) == {}


@pytest.mark.torch
def test_a_question_is_timed_without_the_loading_of_the_model(
    harness: Any, settings: Reproduction, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 8 s for one question of each task, 14 s for three: 5 s are loading.
    clock = SimpleNamespace(monotonic=iter([0.0, 8.0, 100.0, 114.0]).__next__)
    monkeypatch.setattr("prefboost.runs.reproduce.ability.time", clock)
    assert time_question(settings) == 3.0
    assert [call["limit"] for call in harness.asked] == [1, 1, 3, 3]


def test_data_that_are_absent_are_told_before_anything_is_trained(
    harness: Any, settings: Reproduction, tmp_path: Path
) -> None:
    check_academic_data(settings)
    shutil.rmtree(tmp_path / "data" / "gsm8k")
    with pytest.raises(DataError, match="no data of gsm8k"):
        check_academic_data(settings)
    assert settings.academic is not None
    nowhere = settings.academic.model_copy(update={"data_dir": None})
    with pytest.raises(DataError, match="may not be fetched"):
        check_academic_data(settings.model_copy(update={"academic": nowhere}))
