"""Both trainings are configured alike."""

from __future__ import annotations

from pathlib import Path

import transformers

from prefboost.training import Train, TrainReward
from prefboost.training.data.units import Plan
from prefboost.training.engine.configuration import configure_training, list_options, open_token_budget

PLAN = Plan(units_per_step=8, micro_batch=2, accumulation=4, steps=30, steps_per_epoch=10)


def test_both_trainings_hand_the_same_settings_to_transformers(tmp_path: Path) -> None:
    shared = {"model": "m", "learning_rate": 1e-4, "warmup_ratio": 0.1, "batch_size": 8, "seed": 7, "eval_every": 5}
    policy = list_options(Train(**shared), PLAN, tmp_path, evaluates=True)
    reward = list_options(TrainReward(**shared), PLAN, tmp_path, evaluates=True)
    assert policy == reward
    assert policy["warmup_steps"] == 3 and policy["eval_strategy"] == "steps" and policy["seed"] == 7


def test_recomputing_activations_reaches_transformers_under_the_name_that_it_has(tmp_path: Path) -> None:
    config = configure_training(
        Train(model="m", precision="fp32", gradient_checkpointing=True), PLAN, tmp_path, evaluates=False
    )
    assert config.gradient_checkpointing and not config.bf16 and config.prediction_loss_only


def test_the_token_budget_is_that_of_the_settings(tmp_path: Path) -> None:
    config = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    budget = open_token_budget(Train(model="m", token_budget=77, precision="fp32"), config)
    assert budget.tokens == 77 and budget.alone
