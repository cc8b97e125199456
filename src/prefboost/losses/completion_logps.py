"""Log-probs of completions: the forward that training, the reference and every engine share.

The model's body runs over padded sequences; its head runs only where a token of a completion is predicted, in chunks
whose logits are recomputed in the backward pass. The full logits [S, L, V] never exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefboost.losses.rope_by_length import apply_rope_groups, group_rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "batch_by_length",
    "compute_balanced_logps",
    "find_body",
    "compute_logps",
    "read_logit_scale",
    "compute_row_logps",
    "pad_sequences",
    "sum_by_sequence",
]

HEAD_CHUNK = 512
"""Rows of hidden states per call of the head."""


def pad_sequences(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], pad_id: int
) -> dict[str, Tensor]:
    """Join prompt and completion of S sequences, padded on the right to the longest.

    Returns:
        ``input_ids``, ``attention_mask`` and ``completion_mask`` [S, L]; the last is 1 on tokens of the completion.
    """
    import torch

    lengths = [len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True)]
    shape = (len(lengths), max(lengths))
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    completion_mask = torch.zeros(shape, dtype=torch.long)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        input_ids[row, : len(prompt)] = torch.tensor(prompt)
        input_ids[row, len(prompt) : lengths[row]] = torch.tensor(completion)
        attention_mask[row, : lengths[row]] = 1
        completion_mask[row, len(prompt) : lengths[row]] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask, "completion_mask": completion_mask}


def compute_logps(
    model: Any, input_ids: Tensor, attention_mask: Tensor, completion_mask: Tensor, head_chunk: int = HEAD_CHUNK
) -> Tensor:
    """Compute the log-prob of each completion given its prompt, summed over the completion's tokens.

    Args:
        model: a causal language model of transformers (not wrapped).
        input_ids: [S, L].
        attention_mask: [S, L], 1 on real tokens, padding on the right.
        completion_mask: [S, L], 1 on tokens whose log-prob counts; never on the first position.
        head_chunk: rows per call of the head; changes memory, not values.

    Returns:
        [S], float32 (float64 for float64 models), nats; differentiable where gradients are on.
    """
    with apply_rope_groups(model, group_rows(model, attention_mask)):
        output = find_body(model)(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    return _score_hidden(model, output.last_hidden_state, input_ids, completion_mask, head_chunk)


def compute_balanced_logps(
    model: Any, input_ids: Tensor, attention_mask: Tensor, completion_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute log-probs [S] as `compute_logps`, and the balance of a mixture's experts over all real tokens."""
    from prefboost.losses.router_balance import compute_balance

    routed = {"output_router_logits": True, "use_cache": False}
    with apply_rope_groups(model, group_rows(model, attention_mask)):
        output = find_body(model)(input_ids=input_ids, attention_mask=attention_mask, **routed)
    logps = _score_hidden(model, output.last_hidden_state, input_ids, completion_mask, HEAD_CHUNK)
    return logps, compute_balance(model, output, attention_mask)


def _score_hidden(model: Any, hidden: Tensor, input_ids: Tensor, completion_mask: Tensor, head_chunk: int) -> Tensor:
    # The token at position p is predicted by the hidden state at p - 1; the head runs on those rows alone.
    sequence, position = completion_mask[:, 1:].nonzero(as_tuple=True)
    targets = input_ids[sequence, position + 1]
    tokens = compute_row_logps(model, hidden[sequence, position], targets, head_chunk)
    return sum_by_sequence(tokens, sequence, len(input_ids))


def sum_by_sequence(tokens: Tensor, owner: Tensor, sequences: int) -> Tensor:
    """Add up log-probs of tokens by sequence.

    Args:
        tokens: [K].
        owner: [K], the sequence of each.
        sequences: S.

    Returns:
        [S], in the number type of ``tokens``.
    """
    import torch

    # The sum is taken in float64: a float32 sum of some hundred terms is further from the truth than all that a layer
    # rounds.
    wide = tokens if tokens.device.type == "mps" else tokens.to(torch.float64)  # mps has no float64
    return wide.new_zeros(sequences).index_add(0, owner, wide).to(tokens.dtype)


def find_body(model: Any) -> Any:
    """Return the model without its head: token ids to the hidden states after the final norm."""
    body = model.base_model
    return body if body is not model else model.model  # a few models name a body that they do not have


def compute_row_logps(model: Any, hidden: Tensor, targets: Tensor, head_chunk: int = HEAD_CHUNK) -> Tensor:
    """Compute log-probs of single tokens by the model's head, whatever layer it is.

    Args:
        model: a causal language model of transformers (not wrapped).
        hidden: [C, H], hidden states after the final norm.
        targets: [C], the tokens that follow.
        head_chunk: rows per call of the head; changes memory, not values.

    Returns:
        [C], float32 (float64 for float64 models), nats.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    head = model.get_output_embeddings()
    config = model.config.get_text_config()
    cap, scale = getattr(config, "final_logit_softcapping", None), read_logit_scale(config)

    def compute_chunk(rows: Tensor, chunk_targets: Tensor) -> Tensor:
        logits: Tensor = head(rows)
        # What the architecture does to the logits of its output layer: a scale, then a soft cap.
        logits = logits if scale == 1.0 else logits * scale
        logits = logits if not cap else cap * (logits / cap).tanh()
        logits = logits if logits.dtype == torch.float64 else logits.float()
        target_logits = logits.gather(-1, chunk_targets[:, None]).squeeze(-1)
        chunk_logps: Tensor = target_logits - logits.logsumexp(-1)
        return chunk_logps

    parts = list(zip(torch.split(hidden, head_chunk), torch.split(targets, head_chunk), strict=True))
    # Logits are computed again in the backward pass, so that those of one chunk at a time exist; a single chunk would
    # gain nothing.
    if torch.is_grad_enabled() and len(parts) > 1:
        logps = [checkpoint(compute_chunk, rows, targets_of, use_reentrant=False) for rows, targets_of in parts]
    else:
        logps = [compute_chunk(rows, targets_of) for rows, targets_of in parts]
    return torch.cat(logps)  # of no rows, torch.split makes one empty chunk


def batch_by_length(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Sort indices into batches of similar length, longest first, each of at most ``max_tokens`` padded tokens."""
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if room <= 0:
            batches.append([])
            room = max(1, max_tokens // max(1, lengths[index]))
        batches[-1].append(index)
        room -= 1
    return batches


def read_logit_scale(config: Any) -> float:
    """Read the factor of an architecture's logits from its configuration; 1 where there is none."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            return float(getattr(config, name))
    # Granite divides by the field of this name; HyperCLOVA X multiplies by it.
    divisor = getattr(config, "logits_scaling", None)
    if divisor is None:
        return 1.0
    return float(divisor) if config.model_type == "hyperclovax" else 1.0 / float(divisor)
