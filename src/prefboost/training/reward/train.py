"""`train_reward`: preference pairs or scored completions in, a reward model that others can load out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefboost.chat.rendering import ChatEncoder
from prefboost.progress import phase
from prefboost.training.claim import (
    MODEL,
    begin,
    is_main_process,
    last_metrics,
    read_first_day,
)
from prefboost.training.data.text_loss import encoder_of, settle_losses
from prefboost.training.engine.numbers import resolve_precision
from prefboost.training.report import TrainReport
from prefboost.training.reward.length_offset import with_length_offset
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.units import LossNeeds, RewardUnits, build_reward_units
from prefboost.training.session import build_callbacks, describe_inputs, finish_training, open_session, run_to_end

if TYPE_CHECKING:
    from datasets import Dataset

    from prefboost.engines.models.reward_model import RewardModel
    from prefboost.progress import Progress
    from prefboost.training.data.units import Data, Plan
    from prefboost.training.reward.trainer import RewardTrainer

__all__ = ["Origin", "prepare_reward", "train_reward"]


@dataclass(frozen=True)
class Origin:
    """Facts of the rows from before training.

    Args:
        dropped: reason -> rows that were set aside on the way here.
        score_range: ``overall`` or an aspect -> lowest and highest score that its source declares; what is not here is
            taken from the rows themselves.
    """

    dropped: Mapping[str, int] = field(default_factory=dict)
    score_range: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def find_score_ranges(self, units: Dataset, settings: TrainReward) -> dict[str, tuple[float, float]]:
        """Find the lowest and highest score of each head, from the source or the labels; preferences have no scale."""
        if settings.loss.compares:
            return {}
        labels = np.array([text for unit in units["labels"] for text in unit], dtype=np.float64)
        return {
            head: self.score_range.get(head, (float(np.nanmin(scores)), float(np.nanmax(scores))))
            for head, scores in zip(settings.loss.heads, labels.T, strict=True)
            if np.isfinite(scores).any()
        }


_UNKNOWN = Origin()


def train_reward(
    rows: pa.Table,
    settings: TrainReward,
    out: Path,
    *,
    eval_rows: pa.Table | None = None,
    origin: Origin = _UNKNOWN,
    progress: Progress | None = None,
) -> TrainReport:
    """Train a reward model. The same call after a kill takes up the work at the last whole checkpoint.

    Args:
        rows: PreferencePairs, or ScoredCompletions where the loss is a regression, as Arrow.
        settings: how to train.
        out: run folder; gets model/, train_log.jsonl, train_report.json, and checkpoints while training.
        eval_rows: rows to evaluate on; default: those of ``settings.eval_fraction`` of the prompts.
        origin: what is known of the rows, for report and checkpoint.
        progress: is told how far it has come.

    Returns:
        the report; ``pairs`` counts texts where the loss is a regression.

    Raises:
        RunError: ``out`` holds another run, or a loss is not finite.
        ModelError: the model or its chat template cannot be used.
        MissingScores: the loss uses scores and there are none.
        DataError: no usable row is left.
    """
    with open_session(out, settings):
        return _train((rows, eval_rows), settings, out, origin, progress)


def _train(
    tables: tuple[pa.Table, pa.Table | None],
    settings: TrainReward,
    out: Path,
    origin: Origin,
    progress: Progress | None,
) -> TrainReport:
    """Train a reward model in a folder that this process alone holds."""
    from transformers.utils.logging import disable_progress_bar

    from prefboost.training.adapters import check_targets
    from prefboost.training.policy.chat_template import let_template_merge
    from prefboost.training.preflight import check_request
    from prefboost.training.reward.start import RewardModelSaver, check_start, load_start
    from prefboost.training.saving.checkpoint import Saving
    from prefboost.training.saving.saved_type import Rounding, choose_saved_type

    started = time.monotonic()
    rows, eval_rows = tables
    check_request(settings)
    settings = resolve_precision(settings, out)
    identity = describe_inputs(rows, eval_rows, settings)
    if (finished := begin(out, identity)) is not None:
        return TrainReport.from_record(finished)
    disable_progress_bar()
    with phase(progress, f"loading {settings.model}, tokenising"):
        reward_model = load_start(settings)
        encoder = encoder_of(reward_model.tokenizer, settings, read_first_day(out))
        folder = out if is_main_process(os.environ) else None
        units, data, plan = _prepare_units(tables, settings, reward_model, encoder, folder)
    let_template_merge(encoder)
    identity |= {"day": str(encoder.day)}
    remarks = [] if settings.lora is None else check_targets(reward_model.model, settings.lora)
    # Fitted on training units alone: evaluation must not leak into the offset.
    settings, notes = with_length_offset(settings, data.train)
    saved_type = choose_saved_type(settings, reward_model.model.dtype)
    saving = Saving(settings.lora is None or settings.lora.merge, saved_type=saved_type)
    with phase(progress, "rehearsing how the model will be saved"):
        # The card is rendered from the same facts; those of the training itself follow after it.
        planned = TrainReport("", 0, len(data.train), sum(data.train["items"]), 0, 0.0)
        end = RewardModelSaver(saving, _state_facts(reward_model, planned, identity), settings.max_steps or plan.steps)
        remarks += check_start(reward_model, data, settings, end, out)
    remarks += [] if reward_model.packs else [f"texts are padded, since {reward_model.unpacked}"]
    rounding = Rounding.before(reward_model.model, settings, saved_type)
    trainer = _build_trainer(reward_model, data, settings, plan, out, progress)
    resumed_from = run_to_end(trainer, out)
    remarks += rounding.describe(None if trainer.shards_weights else reward_model.model)
    report = replace(
        _build_report(trainer, data.train, units, Counter(origin.dropped) + Counter(units.dropped), out),
        metrics=last_metrics(out) | notes,
        resumed_from=resumed_from,
        seconds=time.monotonic() - started,
        messages=[*remarks, *trainer.budget.messages],
    )
    # Whoever uses the rewards needs to know their scale: facts of the checkpoint, not of this run alone.
    score_range = origin.find_score_ranges(data.train, settings)
    end = replace(end, facts={**_state_facts(reward_model, report, identity), "score_range": score_range})
    save = partial(end.save, tokenizer=reward_model.tokenizer, folder=out / MODEL)
    finish_training(trainer, report, out, save)
    return report


def prepare_reward(
    rows: pa.Table, eval_rows: pa.Table | None, settings: TrainReward
) -> tuple[RewardModel, RewardUnits, Dataset, Plan]:
    """Load the model and tokenise the rows as a training would, without training.

    Raises:
        DataError, MissingScores, ModelError: as in `train_reward`.
    """
    from transformers.utils.logging import disable_progress_bar

    from prefboost.training.reward.start import load_start

    disable_progress_bar()
    reward_model = load_start(settings)
    units, data, plan = _prepare_units(
        (rows, eval_rows), settings, reward_model, encoder_of(reward_model.tokenizer, settings)
    )
    return reward_model, units, data.train, plan


def _prepare_units(
    tables: tuple[pa.Table, pa.Table | None],
    settings: TrainReward,
    reward_model: RewardModel,
    encoder: ChatEncoder,
    folder: Path | None = None,
) -> tuple[RewardUnits, Data, Plan]:
    """Tokenise the rows, set the evaluation units aside and lay out the steps."""
    from prefboost.engines.models.weights import context_of
    from prefboost.training.data.questions import settle_prompt_ids
    from prefboost.training.data.units import lay_out_units

    loss = settings.loss
    rows, eval_rows = tables
    by_prompt, positions = settings.unit == "prompt", context_of(reward_model.model.config)
    # Plug-in losses need not say what they do with the gap.
    weights = getattr(loss, "gap", None) == "weight"
    needs = LossNeeds(loss.heads, loss.compares, loss.needs_gap, weights, by_prompt, settings.max_length, positions)
    if eval_rows is None and settings.eval_fraction:
        # Rows of one question under several ids would be on both sides of the split.
        rows = settle_prompt_ids(rows, None)
    trained = build_reward_units(rows, encoder, reward_model.pad_id, needs)
    evaluated = None if eval_rows is None else build_reward_units(eval_rows, encoder, reward_model.pad_id, needs)
    settle_losses(trained, evaluated, settings.max_loss_share, folder)
    data, plan = lay_out_units(
        trained.units,
        None if evaluated is None else evaluated.units,
        settings,
        lambda table: pc.sum(table["items"]).as_py() or 0,
        settings.batch_size if reward_model.packs else settings.micro_batch,
    )
    return trained, data, plan


def _build_trainer(
    reward_model: RewardModel,
    data: Data,
    settings: TrainReward,
    plan: Plan,
    out: Path,
    progress: Progress | None,
) -> RewardTrainer:
    from prefboost.training.engine.configuration import configure_training
    from prefboost.training.reward.trainer import RewardTrainer

    items = sum(data.train["items"])
    callbacks = build_callbacks(
        settings,
        out,
        progress,
        plan.units_per_step * items / len(data.train),
        _count_tokens(data.train) / max(1, items),
    )
    config = configure_training(settings, plan, out, evaluates=data.evaluation is not None)
    return RewardTrainer(reward_model, data, settings, config, callbacks=callbacks)


def _build_report(
    trainer: RewardTrainer, trained: Dataset, units: RewardUnits, dropped: Mapping[str, int], out: Path
) -> TrainReport:
    reward_model = trainer.reward_model
    return TrainReport(
        model=str(out / MODEL),
        steps=trainer.state.global_step,
        units=len(trained),
        pairs=sum(trained["items"]),
        tokens=_count_tokens(trained),
        seconds=0.0,
        dropped=dict(dropped),
        shortened=units.loss.shortened,
        losses=units.loss.sentences,
        engine="packed" if reward_model.packs else "padded",
        precision=trainer.settings.precision,
    )


def _count_tokens(units: Dataset) -> int:
    return int(pc.sum(pc.list_value_length(pc.list_flatten(units.data.table["texts"]))).as_py() or 0)


def _state_facts(reward_model: RewardModel, report: TrainReport, identity: Mapping[str, Any]) -> dict[str, Any]:
    """List what a checkpoint says of itself in prefboost.json."""
    return {
        "train_reward": identity["train"],
        "heads": list(reward_model.heads),
        "data": {
            "fingerprint": identity["data"],
            "pairs": report.pairs,
            "dropped": dict(report.dropped),
            "losses": list(report.losses),
            "day": identity["day"],
        },
        "metrics": dict(report.metrics),
    }
