"""The forecast of a training: steps, tokens, time and memory. A guess is called one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from prefboost.chat import SayGoal
from prefboost.devices import resolve_device
from prefboost.engines.models.packaged import model_folder
from prefboost.engines.models.weights import context_of
from prefboost.errors import ModelError
from prefboost.forecast import Forecast
from prefboost.packing import Packed, pack, probe_support
from prefboost.training.adapters import adapter_chain, add_adapters, base_config, check_targets
from prefboost.training.data.text_loss import encoder_of, settle_losses
from prefboost.training.data.units import Data, Plan, UnitSampler
from prefboost.training.engine.memory import is_out_of_memory
from prefboost.training.engine.micro_batches import split_by_budget, split_texts_by_budget
from prefboost.training.engine.numbers import budget_of, resolve_precision
from prefboost.training.optimisation import Optimisation, count_state_bytes
from prefboost.training.policy.batches import UnitCollator, Views
from prefboost.training.policy.model import load_model, load_policy_tokenizer
from prefboost.training.policy.prepare import plan_units, tokenise_all
from prefboost.training.policy.settings import Train
from prefboost.training.preflight import check_fit, check_request, check_weights, range_of_texts, range_of_units
from prefboost.training.reward.settings import TrainReward

__all__ = ["forecast_policy", "forecast_reward"]

_SAMPLED_STEPS = 16
"""Optimiser steps whose micro-batches are laid out to count tokens."""


@dataclass(frozen=True)
class _Trial:
    """One micro-batch: seconds of forward and backward, bytes kept between them."""

    forward: float
    backward: float
    kept: int


def forecast_policy(
    pairs: pa.Table, settings: Train, *, eval_pairs: pa.Table | None = None, say: SayGoal | None = None
) -> Forecast:
    """Prepare the data, lay out some steps, time one micro-batch. Nothing is written, no weights are downloaded.

    Args:
        pairs: GoalPairs after `condition`.
        settings: of the training.
        eval_pairs: as in `train`.
        say: how goals are said.

    Raises:
        DataError, ModelError: as in `train`; weights that are not on this machine are not an error.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    check_request(settings)
    settings = resolve_precision(settings)
    config = base_config(settings, generates=True)
    encoder = encoder_of(load_policy_tokenizer(settings), settings)
    tokenised, evaluated = tokenise_all(pairs, eval_pairs, settings, encoder, say, context_of(config))
    settle_losses(tokenised, evaluated, settings.max_loss_share, None)
    data, plan = plan_units(tokenised, evaluated, settings)
    # The device of this process; others of a launch are taken to be like it.
    device = torch.device(resolve_device())
    sampled = _sample_steps(len(data.train), plan, settings.seed)
    streams: list[Packed] = []
    for step in sampled:
        views: Views = UnitCollator()([data.train[index] for index in step])["tokens"]
        parts = split_by_budget(views, budget_of(settings, device.type))
        streams += [views.take(rows).pack_pairs() for rows in parts]
    steps = settings.max_steps or plan.steps
    repeats = steps / len(sampled)
    counts = {"real": "unshared_tokens", "packed": "tokens", "padded": "padded_tokens"}
    goal_pairs = pc.sum(pc.list_value_length(data.train.data.table["view"])).as_py() or 0
    estimate = Forecast(
        f"{goal_pairs:,} goal pairs to train on: {len(data.train):,} units, {steps:,} steps",
        {"units": len(data.train), "pairs": goal_pairs, "steps": steps},
        engine=settings.engine,
        device=device.type,
        tokens={name: round(repeats * sum(getattr(s, where) for s in streams)) for name, where in counts.items()},
        guesses=[f"tokens: counted on {len(sampled):,} of {steps:,} steps"] if len(sampled) < steps else [],
        rejected=tokenised.dropped,
        losses=tokenised.loss.sentences,
    )
    largest = max(streams, key=lambda stream: stream.tokens)
    return _try_model(estimate, settings, data, largest, steps / plan.steps_per_epoch)


def _sample_steps(units: int, plan: Plan, seed: int) -> list[list[int]]:
    """Draw the indices of the units of the first optimiser steps."""
    # The order of the first pass, so that these are the steps that training will really take.
    order = list(UnitSampler(units, seed, lambda: 0))
    size = plan.units_per_step
    # A few steps stand for all: units are drawn at random, so that their averages settle quickly.
    return [order[start : start + size] for start in range(0, len(order), size)][:_SAMPLED_STEPS]


def _try_model(estimate: Forecast, settings: Train, data: Data, largest: Packed, passes: float) -> Forecast:
    """Add time and memory to a forecast, from one micro-batch of the model on this machine.

    Raises:
        ModelError, DataError, SettingsError: the model is here, and training would refuse it.
    """
    try:
        model = load_model(settings, settings.model, local_only=True)
    # Offline, a model that was never downloaded cannot be timed.
    except ModelError as error:
        # Weights that are not here are no fault: a forecast may be made on another machine than the training.
        if any(Path(model_folder(adapter_chain(settings.model, settings.revision)[0])).glob("*.safetensors")):
            raise  # the weights are here, and training could not load them either
        return _add_guess(estimate, f"time and memory: not known, since {str(error).splitlines()[0]}")
    check_weights(model, settings.model)
    tokenizer = load_policy_tokenizer(settings)
    for units in (data.train, data.evaluation):
        if units is not None:
            check_fit(model, tokenizer, range_of_units(units.data.table))
    for sentence in [] if settings.lora is None else check_targets(model, settings.lora):
        estimate = _add_guess(estimate, sentence)
    try:
        model = model.to(estimate.device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        estimate = replace(estimate, memory=_count_memory(model, settings))
        return _add_guess(estimate, f"time: the model does not fit into the memory of {estimate.device}")
    # The time of padded sequences depends on their micro-batches, which are not laid out here.
    support = probe_support(model) if settings.engine == "packed" else None
    if support is None or not support.ok:
        why = f"train.engine is {settings.engine}" if support is None else support.reason
        engine = "padded" if settings.engine == "packed" else settings.engine
        estimate = replace(estimate, engine=engine, memory=_count_memory(model, settings))
        return _add_guess(estimate, f"time: not tried for padded sequences, which are computed since {why}")
    if settings.lora is not None:
        # Adapters change both: gradients and optimiser states are small, and activations of frozen layers are not kept.
        model = add_adapters(model, settings, task="CAUSAL_LM")
    try:
        trial = _run_trial(model.to(estimate.device), settings, largest.to(estimate.device))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        estimate = replace(estimate, memory=_count_memory(model, settings))
        return _add_guess(estimate, "time: one micro-batch did not fit into memory; lower token_budget")
    estimate = _add_trial(estimate, trial, largest, _count_memory(model, settings))
    if settings.uses_reference:
        # The reference is computed once per sequence: the forward of a single pass.
        reference = estimate.tokens["packed"] / largest.tokens / passes * trial.forward
        estimate = replace(estimate, seconds={**estimate.seconds, "reference": reference})
        estimate = _add_guess(estimate, "reference: takes no time where its log-probs are in the cache")
    return estimate if not settings.gradient_checkpointing else _add_guess(estimate, RECOMPUTED)


RECOMPUTED = "activations: a lower bound, since layers compute theirs again"


def _add_trial(estimate: Forecast, trial: _Trial, largest: Packed, memory: Mapping[str, int]) -> Forecast:
    """Add to a forecast what one micro-batch took, times all tokens."""
    seconds = {"training": estimate.tokens["packed"] / largest.tokens * (trial.forward + trial.backward)}
    estimate = replace(estimate, seconds=seconds, memory={**memory, "activations": trial.kept})
    return _add_guess(estimate, f"time: that of one micro-batch of {largest.tokens:,} tokens, times all tokens")


def forecast_reward(rows: pa.Table, settings: TrainReward, *, eval_rows: pa.Table | None = None) -> Forecast:
    """Forecast the training of a reward model, whose weights are downloaded if not here. Nothing else is written.

    Args:
        rows: as in `prefboost.training.reward.train`; ``pairs`` of the forecast are texts for a regression.
        settings: of the training.
        eval_rows: as there.

    Raises:
        DataError, ModelError: as there.
    """
    from prefboost.training.reward.train import prepare_reward

    check_request(settings)
    settings = resolve_precision(settings)
    model, units, data, plan = prepare_reward(rows, eval_rows, settings)
    check_fit(model.model, model.tokenizer, range_of_texts(data.data.table))
    remarks = [] if settings.lora is None else check_targets(model.model, settings.lora)
    device = next(model.model.parameters()).device
    budget = budget_of(settings, device.type)
    steps = _sample_steps(len(data), plan, settings.seed)
    streams = []
    for step in steps:
        texts = [data[index]["texts"] for index in step]
        for part in split_texts_by_budget(texts, budget):
            whole = [ids for at in part for ids in texts[at]]
            streams.append(pack(whole, [()] * len(whole)))
    total = settings.max_steps or plan.steps
    counts = {"real": "unshared_tokens", "packed": "tokens", "padded": "padded_tokens"}
    items, what = sum(data["items"]), "pairs" if settings.loss.compares else "texts"
    estimate = Forecast(
        f"{items:,} {what} to train on: {len(data):,} units, {total:,} steps",
        {"units": len(data), "pairs": items, "steps": total},
        engine="packed" if model.packs else "padded",
        device=device.type,
        tokens={name: round(total / len(steps) * sum(getattr(s, of) for s in streams)) for name, of in counts.items()},
        memory=_count_memory(model.model, settings),
        guesses=[
            *([f"tokens: counted on {len(steps):,} of {total:,} steps"] if len(steps) < total else []),
            *remarks,
        ],
        rejected=units.dropped,
        losses=units.loss.sentences,
    )
    if not model.packs or settings.lora is not None:
        why = "texts are padded" if not model.packs else "adapters are put on when training begins"
        return _add_guess(estimate, f"time: not tried, since {why}")
    largest = max(streams, key=lambda stream: stream.tokens)
    try:
        trial = _run_trial(model.model, settings, largest.to(device), "texts")
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _add_guess(estimate, "time: one micro-batch did not fit into memory; lower token_budget")
    return _add_trial(estimate, trial, largest, estimate.memory)


def _run_trial(model: Any, settings: Optimisation, stream: Packed, called: str = "packed") -> _Trial:
    """Forward and backward of a stream, given as argument ``called``, twice; the second time counts."""
    if settings.gradient_checkpointing:
        # The method was renamed in transformers 5. Inputs that ask for a gradient, which frozen embeddings need, come
        # with the adapters (`add_adapters`).
        current = "activation_checkpointing_enable"
        getattr(model, current if hasattr(model, current) else "gradient_checkpointing_enable")()
    model.train()
    device = stream.input_ids.device.type
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved_bytes: dict[int, int] = {}

    def save_tensor(tensor: Tensor) -> Tensor:
        # Views share a storage, and weights are not freed in between: each storage counts once, weights never.
        storage = tensor.untyped_storage()
        # Autograd keeps references to weights as well, which cost no memory of their own.
        if storage.data_ptr() not in weights:
            saved_bytes[storage.data_ptr()] = storage.nbytes()
        return tensor

    # As in training, where float32 weights are used under autocast.
    half = torch.autocast(device, dtype=torch.bfloat16, enabled=settings.precision == "bf16")
    # The first pass pays for allocations and for kernels that are chosen on first use.
    for _ in range(2):
        saved_bytes.clear()
        began = _read_clock(device)
        with half, torch.autograd.graph.saved_tensors_hooks(save_tensor, lambda tensor: tensor):
            output: Tensor = model(**{called: stream})
        between = _read_clock(device)
        # Any scalar of all outputs costs what the loss costs: the loss itself is a few operations per pair.
        output.sum().backward()
        ended = _read_clock(device)
        model.zero_grad()
    return _Trial(between - began, ended - between, sum(saved_bytes.values()))


def _read_clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def _count_memory(model: Any, settings: Optimisation) -> dict[str, int]:
    parameters = list(model.parameters())
    # Without the adapters themselves nothing is known of their number, which is small against the model.
    if settings.lora is None or hasattr(model, "peft_config"):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
    else:
        trained = []
    return {
        "weights": sum(parameter.nbytes for parameter in parameters),
        "gradients": sum(parameter.nbytes for parameter in trained),
        "optimizer": count_state_bytes(settings.optimizer, trained),
    }


def _add_guess(estimate: Forecast, sentence: str) -> Forecast:
    return replace(estimate, guesses=[*estimate.guesses, sentence])
