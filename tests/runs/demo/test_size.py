"""The size of the demo: what fits into the minutes, said in sentences, and kept for a resumed call."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.runs.demo.size import DemoPace, fit_size, load_size, save_size


def test_a_machine_that_is_fast_enough_gets_the_full_size() -> None:
    size = fit_size(320, 32, 16, DemoPace(training=300, answer=0.3, logps=10), 40, 15)
    assert (size.prompts, size.held_out, size.reduced) == (320, 32, "")
    assert size.seconds == size.full_seconds < 900
    assert size.expectation == f"this demo will take about {size.seconds / 60:.0f} minutes on this machine"


def test_a_slow_machine_gets_fewer_prompts_and_is_told_so() -> None:
    size = fit_size(320, 32, 16, DemoPace(training=1300, answer=0.5, logps=30), 60, 15)
    assert size.prompts < 320 and size.held_out < 32 and size.seconds <= 900 < size.full_seconds
    assert size.reduced.startswith(f"Reduced size: {size.prompts} of 320 training prompts and {size.held_out} of 32")
    assert f"about {size.full_seconds / 60:.0f} minutes" in size.reduced and "given 15" in size.reduced
    assert "not the figures of the full size" in size.reduced


def test_without_a_limit_the_size_is_full() -> None:
    assert fit_size(320, 32, 16, DemoPace(1e5, 10, 100), 60, None).prompts == 320


def test_below_a_least_size_nothing_could_be_seen() -> None:
    size = fit_size(320, 32, 16, DemoPace(1e5, 10, 100), 60, 15)
    assert (size.prompts, size.held_out) == (48, 8) and size.seconds > 900
    assert fit_size(8, 3, 2, DemoPace(1e5, 10, 100), 60, 15).reduced == "", "a size below it is taken as it is"


@given(st.floats(1, 1e5), st.floats(0.01, 10), st.floats(0, 600), st.floats(1, 100))
def test_more_minutes_never_give_a_smaller_demo(training: float, answer: float, spent: float, minutes: float) -> None:
    pace = DemoPace(training, answer, 10)
    small, large = (fit_size(320, 32, 16, pace, spent, minutes * factor) for factor in (1, 1.5))
    assert small.prompts <= large.prompts <= 320 and small.held_out <= large.held_out <= 32
    fits = small.seconds <= 60 * minutes
    assert fits or (small.prompts, small.held_out) == (48, 8)


def test_the_size_of_an_interrupted_call_is_kept_for_the_same_settings(tmp_path: Path) -> None:
    size = fit_size(320, 32, 16, DemoPace(1300, 0.5, 30), 60, 15)
    assert load_size(tmp_path, {"seed": 1}) is None
    save_size(tmp_path, {"seed": 1}, size)
    assert load_size(tmp_path, {"seed": 1}) == size
    assert load_size(tmp_path, {"seed": 2}) is None
    (tmp_path / "size.json").write_text("{", encoding="utf-8")
    assert load_size(tmp_path, {"seed": 1}) is None


@pytest.mark.parametrize("spent", [0, 600])
def test_time_that_has_gone_by_counts(spent: float) -> None:
    size = fit_size(320, 32, 16, DemoPace(550, 0.1, 10), spent, 15)
    assert (size.prompts == 320) is (spent == 0)
