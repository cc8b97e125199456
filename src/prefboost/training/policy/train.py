"""`train`: goal pairs in, a policy that can be asked for a score out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from prefboost.chat import SayGoal
from prefboost.errors import ModelError
from prefboost.progress import phase
from prefboost.training.claim import (
    MODEL,
    begin,
    is_main_process,
    last_metrics,
    read_first_day,
)
from prefboost.training.data.row_goals import render_row_goal
from prefboost.training.data.text_loss import encoder_of, settle_losses
from prefboost.training.engine.numbers import resolve_precision
from prefboost.training.policy.settings import Train
from prefboost.training.report import TrainReport
from prefboost.training.session import build_callbacks, describe_inputs, finish_training, open_session, run_to_end

if TYPE_CHECKING:
    from prefboost.preferences.stated_goals import StatedGoals
    from prefboost.progress import Progress
    from prefboost.training.data.units import Data, Plan
    from prefboost.training.policy.model import Policy
    from prefboost.training.policy.tokenise import Tokenised
    from prefboost.training.policy.trainer import PreferenceTrainer
    from prefboost.training.saving.checkpoint import Provenance

__all__ = ["train"]

logger = logging.getLogger(__name__)


def train(
    pairs: pa.Table,
    settings: Train,
    out: Path,
    *,
    eval_pairs: pa.Table | None = None,
    goals: StatedGoals | None = None,
    progress: Progress | None = None,
) -> TrainReport:
    """Train a policy on goal pairs. The same call after a kill takes up the work at the last whole checkpoint.

    Args:
        pairs: GoalPairs after `condition`, as Arrow.
        settings: how to train.
        out: run folder; gets model/, train_log.jsonl, train_report.json, train_rejects.parquet (rows that the chat
            template cannot render), and checkpoints while training.
        eval_pairs: pairs to evaluate on; default: those of ``settings.eval_fraction`` of the prompts.
        goals: how and where goals stand in the prompts of ``pairs``, stored with the model, which then asks for the top
            score by itself.
        progress: is told how far it has come.

    Raises:
        RunError: ``out`` holds another run, or a loss is not finite.
        ModelError: the model or its chat template cannot be used, or the goals do not stand in the prompts.
        DataError: no usable pair is left, or too many rows lose text (``settings.max_loss_share``).
    """
    with open_session(out, settings):
        return _train((pairs, eval_pairs), settings, out, goals, progress)


def _train(
    tables: tuple[pa.Table, pa.Table | None],
    settings: Train,
    out: Path,
    goals: StatedGoals | None,
    progress: Progress | None,
) -> TrainReport:
    """Train a policy in a folder that this process alone holds."""
    from transformers.utils.logging import disable_progress_bar

    from prefboost.engines.models.weights import context_of
    from prefboost.training.adapters import check_targets
    from prefboost.training.policy.chat_template import let_template_merge
    from prefboost.training.policy.ending import PolicySaver
    from prefboost.training.policy.model import load_policy
    from prefboost.training.policy.prepare import plan_units, tokenise_all
    from prefboost.training.preflight import check_request, check_weights
    from prefboost.training.saving.saved_type import Rounding, choose_saved_type

    started = time.monotonic()
    pairs, eval_pairs = tables
    stated = any(pairs[name].null_count < pairs.num_rows for name in _list_goal_columns(pairs))
    say = goals.say if goals is not None and stated else None
    check_request(settings)
    # Before the run is identified, so that its description holds the numbers that are used, not "auto".
    settings = resolve_precision(settings, out)
    identity = describe_inputs(pairs, eval_pairs, settings)
    identity["say"] = None if say is None else say.model_dump(mode="json")
    if (finished := begin(out, identity)) is not None:
        return TrainReport.from_record(finished)
    disable_progress_bar()
    with phase(progress, f"loading {settings.model}"):
        policy = load_policy(settings)
        if is_main_process(os.environ):  # others may get the weights from this process, later
            check_weights(policy.model, settings.model)
    notes = [] if settings.lora is None else check_targets(policy.model, settings.lora)
    settings, remarks = _choose_engine(settings, policy)
    encoder = encoder_of(policy.tokenizer, settings, read_first_day(out))
    with phase(progress, "tokenising"):
        tokenised, evaluated = tokenise_all(*tables, settings, encoder, say, context_of(policy.model.config))
        settle_losses(tokenised, evaluated, settings.max_loss_share, out if is_main_process(os.environ) else None)
        data, plan = plan_units(tokenised, evaluated, settings)
        let_template_merge(encoder)
    # The saved model's template is derived from ``say`` alone, so the prompts have to read as it says.
    _check_stated_goals(pairs, say)
    identity |= {"day": str(encoder.day)}
    provenance = _build_provenance(identity, tokenised, data, goals, pairs)
    end = PolicySaver(policy, settings, provenance, choose_saved_type(settings, policy.model.dtype))
    with phase(progress, "rehearsing how the model will be saved"):
        remarks += end.check(data, plan, out)
    # Taken before the first step: afterwards the old weights are gone.
    rounding = Rounding.before(policy.model, settings, end.saved_type)
    trainer = _build_trainer(policy, data, settings, plan, out, progress)
    resumed_from = run_to_end(trainer, out)
    trainer.notes += [*notes, *remarks, *rounding.describe(None if trainer.shards_weights else policy.model)]
    report = replace(
        _build_report(trainer, data, tokenised, out), resumed_from=resumed_from, seconds=time.monotonic() - started
    )
    finish_training(trainer, report, out, partial(end.save, folder=out / MODEL))
    return report


def _choose_engine(settings: Train, policy: Policy) -> tuple[Train, list[str]]:
    """Choose an engine that the model supports, and say why it is another one than that of the settings."""
    if settings.engine != "packed":
        return settings, []
    from prefboost.packing import probe_support
    from prefboost.training.policy.model import choose_training_device, shares_weights

    # Probing on the device that trains finds faults of its kernels too.
    if not shares_weights(os.environ):  # else the whole model may not fit; it is tried again once it is parted
        policy.model.to(choose_training_device(os.environ))
    # Packed and padded log-probs are compared on the model itself; an architecture's name proves nothing.
    support = probe_support(policy.model)
    if support.ok:
        return settings, []
    reason = f"train.engine: padded is used, since {support.reason}"
    logger.warning("%s", reason)
    return settings.model_copy(update={"engine": "padded"}), [reason]


def _list_goal_columns(pairs: pa.Table) -> list[str]:
    return [name for name in pairs.column_names if name == "goal" or name.startswith("goal.")]


def _check_stated_goals(pairs: pa.Table, say: SayGoal | None) -> None:
    """Refuse pairs whose first prompt with a goal does not read as ``say`` says: the model would answer to other words.

    Raises:
        ModelError: the goal's text is not in the message where it is to stand.
    """
    if say is None:
        return
    # The first stated goal decides; small batches, since it is nearly always in the first row.
    for row in (row for batch in pairs.to_batches(max_chunksize=64) for row in batch.to_pylist()):
        text = render_row_goal(row, say)
        if text is None:
            continue
        role = "system" if say.place == "system" else "user"
        if not any(text in message["content"] for message in row["prompt"] if message["role"] == role):
            raise ModelError(
                f"the goal's text is not in the prompt of pair {row['pair_id']!r}: {text[:80]!r}",
                remedy="give the SayGoal with which the pairs were conditioned",
            )
        return


def _build_provenance(
    identity: Mapping[str, Any],
    tokenised: Tokenised,
    data: Data,
    goals: StatedGoals | None,
    pairs: pa.Table,
) -> Provenance:
    from prefboost.training.saving.checkpoint import Provenance

    stated = [name for name in _list_goal_columns(pairs) if pairs[name].null_count < pairs.num_rows]
    aspects: dict[str, float] = {}
    if goals is not None:
        # An aspect without a scale of its own has that of the wording.
        names = [name.removeprefix("goal.") for name in stated if name != "goal"]
        aspects = {name: goals.scales[name].top if name in goals.scales else goals.say.high for name in names}
    trained = _count_views(data.train.data.table)
    return Provenance(
        settings=identity["train"],
        data={
            "fingerprint": identity["data"],
            "rows": tokenised.rows,
            "pairs": trained,
            "units": len(data.train),
            "held_out": tokenised.views - trained,
            "dropped": tokenised.dropped,
            "shortened": tokenised.shortened,
            "losses": tokenised.loss.sentences,
            "day": identity["day"],
        },
        goals=goals,
        top=goals.say.high if goals is not None and "goal" in stated else None,
        top_aspects=aspects,
    )


def _build_trainer(
    policy: Policy, data: Data, settings: Train, plan: Plan, out: Path, progress: Progress | None
) -> PreferenceTrainer:
    from prefboost.training.adapters import explain_targets
    from prefboost.training.engine.configuration import configure_training
    from prefboost.training.policy.model import check_completion_forward
    from prefboost.training.policy.trainer import PreferenceTrainer

    # A few tokens in eval mode, before hours of training on wrong log-probs.
    check_completion_forward(policy.model.eval(), data.train[0]["prompt_ids"][0] + data.train[0]["chosen_ids"][0])
    views = _count_views(data.train.data.table)
    callbacks = build_callbacks(
        settings,
        out,
        progress,
        plan.units_per_step * views / len(data.train),
        _count_tokens(data.train) / views,
    )
    trainer: type[PreferenceTrainer] = PreferenceTrainer
    configure: Callable[..., Any] = configure_training
    if settings.engine == "trl":
        from prefboost.training.policy.trl_bridge import TrlTrainer, configure_trl

        trainer, configure = TrlTrainer, configure_trl
    config = configure(settings, plan, out, evaluates=data.evaluation is not None)
    with explain_targets(settings.lora):
        return trainer(policy, data, settings, config, callbacks=callbacks, progress=progress)


def _build_report(trainer: PreferenceTrainer, data: Data, tokenised: Tokenised, out: Path) -> TrainReport:
    return TrainReport(
        model=str(out / MODEL),
        steps=trainer.state.global_step,
        units=len(data.train),
        pairs=_count_views(data.train.data.table),
        tokens=_count_tokens(data.train),
        seconds=0.0,
        dropped=tokenised.dropped,
        shortened=tokenised.shortened,
        losses=tokenised.loss.sentences,
        metrics=last_metrics(out),
        engine=trainer.settings.engine,
        precision=trainer.settings.precision,
        messages=[*trainer.notes, *trainer.watch.messages, *trainer.budget.messages],
        speed=trainer.meter.summary(),
    )


def _count_views(units: pa.Table) -> int:
    return pc.sum(pc.list_value_length(units["view"])).as_py() or 0


def _count_tokens(units: Any) -> int:
    table = units.data.table
    count = {
        name: int(pc.sum(pc.list_value_length(pc.list_flatten(table[name]))).as_py() or 0)
        for name in ("prompt_ids", "chosen_ids", "rejected_ids")
    }
    # A prompt is read with both completions.
    return 2 * count["prompt_ids"] + count["chosen_ids"] + count["rejected_ids"]
