"""The decode loop: a batch of prompts to tokens, each row drawn with random numbers of its own.

Rows that have ended leave the batch, and their part of the key-value cache with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefboost.engines.engine import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["decode", "draws_for", "pick_tokens"]

_NUCLEUS = 512
"""Likeliest tokens that are looked at first; all of them where the nucleus is wider."""


def draws_for(seed: int, steps: int) -> NDArray[np.float64]:
    """Draw the random numbers of one row: [T], in [0, 1), one per step; the first do not depend on T."""
    # Philox is a counter: number t is the same whatever T is, and no row's numbers depend on another row.
    return np.random.Generator(np.random.Philox(seed)).random(steps)


def pick_tokens(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """Pick the next token of each row.

    Args:
        logits: [B, V].
        draws: [B], float64, uniform in [0, 1): the token is the one in whose share of the probability it falls.
        sampling: temperature and nucleus.

    Returns:
        [B], token ids.
    """
    import torch

    if sampling.temperature == 0:
        # Greedy decoding takes no draw, so that a seed changes nothing.
        return logits.argmax(-1)
    probs = (logits.float() / sampling.temperature).softmax(-1)
    if sampling.top_p >= 1.0:
        return _inverse(probs, draws)
    # Sorting a vocabulary of 150,000 at every step costs more than all else that is done with the logits; nearly every
    # nucleus lies within the likeliest 512.
    count = min(_NUCLEUS, probs.shape[-1])
    top, tokens = probs.topk(count, dim=-1)
    if count < probs.shape[-1] and bool((top.sum(-1) < sampling.top_p).any()):
        top, tokens = probs.sort(dim=-1, descending=True, stable=True)
    # Mass before each token [B, K]; a token is in the nucleus while this is below top_p, so the first always is.
    before = top.double().cumsum(-1) - top
    nucleus = torch.where(before < sampling.top_p, top, 0.0)
    return tokens.gather(-1, _inverse(nucleus, draws)[:, None]).squeeze(-1)


def _inverse(weights: Tensor, draws: Tensor) -> Tensor:
    """Return the index of each row's weight in whose share of the sum the draw falls; never one of weight 0."""
    import torch

    # Inverse of the cumulated weights, scaled by their sum: no renormalisation, and float64 for long tails.
    reached = weights.double().cumsum(-1)
    targets = (draws * reached[:, -1])[:, None]
    indices: Tensor = torch.searchsorted(reached, targets, right=True).squeeze(-1)
    # A draw just below 1 may round up to the whole sum, behind the last weight.
    return indices.clamp(max=weights.shape[-1] - 1)


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    draws: NDArray[np.float64],
    sampling: Sampling,
    ends: Collection[int],
) -> Iterator[list[tuple[int, int]]]:
    """Draw tokens for a batch, a step at a time.

    Args:
        model: a causal language model of transformers; its device is used.
        prompts: token ids of B prompts, none empty.
        draws: [B, T], random numbers by row and step; at most T tokens a row are drawn.
        sampling: temperature and nucleus.
        ends: tokens that end a row.

    Yields:
        (row, token) of every row that has not ended before; the token that ends a row is its last.
    """
    import torch

    batch = _Batch(model, prompts, draws, ends)
    while batch.rows.numel():
        with torch.inference_mode():
            tokens = pick_tokens(batch.logits, batch.draws_now(), sampling)
            drawn = [pair for pair, on in zip(batch.pair_rows(tokens), batch.running.tolist(), strict=True) if on]
            batch.keep_running(tokens)
        # Handed over before the next step is computed: whoever streams a text sees a token as soon as it is drawn.
        yield drawn
        with torch.inference_mode():
            batch.step()


class _Batch:
    """Rows that are still being written: their cache, masks and the logits of their next token."""

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], draws: NDArray[np.float64], ends: Collection[int]
    ) -> None:
        import torch

        self.model = model
        device = next(model.parameters()).device
        self.draws = torch.from_numpy(np.ascontiguousarray(draws)).to(device)
        self.ends = torch.tensor(sorted(ends), dtype=torch.long, device=device)
        self.options = frozenset(inspect.signature(type(model).forward).parameters)
        width = max(len(prompt) for prompt in prompts)
        ids = torch.zeros((len(prompts), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            # Padded on the left, so that every row's next token stands in the last column.
            ids[row, width - len(prompt) :] = torch.tensor(list(prompt), dtype=torch.long)
            mask[row, width - len(prompt) :] = 1
        self.mask = mask.to(device)
        self.rows = torch.arange(len(prompts), device=device)
        self.running = torch.ones(len(prompts), dtype=torch.bool, device=device)
        self.position = self.mask.sum(-1, keepdim=True)
        self.cache: Any = None
        self.time = 0
        with torch.inference_mode():
            self._forward(ids.to(device), (self.mask.cumsum(-1) - 1).clamp(min=0))

    def _forward(self, ids: Tensor, positions: Tensor) -> None:
        # Only the last position's logits are needed: those of a whole prompt are B x L x V floats, more than the
        # weights of a small model. Not every architecture takes these options.
        options: dict[str, Any] = {"logits_to_keep": 1, "position_ids": positions}
        accepted = {name: value for name, value in options.items() if name in self.options}
        out = self.model(
            input_ids=ids, attention_mask=self.mask, past_key_values=self.cache, use_cache=True, **accepted
        )
        self.cache = out.past_key_values
        self.logits: Tensor = out.logits[:, -1]

    def draws_now(self) -> Tensor:
        """Return this step's random number of each row: [B]."""
        return self.draws[self.rows, self.time]

    def pair_rows(self, tokens: Tensor) -> list[tuple[int, int]]:
        """Pair every row of the batch with its token: (row, token)."""
        return list(zip(self.rows.tolist(), tokens.tolist(), strict=True))

    def keep_running(self, tokens: Tensor) -> None:
        """Note which rows have ended; let them go once they are a sixteenth of the batch."""
        import torch

        self.tokens = tokens
        # A row that has ended but is still in the batch keeps drawing tokens; `decode` does not yield them.
        self.running &= ~torch.isin(tokens, self.ends)
        self.time += 1
        left = int(self.running.sum())
        if left == 0 or self.time == self.draws.shape[1]:
            self.rows = self.rows[:0]
            return
        # Cutting the cache copies it, so rows leave in groups.
        ended = len(self.rows) - left
        if ended * 16 >= len(self.rows) and ended and hasattr(self.cache, "batch_select_indices"):
            rows = self.running.nonzero().squeeze(-1)
            self.cache.batch_select_indices(rows)
            self.rows, self.mask, self.position = self.rows[rows], self.mask[rows], self.position[rows]
            self.tokens, self.running = self.tokens[rows], self.running[rows]

    def step(self) -> None:
        """Let the model see the tokens that were just drawn."""
        import torch

        if not self.rows.numel():
            return
        self.mask = torch.cat([self.mask, self.mask.new_ones((len(self.rows), 1))], dim=-1)
        self._forward(self.tokens[:, None], self.position)
        self.position = self.position + 1
