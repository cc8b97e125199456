"""Log-probs of many completions without gradient: in packed streams where the model allows it, else padded."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from prefboost.losses.completion_logps import batch_by_length, compute_logps, pad_sequences

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Ids", "logps_of_batch", "logps_of_groups", "stream_batches"]

Ids = Sequence[Sequence[int]]


def stream_batches(
    prompts: Ids, completions: Ids, groups: Sequence[Hashable], max_tokens: int, *, packed: bool
) -> Iterator[list[int]]:
    """Batch sequences within a budget of computed tokens.

    Args:
        prompts: token ids of S sequences.
        completions: token ids; may be empty.
        groups: sequences of one group begin alike (completions of a prompt); they stay together where they fit.
        max_tokens: tokens of a batch: of its stream, or padded ones; a single sequence may have more.
        packed: whether batches are packed or padded.

    Yields:
        indices; packed: in the order in which the groups are met; padded: longest first.
    """
    lengths = [len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True)]
    if not packed:
        yield from batch_by_length(lengths, max_tokens)
        return
    from prefboost.packing import measure_stream

    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    batch: list[int] = []
    used = 0
    for indices in members.values():
        cost = measure_stream([prompts[i] for i in indices], [completions[i] for i in indices])
        # A group that does not fit is parted: its common beginning is computed again, and the numbers stay the same.
        whole = cost <= max_tokens or len(indices) == 1
        for part, tokens in [(indices, cost)] if whole else [([index], lengths[index]) for index in indices]:
            if batch and used + tokens > max_tokens:
                yield batch
                batch, used = [], 0
            batch = batch + part
            used += tokens
    if batch:
        yield batch


def logps_of_batch(model: Any, prompts: Ids, completions: Ids, pad_id: int, *, packed: bool) -> Tensor:
    """Compute log-probs [S] of one batch, nats, float32, without gradient.

    Args:
        model: a causal language model of transformers; with `prefboost.packing.enable_packing` where ``packed``.
        prompts: token ids, not empty.
        completions: token ids; an empty completion has log-prob 0.
        pad_id: any valid token id.
        packed: as one stream, or padded.
    """
    import torch

    from prefboost.packing import compute_packed_logps, pack

    device = next(model.parameters()).device
    with torch.inference_mode():
        if packed:
            return compute_packed_logps(model, pack(prompts, completions).to(device))
        # Right padding and a mask: causal attention never looks at what comes later.
        padded = {name: tensor.to(device) for name, tensor in pad_sequences(prompts, completions, pad_id).items()}
        return compute_logps(model, padded["input_ids"], padded["attention_mask"], padded["completion_mask"])


def logps_of_groups(  # noqa: PLR0913 - sequences, and how they are run
    model: Any,
    prompts: Ids,
    completions: Ids,
    groups: Sequence[Hashable],
    pad_id: int,
    max_tokens: int,
    *,
    packed: bool,
) -> list[float]:
    """Compute log-probs of many completions, batch by batch; see `stream_batches` and `logps_of_batch`.

    Returns:
        nats, in the order given.
    """
    totals = [0.0] * len(prompts)
    for batch in stream_batches(prompts, completions, groups, max_tokens, packed=packed):
        chosen = [prompts[i] for i in batch], [completions[i] for i in batch]
        logps = logps_of_batch(model, *chosen, pad_id, packed=packed)
        for index, logp in zip(batch, logps.tolist(), strict=True):
            totals[index] = logp
    return totals
