"""Progress for people, a log for machines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prefboost.training.claim import LOG, last_metrics
from prefboost.training.engine.callbacks import JsonLog, OptimizerClock, SaveByTime, StepProgress, read_log


class Heard:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin(self, what: str, total: int) -> None:
        self.calls.append((what, total))

    def advance(self, parts: int, **facts: float) -> None:
        self.calls.append((parts, facts))

    def end(self) -> None:
        self.calls.append("end")


def state(step: int, **more: Any) -> Any:
    return SimpleNamespace(global_step=step, max_steps=10, is_world_process_zero=True, **more)


def test_a_loss_that_has_diverged_is_null_in_the_log_and_no_older_number_stands_for_it(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / LOG)
    log.on_train_begin(None, state(0), None)
    log.on_log(None, state(1), None, logs={"loss": 0.5, "grad_norm": 1.0})
    log.on_log(None, state(2), None, logs={"loss": float("nan"), "grad_norm": float("inf"), "learning_rate": 0.1})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in (tmp_path / LOG).read_text().splitlines()]
    assert lines[1] == {"step": 2, "loss": None, "grad_norm": None, "learning_rate": 0.1}
    assert last_metrics(tmp_path) == {"learning_rate": 0.1}


def test_a_resumed_log_has_no_step_twice_and_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonLog(path)
    log.on_train_begin(None, state(0), None)
    for step in (1, 2, 3):
        log.on_log(None, state(step), None, logs={"loss": float(step)})
    path.write_text(path.read_text() + '{"step": 4, "lo')
    log.on_train_begin(None, state(2), None)
    log.on_log(None, state(3), None, logs={"loss": 30.0})
    assert read_log(path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 30.0}]


def test_a_log_that_is_cut_off_while_it_is_resumed_keeps_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 2.0}\n')

    def cut_off(file: int) -> None:
        raise RuntimeError("cut off")

    monkeypatch.setattr(os, "fsync", cut_off)
    with pytest.raises(RuntimeError, match="cut off"):
        JsonLog(path).on_train_begin(None, state(1), None)
    assert [line["step"] for line in read_log(path)] == [1, 2]


def test_steps_are_told_in_pairs_with_the_last_loss() -> None:
    heard = Heard()
    callback = StepProgress(heard, pairs_per_step=8, tokens_per_pair=100)
    callback.on_train_begin(None, state(4), None)
    callback.on_log(None, state(4), None, logs={"loss": 0.5, "rewards/accuracies": 0.75})
    callback.on_step_end(None, state(5), None)
    callback.on_train_end(None, state(10), None)
    assert heard.calls == [
        ("training (pairs)", 48),
        (8, {"tokens": 800, "loss": 0.5, "accuracy": 0.75}),
        "end",
    ]


def saved_at(minutes: float | None, steps: int, *, step_s: float, write_s: float, every: int = 0) -> list[int]:
    """Steps after which a checkpoint is written, where a step and a checkpoint take so many seconds."""
    now = 0.0
    callback = SaveByTime(minutes, lambda: now)
    now = 1e6  # loading took its time
    callback.on_train_begin(None, state(0), None)
    found = []
    for step in range(1, steps + 1):
        now += step_s
        control = SimpleNamespace(should_save=bool(every) and step % every == 0)
        callback.on_step_end(None, state(step), control)
        if control.should_save:
            found.append(step)
            now += write_s
            callback.on_save(None, state(step), control)
    return found


def test_a_checkpoint_is_written_every_few_minutes() -> None:
    assert saved_at(5, 20, step_s=60, write_s=1) == [5, 10, 15, 20]
    assert saved_at(5, 20, step_s=60, write_s=1, every=8) == [5, 8, 13, 16]
    assert saved_at(None, 20, step_s=60, write_s=1) == []


def test_checkpoints_take_a_twentieth_of_the_time_at_most() -> None:
    assert saved_at(5, 100, step_s=60, write_s=120) == [5, 45, 85]


def test_there_is_no_log_before_the_first_line(tmp_path: Path) -> None:
    assert read_log(tmp_path / "absent.jsonl") == []


def test_the_optimizer_is_timed_from_its_gradients_to_its_step() -> None:
    told: list[str] = []
    meter = SimpleNamespace(
        begin=lambda part: told.append(f"begin {part}"), end=lambda part: told.append(f"end {part}")
    )
    clock = OptimizerClock(meter)
    clock.on_pre_optimizer_step(None, None, None)
    clock.on_optimizer_step(None, None, None)
    assert told == ["begin optimizer", "end optimizer"]
