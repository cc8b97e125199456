"""Checks before the first step: settings that a library will refuse, weights and rows that do not fit."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prefboost.engines.models.weights import context_of, count_embedding_rows
from prefboost.errors import DataError, ModelError, SettingsError, suggest_name
from prefboost.training.optimisation import Optimisation
from prefboost.training.trackers import check_trackers

__all__ = ["TokenRange", "check_fit", "check_request", "check_weights", "range_of_texts", "range_of_units"]

_POSITIONS = re.compile(r"(^|[._])(wpe|pos|position|positions|position_embeddings|embed_positions)([._]|$)")
"""Names of learned or precomputed tables with one row per position; rotary models have none and no hard limit."""

_SPARE = 2
"""Rows that a table may have beyond the context, as padding needs them."""

_SHOWN = 3


@dataclass(frozen=True)
class TokenRange:
    """The highest token and the lengths that a model has to take.

    Args:
        highest: the highest token id.
        lengths: tokens of every sequence.
    """

    highest: int
    lengths: pa.ChunkedArray | pa.Array


def check_request(settings: Optimisation) -> None:
    """Ask transformers for the optimiser and the trackers that training will use.

    Raises:
        SettingsError: there is no such optimiser or tracker, or its library is not installed.
    """
    from transformers import Trainer, TrainingArguments
    from transformers.training_args import OptimizerNames

    check_trackers(settings.report_to)
    name = settings.optimizer
    # Names are asked of transformers itself, whose list grows with every version.
    names = [each.value for each in OptimizerNames]
    if name not in names:
        raise SettingsError(
            f"optimizer: there is no {name!r}{suggest_name(name, names)}", remedy=f"choose of {', '.join(names)}"
        )
    try:
        # A stand-in, since making the true arguments would join the processes of a launch before the model is loaded.
        # Libraries of optimisers are imported only when one is chosen, so that a name alone proves nothing.
        usual = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
        Trainer.get_optimizer_cls_and_kwargs(SimpleNamespace(**usual | {"optim": OptimizerNames(name)}))
    except Exception as error:  # each optimiser's library complains in its own way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SettingsError(
            f"optimizer: {name} cannot be used here: {reason[:200]}",
            remedy="install what it needs, or write adamw_torch",
        ) from error


def check_weights(model: Any, name: str) -> None:
    """Refuse a model with weights that are infinite or no number: every loss would be.

    Args:
        model: of transformers.
        name: of the model, for the message.

    Raises:
        ModelError: names the first such weights.
    """
    import torch

    # One pass over the weights, before hours of training that could only give NaN.
    bad = [which for which, weight in model.named_parameters() if not bool(torch.isfinite(weight.detach()).all())]
    if bad:
        raise ModelError(
            f"{len(bad)} of {len(list(model.parameters()))} weight tensors of {name} hold infinite values or NaN: "
            f"{', '.join(bad[:_SHOWN])}{' ...' if len(bad) > _SHOWN else ''}",
            remedy="use another checkpoint: this one was damaged, or saved after its training had diverged",
        )


def range_of_units(units: pa.Table) -> TokenRange:
    """Measure units (`prefboost.training.policy.tokenise`): the prompt with the longer completion of every view."""
    # Arrow computes this without a Python object per token.
    ids = {name: pc.list_flatten(units[f"{name}_ids"]) for name in ("prompt", "chosen", "rejected")}
    highest = max(_find_highest(part) for part in ids.values())
    completion_lengths = pc.max_element_wise(*(pc.list_value_length(ids[side]) for side in ("chosen", "rejected")))
    return TokenRange(highest, pc.add(pc.list_value_length(ids["prompt"]), completion_lengths))


def range_of_texts(units: pa.Table) -> TokenRange:
    """Measure units of a reward model (`prefboost.training.reward.units`): every text."""
    texts = pc.list_flatten(units["texts"])
    return TokenRange(_find_highest(texts), pc.list_value_length(texts))


def _find_highest(sequences: pa.ChunkedArray | pa.Array) -> int:
    return int(pc.max(pc.list_flatten(sequences)).as_py() or 0)


def check_fit(model: Any, tokenizer: Any, tokens: TokenRange, limit: str = "max_length") -> None:
    """Compare tokens and lengths of the data with the tables of a model: beyond them it can only crash.

    Args:
        model: of transformers.
        tokenizer: for the message.
        tokens: what the data ask.
        limit: the setting that cuts sequences, for the remedy.

    Raises:
        ModelError: a token has no row in the embedding.
        DataError: sequences are longer than the model's table of positions.
    """
    import torch

    name = type(model).__name__
    # On a GPU an index beyond the table is an assertion without a message, and the process is lost.
    rows = count_embedding_rows(model)
    if rows is not None and tokens.highest >= rows:
        token = tokenizer.convert_ids_to_tokens(tokens.highest)
        raise ModelError(
            f"the tokenizer gives token {tokens.highest} ({token!r}), but the embedding of {name} has {rows:,} rows",
            remedy="use the tokenizer of the model, or resize the model first: "
            f"model.resize_token_embeddings({len(tokenizer)}), then save_pretrained",
        )
    # Only tables as long as the text model's context count: other parts (of models that see images) have their own.
    context = context_of(model.config)
    tables: list[int] = []
    for layer, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) and _POSITIONS.search(layer):
            tables.append(module.num_embeddings - int(getattr(module, "offset", 0)))  # OPT counts from 2
    for layer, buffer in model.named_buffers():
        if buffer.ndim == 2 and buffer.is_floating_point() and _POSITIONS.search(layer):
            tables.append(buffer.shape[0])
    limits = [] if context is None else [rows for rows in tables if 0 <= rows - context <= _SPARE]
    # The smallest table fails first. Where positions are computed there is none, and any number will do.
    positions = min(limits, default=None)
    longest = int(pc.max(tokens.lengths).as_py() or 0)
    if positions is not None and longest > positions:
        beyond = int(pc.sum(pc.cast(pc.greater(tokens.lengths, positions), pa.int64())).as_py())
        raise DataError(
            f"{beyond:,} of {len(tokens.lengths):,} sequences are longer than the {positions:,} positions of {name}; "
            f"the longest has {longest:,} tokens",
            remedy=f"write {limit}: {positions} or less, or use a model with more positions",
        )
