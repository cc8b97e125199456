"""`train_reward`: preference pairs or scored completions in, a reward model that others can load out."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefboost.atomic import write_atomically
from prefboost.chat.rendering import ChatEncoder
from prefboost.progress import phase
from prefboost.training.claim import (
    LOG,
    MODEL,
    REPORT,
    TRAINING_LOCK,
    alone_in,
    begin,
    check_installed,
    last_metrics,
    leads,
    part_in_order,
    run_day,
)
from prefboost.training.data.text_loss import encoder_of, settle_losses
from prefboost.training.engine.numbers import resolve_precision
from prefboost.training.policy.train import TrainReport
from prefboost.training.reward.length_offset import with_length_offset
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.units import RewardUnits, Wanted, reward_units
from prefboost.training.saving.disk import explain_disk
from prefboost.training.trackers import clear_checkpoints, logs_in

if TYPE_CHECKING:
    from datasets import Dataset

    from prefboost.engines.models.reward_model import RewardModel
    from prefboost.progress import Progress
    from prefboost.training.data.units import Plan
    from prefboost.training.reward.trainer import RewardTrainer
    from prefboost.training.saving.checkpoint import Saving

__all__ = ["Origin", "prepare_reward", "train_reward"]


@dataclass(frozen=True)
class Origin:
    """What is known of the rows before training.

    Args:
        dropped: reason -> rows that were set aside on the way here.
        score_range: ``overall`` or an aspect -> lowest and highest score that its source declares; what is not here is
            taken from the rows themselves.
    """

    dropped: Mapping[str, int] = field(default_factory=dict)
    score_range: Mapping[str, tuple[float, float]] = field(default_factory=dict)


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
    check_installed()
    alone = alone_in(out, TRAINING_LOCK) if leads(os.environ) else nullcontext()
    with alone, explain_disk(out), logs_in(out, settings.report_to):
        return _train((rows, eval_rows), settings, out, origin, progress)


def _train(
    tables: tuple[pa.Table, pa.Table | None],
    settings: TrainReward,
    out: Path,
    origin: Origin,
    progress: Progress | None,
) -> TrainReport:
    """`train_reward`, alone in its folder."""
    from transformers.utils.logging import disable_progress_bar

    from prefboost.training.adapters import check_targets
    from prefboost.training.engine.accumulation import shares_weights_by
    from prefboost.training.policy.chat_template import let_template_merge
    from prefboost.training.preflight import check_request
    from prefboost.training.reward.start import RewardEnd, check_start, load_start
    from prefboost.training.saving.checkpoint import Saving
    from prefboost.training.saving.saved_type import Rounding, choose_saved_type

    started = time.monotonic()
    rows, eval_rows = tables
    check_request(settings)
    settings = resolve_precision(settings, out)
    identity = _identity(rows, eval_rows, settings)
    if (finished := begin(out, identity)) is not None:
        return TrainReport(**finished)
    disable_progress_bar()
    with phase(progress, f"loading {settings.model}, tokenising"):
        found = load_start(settings)
        encoder = encoder_of(found.tokenizer, settings, run_day(out))
        units, data, plan = _prepare(tables, settings, found, encoder, out if leads(os.environ) else None)
    let_template_merge(encoder)
    identity |= {"day": str(encoder.day)}
    remarks = [] if settings.lora is None else check_targets(found.model, settings.lora)
    settings, notes = with_length_offset(settings, data[0])
    saved_type = choose_saved_type(settings, found.model.dtype)
    saving = Saving(settings.lora is None or settings.lora.merge, saved_type=saved_type)
    with phase(progress, "rehearsing how the model will be saved"):
        facts = _facts(found, TrainReport("", 0, len(data[0]), sum(data[0]["items"]), 0, 0.0), identity)
        remarks += check_start(found, data, settings, RewardEnd(saving, facts, settings.max_steps or plan.steps), out)
    remarks += [] if found.packs else [f"texts are padded, since {found.unpacked}"]
    rounding = Rounding.before(found.model, settings, saved_type)
    trainer = _trainer(found, data, settings, plan, out, progress)
    resumed_from = _run(trainer, out)
    remarks += rounding.describe(None if shares_weights_by(trainer.accelerator) else found.model)
    report = _report(trainer, data[0], units, Counter(origin.dropped) + Counter(units.dropped), out)
    seconds = time.monotonic() - started
    report = replace(
        report,
        metrics={**report.metrics, **notes},
        resumed_from=resumed_from,
        seconds=seconds,
        messages=[*remarks, *trainer.budget.messages],
    )
    facts = _facts(found, report, identity)
    _finish(trainer, {**facts, "score_range": _score_range(data[0], settings, origin)}, report, out, saving)
    return report


def prepare_reward(
    rows: pa.Table, eval_rows: pa.Table | None, settings: TrainReward
) -> tuple[RewardModel, RewardUnits, Dataset, Plan]:
    """The model as training would load it, what the rows come to, the units to train on, how steps are laid out.

    Raises:
        DataError, MissingScores, ModelError: as in `train_reward`.
    """
    from transformers.utils.logging import disable_progress_bar

    from prefboost.training.reward.start import load_start

    disable_progress_bar()
    found = load_start(settings)
    units, data, plan = _prepare((rows, eval_rows), settings, found, encoder_of(found.tokenizer, settings))
    return found, units, data[0], plan


def _identity(rows: pa.Table, eval_rows: pa.Table | None, settings: TrainReward) -> dict[str, Any]:
    from prefboost.training.saving.checkpoint import fingerprint

    return {
        "train": settings.model_dump(mode="json"),
        "data": fingerprint(rows),
        "eval_data": None if eval_rows is None else fingerprint(eval_rows),
    }


def _prepare(
    tables: tuple[pa.Table, pa.Table | None],
    settings: TrainReward,
    found: RewardModel,
    encoder: ChatEncoder,
    folder: Path | None = None,
) -> tuple[RewardUnits, tuple[Dataset, Dataset | None], Plan]:
    """Token ids, the eval split, and how steps are laid out."""
    from datasets import Dataset

    from prefboost.engines.models.weights import context_of
    from prefboost.training.data.questions import settle_prompt_ids
    from prefboost.training.data.units import plan_steps, split_by_prompt

    loss = settings.loss
    rows, eval_rows = tables
    by_prompt, positions = settings.unit == "prompt", context_of(found.model.config)
    wanted = Wanted(loss.heads, loss.compares, loss.needs_gap, by_prompt, settings.max_length, positions)
    if eval_rows is None and settings.eval_fraction:
        rows = settle_prompt_ids(rows, None)
    made = reward_units(rows, encoder, found.pad_id, wanted)
    evaluated = None if eval_rows is None else reward_units(eval_rows, encoder, found.pad_id, wanted)
    settle_losses(made, evaluated, settings.max_loss_share, folder)
    units, aside = made.units, None if evaluated is None else evaluated.units
    if eval_rows is None and settings.eval_fraction:
        units, aside = split_by_prompt(units, settings.eval_fraction, settings.seed)
    plan = plan_steps(
        units.num_rows,
        pc.sum(units["items"]).as_py() or 0,
        settings.batch_size,
        settings.batch_size if found.packs else settings.micro_batch,
        devices=int(os.environ.get("WORLD_SIZE", "1")),
        epochs=settings.epochs,
    )
    return made, (Dataset(units), None if aside is None or not aside.num_rows else Dataset(aside)), plan


def _trainer(
    found: RewardModel,
    data: tuple[Dataset, Dataset | None],
    settings: TrainReward,
    plan: Plan,
    out: Path,
    progress: Progress | None,
) -> RewardTrainer:
    from transformers import PrinterCallback

    from prefboost.training.adapters import add_adapters
    from prefboost.training.engine.callbacks import JsonLog, SaveByTime, StepProgress
    from prefboost.training.reward.trainer import RewardTrainer, configure

    callbacks: list[Any] = [JsonLog(out / LOG), SaveByTime(settings.save_minutes)]
    if progress is not None:
        items = sum(data[0]["items"])
        callbacks.append(
            StepProgress(progress, plan.units_per_step * items / len(data[0]), _tokens(data[0]) / max(1, items))
        )
    trained = found.model if settings.lora is None else add_adapters(found.model, settings, task="SEQ_CLS")
    _without_dropout(trained, keeps="lora_dropout")
    args = configure(settings, plan, out, evaluates=data[1] is not None)
    trainer = RewardTrainer(found, trained, data, settings, args=args, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)  # the log is a file, and progress is the caller's
    return trainer


def _without_dropout(model: Any, keeps: str) -> None:
    import torch

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and keeps not in name:
            module.p = 0.0


def _run(trainer: RewardTrainer, out: Path) -> int:
    """Train to the end; returns the step at which a resumed run began."""
    from prefboost.training.saving.checkpoint import last_complete

    with trainer.accelerator.main_process_first():
        checkpoint = last_complete(out / "checkpoints")
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.eval_dataset is not None and trainer.settings.eval_every is None:
        trainer.evaluate()
    return 0 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-"))


def _report(
    trainer: RewardTrainer, trained: Dataset, units: RewardUnits, dropped: Mapping[str, int], out: Path
) -> TrainReport:
    found = trainer.found
    return TrainReport(
        model=str(out / MODEL),
        steps=trainer.state.global_step,
        units=len(trained),
        pairs=sum(trained["items"]),
        tokens=_tokens(trained),
        seconds=0.0,
        dropped=dict(dropped),
        shortened=units.loss.shortened,
        losses=units.loss.sentences,
        metrics=last_metrics(out),
        engine="packed" if found.packs else "padded",
        precision=trainer.settings.precision,
        messages=[*([] if found.packs else [f"texts are padded, since {found.unpacked}"]), *trainer.budget.messages],
    )


def _tokens(units: Dataset) -> int:
    return int(pc.sum(pc.list_value_length(pc.list_flatten(units.data.table["texts"]))).as_py() or 0)


def _facts(found: RewardModel, report: TrainReport, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {
        "train_reward": identity["train"],
        "heads": list(found.heads),
        "data": {
            "fingerprint": identity["data"],
            "pairs": report.pairs,
            "dropped": dict(report.dropped),
            "losses": list(report.losses),
            "day": identity["day"],
        },
        "metrics": dict(report.metrics),
    }


def _score_range(units: Dataset, settings: TrainReward, origin: Origin) -> dict[str, tuple[float, float]]:
    """Head -> the scores that it gives, lowest and highest: those it was trained on. Preferences have no scale."""
    if settings.loss.compares:
        return {}
    labels = np.array([text for unit in units["labels"] for text in unit], dtype=np.float64)
    return {
        head: origin.score_range.get(head, (float(np.nanmin(own)), float(np.nanmax(own))))
        for head, own in zip(settings.loss.heads, labels.T, strict=True)
        if np.isfinite(own).any()
    }


def _finish(trainer: RewardTrainer, facts: Mapping[str, Any], report: TrainReport, out: Path, saving: Saving) -> None:
    """Save the model, then the report, then remove what was only needed to resume."""
    from prefboost.training.saving.checkpoint import save_reward_model

    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        save_reward_model(model, trainer.found.tokenizer, facts, out / MODEL, saving)
        write_atomically(out / REPORT, json.dumps(asdict(report), indent=2) + "\n")
        clear_checkpoints(out)
    trainer.accelerator.wait_for_everyone()
    part_in_order(trainer.accelerator.num_processes)
