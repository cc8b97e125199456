"""Warnings while a policy trains: once per kind, after the warm-up, the same after a resume, none for a healthy run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.training.conftest import build_pairs

from prefboost.losses import LOSSES
from prefboost.training import Lora, Train, train
from prefboost.training.engine.callbacks import JsonLog, read_log
from prefboost.training.policy.displacement import WINDOW, DisplacementWatch
from prefboost.training.report import TrainReport

WARMUP = 4
LOGGER = "prefboost.training.policy.displacement"


def build_line(step: int, chosen: float = 0.0, margin: float = 1.0, distance: float = 0.0) -> dict[str, float]:
    """A line of the log; completions have 20 tokens."""
    return {
        "step": step,
        "loss": 0.5,
        "displacement/chosen": chosen,
        "displacement/chosen_token_mean": chosen / 20,
        "displacement/margin": margin,
        "displacement/distance_token_mean": distance,
    }


def build_goal_line(step: int, followed: float, ignored: float) -> dict[str, float]:
    """A line of a run on goal pairs."""
    return build_line(step) | {"goal/followed": followed, "goal/ignored": ignored}


def feed(
    watch: DisplacementWatch, lines: list[dict[str, float]], history: Any = (), is_main_process: bool = True
) -> list[str]:
    args = SimpleNamespace(get_warmup_steps=lambda _: WARMUP)
    state = SimpleNamespace(
        log_history=list(history), global_step=0, max_steps=100, is_world_process_zero=is_main_process
    )
    watch.on_train_begin(args, state, None)
    for line in lines:
        state.global_step = line["step"]
        watch.on_log(args, state, None, logs={name: value for name, value in line.items() if name != "step"})
    return watch.messages


def list_printed(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


def displacing(count: int) -> list[dict[str, float]]:
    return [build_line(step, chosen=-5.0) for step in range(1, count + 1)]


def test_a_warning_says_numbers_step_and_remedy_at_the_first_full_window_after_the_warm_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert feed(DisplacementWatch.of_training(Train(model="m")), displacing(WARMUP + WINDOW - 1)) == []
    (message,) = feed(DisplacementWatch.of_training(Train(model="m")), displacing(40))
    for part in (
        f"step {WARMUP + WINDOW}:",
        "5.00 nats",
        "0.250 per token",
        "1.00 nats",
        "learning_rate",
        "beta",
        "sft",
    ):
        assert part in message
    assert list_printed(caplog) == [message]


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ({"chosen": -5.0}, ["displacement"]),
        ({"chosen": -5.0, "margin": -1.0}, []),  # chosen and rejected fall alike: no displacement
        ({"chosen": -1.9}, []),  # below 0.1 per token
        ({"chosen": -2.9}, []),  # above 0.1 per token, below 3 in sum
        ({"chosen": 5.0}, []),
        ({"distance": 1.1}, ["divergence"]),
        ({"distance": 0.9}, []),
        ({"chosen": -40.0, "distance": 2.0}, ["displacement", "divergence"]),
    ],
)
def test_each_kind_has_its_thresholds(line: dict[str, float], kinds: list[str]) -> None:
    messages = feed(
        DisplacementWatch.of_training(Train(model="m")), [build_line(step, **line) for step in range(1, 40)]
    )
    assert [kind for kind in ("displacement", "divergence") if any(kind in text for text in messages)] == kinds
    assert len(messages) == len(kinds)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 2),
        ({"warn_displacement": 0}, 1),
        ({"warn_divergence": 0}, 1),
        ({"warn_displacement": 0, "warn_divergence": 0}, 0),
        ({"warn_displacement_sum": 50}, 1),
    ],
)
def test_a_threshold_of_0_switches_its_warning_off(changes: dict[str, float], count: int) -> None:
    lines = [build_line(step, chosen=-40.0, distance=2.0) for step in range(1, 40)]
    assert len(feed(DisplacementWatch.of_training(Train(model="m", **changes)), lines)) == count


@pytest.mark.parametrize(
    ("followed", "ignored", "threshold", "warns"),
    [
        (0.5, 25.0, 10.0, True),
        (-3.0, 25.0, 10.0, True),  # worse than ignored: it goes against the goal
        (8.0, 25.0, 10.0, False),  # on its way
        (0.5, 9.0, 10.0, False),
        (0.5, 9.0, 8.0, True),
        (0.5, 25.0, 0.0, False),
    ],
)
def test_goals_are_ignored_where_a_large_preference_is_the_same_under_both(
    followed: float, ignored: float, threshold: float, warns: bool
) -> None:
    settings = Train(model="m", warn_ignored_goals=threshold)
    messages = feed(
        DisplacementWatch.of_training(settings), [build_goal_line(step, followed, ignored) for step in range(1, 40)]
    )
    assert [f"moved {ignored:.2f} nats the same way" in text for text in messages] == [True] * warns


def test_a_window_in_which_some_step_had_no_pair_of_both_goals_says_nothing_of_goals() -> None:
    lines = [build_goal_line(step, 0.0, 30.0) if step % 5 else build_line(step) for step in range(1, 40)]
    assert feed(DisplacementWatch.of_training(Train(model="m")), lines) == []


def test_one_bad_batch_is_no_warning() -> None:
    lines = [build_line(step, chosen=-15.0 if step == 20 else 0.0) for step in range(1, 40)]
    assert feed(DisplacementWatch.of_training(Train(model="m")), lines) == []


def test_a_resumed_run_has_the_same_messages_and_prints_none_again(caplog: pytest.LogCaptureFixture) -> None:
    lines = displacing(40)
    whole = feed(DisplacementWatch.of_training(Train(model="m")), lines)
    caplog.clear()
    # The warning came at step 12: before the checkpoint at 30, and after that at 9.
    assert feed(DisplacementWatch.of_training(Train(model="m")), lines[30:], history=lines[:30]) == whole
    assert not list_printed(caplog)
    assert feed(DisplacementWatch.of_training(Train(model="m")), lines[9:], history=lines[:9]) == whole


def test_other_processes_keep_the_messages_and_print_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert len(feed(DisplacementWatch.of_training(Train(model="m")), displacing(40), is_main_process=False)) == 1
    assert not list_printed(caplog)


def test_lines_of_an_evaluation_and_of_the_end_are_passed_over() -> None:
    others: list[dict[str, float]] = [{"step": step, "eval_displacement/chosen": -50.0} for step in range(5, 40)]
    assert feed(DisplacementWatch.of_training(Train(model="m")), [*others, {"step": 40, "train_runtime": 1.0}]) == []


def test_with_another_reference_changes_count_from_the_first_logged_step() -> None:
    far = [build_line(step, chosen=-30.0, margin=4.0, distance=3.0) for step in range(1, 30)]
    assert feed(DisplacementWatch.of_training(Train(model="m", reference="other")), far) == []
    further = [far[0], *(build_line(step, chosen=-36.0, margin=9.0, distance=3.5) for step in range(2, 30))]
    (message,) = feed(DisplacementWatch.of_training(Train(model="m", reference="other")), further)
    assert "6.00 nats" in message and "5.00 nats" in message and "at the first logged step" in message


@pytest.mark.parametrize("kind", ["simpo", "orpo", "cpo", "sft"])
def test_losses_without_a_reference_have_no_warnings(kind: str) -> None:
    assert kind in LOSSES
    lines = [build_line(step, chosen=-40.0, distance=3.0) for step in range(1, 40)]
    assert feed(DisplacementWatch.of_training(Train(model="m", loss={"kind": kind})), lines) == []


@pytest.fixture(scope="module")
def tuned(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned to write such completions, chosen or not: only then can a loss unlearn them."""
    out = tmp_path_factory.mktemp("tuned")
    settings = {"loss": {"kind": "sft"}, "reference": "none", "learning_rate": 1e-2, "max_steps": 60}
    train(build_pairs(24, goals=False), Train(model=str(tiny), batch_size=8, precision="fp32", **settings), out)
    return out / "model"


def run(start: Path, out: Path, **changes: Any) -> TrainReport:
    fields: dict[str, Any] = {"learning_rate": 3e-3, "batch_size": 8, "precision": "fp32", "max_steps": 24}
    fields |= {"loss": {"kind": "dpo", "beta": 0.1}}
    return train(build_pairs(24, goals=False), Train(model=str(start), **(fields | changes)), out)


def of_kind(messages: Any, kind: str) -> list[str]:
    return [message for message in messages if kind in message]


@pytest.mark.parametrize(
    "changes", [{}, {"engine": "trl"}, {"lora": Lora(rank=4, alpha=8), "learning_rate": 1e-2}], ids=str
)
def test_a_training_that_displaces_warns_once(
    changes: dict[str, Any], tuned: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = run(tuned, tmp_path, **changes)
    lines = [line for line in read_log(tmp_path / "train_log.jsonl") if "displacement/chosen" in line]
    assert len(lines) == 24 and abs(lines[0]["displacement/distance_token_mean"]) < 1e-5
    (message,) = of_kind(report.messages, "displacement at step")
    assert of_kind(list_printed(caplog), "displacement at step") == [message]
    # The numbers of the message are means of the log's last lines up to its step.
    step = int(message.split("at step ")[1].split(":")[0])
    window = [line["displacement/chosen"] for line in lines if step - WINDOW < line["step"] <= step]
    assert f"by {-sum(window) / WINDOW:.2f} nats per completion" in message


def test_a_healthy_training_does_not_warn(tuned: Path, tmp_path: Path) -> None:
    report = run(tuned, tmp_path, learning_rate=1e-4)
    # It told the completions apart, or the test would show nothing.
    assert report.metrics["displacement/margin"] > 2
    assert not of_kind(report.messages, "at step")


def test_a_training_with_thresholds_of_0_does_not_warn(tuned: Path, tmp_path: Path) -> None:
    report = run(tuned, tmp_path, warn_displacement=0, warn_divergence=0)
    assert report.metrics["displacement/chosen_token_mean"] < -0.3
    assert not of_kind(report.messages, "at step")


def test_a_training_that_is_cut_and_resumed_reports_the_warnings_of_the_whole_one(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = of_kind(run(tuned, tmp_path / "whole", save_every=4).messages, "at step")
    assert len(whole) == 2 and all(int(text.split("at step ")[1].split(":")[0]) < 20 for text in whole)

    def stop_at_22(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 22:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(JsonLog, "on_log", stop_at_22)
        with pytest.raises(KeyboardInterrupt):
            run(tuned, tmp_path / "cut", save_every=4)
    caplog.clear()
    report = run(tuned, tmp_path / "cut", save_every=4)
    assert report.resumed_from == 20
    assert of_kind(report.messages, "at step") == whole
    assert not list_printed(caplog)
