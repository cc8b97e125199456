"""TRL's trainer brings the warnings of our own from its own log."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
import trl
from hypothesis import given
from hypothesis import strategies as st

from prefboost.training.policy.displacement import WINDOW
from prefboost.training.policy.trl_displacement import TrlDisplacementWatch

ROWS = [{"chosen_ids": [1] * 20, "rejected_ids": [1] * 10}, {"chosen_ids": [1] * 20, "rejected_ids": [1] * 30}]


def feed(watch: TrlDisplacementWatch, lines: list[dict[str, float]], rows: Any = ROWS, beta: float = 0.1) -> list[str]:
    args = SimpleNamespace(get_warmup_steps=lambda _: 0, beta=beta)
    state = SimpleNamespace(log_history=[], global_step=0, max_steps=100, is_world_process_zero=True)
    watch.on_train_begin(args, state, None, train_dataloader=SimpleNamespace(dataset=rows))
    for line in lines:
        state.global_step += 1
        watch.on_log(args, state, None, logs=line)
    return watch.messages


def lines_of(chosen: float, rejected: float) -> list[dict[str, float]]:
    return [{"loss": 0.1, "rewards/chosen": chosen, "rewards/rejected": rejected}] * (WINDOW + 1)


def test_rewards_are_changes_of_log_probs_times_beta() -> None:
    (message,) = feed(TrlDisplacementWatch(), lines_of(-0.5, -2.0))
    assert "the margin grew by 15.00 nats" in message
    assert "by 5.00 nats per completion and 0.250 per token" in message
    assert "lower learning_rate" in message and "train." not in message and '"sft"' in message


def test_a_large_change_of_either_side_is_divergence() -> None:
    (message,) = feed(TrlDisplacementWatch(), lines_of(0.0, -5.0))
    assert "differ by 1.250 nats per token" in message
    assert feed(TrlDisplacementWatch(warn_divergence=0), lines_of(0.0, -5.0)) == []
    assert feed(TrlDisplacementWatch(warn_divergence=2), lines_of(0.0, -5.0)) == []


@given(st.floats(-0.19, 100), st.floats(-100, 0.19))
def test_a_policy_whose_chosen_completions_keep_their_log_prob_is_not_displaced(chosen: float, rejected: float) -> None:
    watch = TrlDisplacementWatch(warn_divergence=0)
    assert feed(watch, lines_of(chosen, rejected)) == []


def test_rows_without_token_ids_are_named_and_not_watched(caplog: pytest.LogCaptureFixture) -> None:
    for rows in ([{"images": 1}], None):
        assert feed(TrlDisplacementWatch(), lines_of(-5.0, -9.0), rows) == []
    assert caplog.text.count("displacement is not watched") == 2


@pytest.mark.torch
def test_trls_own_trainer_feeds_it(tiny: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"question {n}", "chosen": f"yes {n} good", "rejected": f"no {n}"} for n in range(8)]
    config = trl.DPOConfig(
        str(tmp_path), beta=0.1, max_steps=WINDOW + 4, learning_rate=5e-3, logging_steps=1, report_to=[], use_cpu=True,
        per_device_train_batch_size=4, warmup_steps=2, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    # Thresholds below whatever the training does: what counts is that numbers arrive.
    watch = TrlDisplacementWatch(warn_displacement=0, warn_divergence=1e-9)
    trainer = trl.DPOTrainer(str(tiny), args=config, train_dataset=datasets.Dataset.from_list(rows), callbacks=[watch])
    trainer.train()
    (message,) = watch.messages
    assert message.startswith("warning: divergence at step")
    logged = trainer.state.log_history[WINDOW + 1]
    line = watch.read_line(logged, config)
    assert line["displacement/margin"] == pytest.approx(logged["rewards/margins"] / 0.1, rel=1e-4, abs=1e-6)
