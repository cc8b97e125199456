"""Small transformers for `goal_world.py`, many at once: every weight has a leading dimension of members (seeds).

A sequence is a topic, a goal slot and ten words. Members are independent: their weights are drawn, fed and
updated as if each were alone, and AdamW works number by number, so that results of a seed do not depend on its company.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from goal_world_truth import ANSWER, PRAISE, TOPICS, WORDS, Truth, write_answers
from torch import Tensor
from torch.nn import functional as F

__all__ = ["NO_GOAL", "Weights", "compute_logps", "copy_weights", "encode_goals", "pretrain", "sample"]

Weights = dict[str, Tensor]
"""Name -> [members, ...]."""

WIDTH, LAYERS, HEADS = 48, 2, 2
VOCABULARY = WORDS + PRAISE
"""Tokens that can be written; topics and goals follow behind them and are only read."""
NO_GOAL = 0
"""Value of a goal slot that asks for nothing; 1..10 ask for a score."""
GOALS = 11
PROMPT = 2
_TOKENS = VOCABULARY + TOPICS + GOALS
_CAUSAL = torch.full((PROMPT + ANSWER,) * 2, float("-inf")).triu(1)


def init_weights(seeds: Sequence[int]) -> Weights:
    """Draw the weights of one member per seed."""
    shapes = {"tokens": (_TOKENS, WIDTH, 0.5), "places": (PROMPT + ANSWER, WIDTH, 0.1), "head": (WIDTH, VOCABULARY, 0)}
    for layer in range(LAYERS):
        shapes |= {f"qkv{layer}": (WIDTH, 3 * WIDTH, 0), f"out{layer}": (WIDTH, WIDTH, 0)}
        shapes |= {f"up{layer}": (WIDTH, 4 * WIDTH, 0), f"down{layer}": (4 * WIDTH, WIDTH, 0)}
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return {
        name: torch.stack([torch.randn(rows, columns, generator=each) for each in generators]) * (scale or rows**-0.5)
        for name, (rows, columns, scale) in shapes.items()
    }


def copy_weights(weights: Weights) -> Weights:
    """Copy weights as leaves that training updates."""
    return {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}


def compute_logits(weights: Weights, tokens: Tensor, past: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
    """Compute logits of the next word at every place [M, B, T, VOCABULARY].

    Args:
        weights: of M members.
        tokens: [M, B, T].
        past: keys and values of the places before, one entry per layer, which is extended; an empty list to begin.
    """
    members, rows, length = tokens.shape
    start = past[0][0].shape[3] if past else 0
    # One table for all members: a member's tokens are looked up behind those of the members before it.
    offsets = torch.arange(members)[:, None, None] * _TOKENS
    hidden = F.embedding(tokens + offsets, weights["tokens"].flatten(0, 1))
    hidden = (hidden + weights["places"][:, None, start : start + length]).flatten(1, 2)
    mask = _CAUSAL[start : start + length, : start + length]
    for layer in range(LAYERS):
        qkv = torch.bmm(F.layer_norm(hidden, (WIDTH,)), weights[f"qkv{layer}"])
        q, k, v = qkv.view(members, rows, length, 3, HEADS, WIDTH // HEADS).permute(3, 0, 1, 4, 2, 5)
        if past is not None:
            if len(past) > layer:
                k, v = (torch.cat(pair, dim=3) for pair in zip(past[layer], (k, v), strict=True))
                past[layer] = (k, v)
            else:
                past.append((k, v))
        attention = (q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + mask).softmax(-1)
        mixed = (attention @ v).transpose(2, 3).reshape(members, rows * length, WIDTH)
        hidden = torch.baddbmm(hidden, mixed, weights[f"out{layer}"])
        inner = torch.bmm(F.layer_norm(hidden, (WIDTH,)), weights[f"up{layer}"]).relu()
        hidden = torch.baddbmm(hidden, inner, weights[f"down{layer}"])
    logits = torch.bmm(F.layer_norm(hidden, (WIDTH,)), weights["head"])
    return logits.view(members, rows, length, VOCABULARY)


def encode_goals(topics: Tensor, goals: Tensor) -> Tensor:
    """Build the tokens of prompts [M, B, 2].

    Args:
        topics: [M, B].
        goals: [M, B], NO_GOAL or 1..10.
    """
    return torch.stack([topics + VOCABULARY, goals + VOCABULARY + TOPICS], dim=-1)


def compute_logps(weights: Weights, prompts: Tensor, answers: Tensor) -> Tensor:
    """Compute log-probs of whole answers [M, B], nats.

    Args:
        weights: of M members.
        prompts: tokens [M, B, 2].
        answers: [M, B, ANSWER].
    """
    logits = compute_logits(weights, torch.cat([prompts, answers[..., :-1]], dim=-1))[:, :, PROMPT - 1 :]
    # A gather and a logsumexp instead of a whole log-softmax: the backward pass needs one tensor less.
    return (logits.gather(-1, answers[..., None]).squeeze(-1) - logits.logsumexp(-1)).sum(-1)


@torch.no_grad()
def sample(
    weights: Weights, prompts: Tensor, generators: Sequence[np.random.Generator], start: tuple[Weights, Tensor]
) -> tuple[Tensor, Tensor]:
    """Sample one answer per prompt at temperature 1, and measure how far the policy is from the start model.

    Args:
        weights: of M members.
        prompts: tokens [M, B, 2].
        generators: one per member.
        start: the start model's weights, and the tokens of its prompts [M, B, 2].

    Returns:
        answers [M, B, ANSWER], and the KL divergence along each answer [M, B], nats: exact at every place, given the
        words before it.
    """
    pasts: tuple[list[tuple[Tensor, Tensor]], ...] = ([], [])
    feeds = [prompts, start[1]]
    words, divergence = [], torch.zeros(prompts.shape[:2])
    for _ in range(ANSWER):
        logps, start_logps = (
            compute_logits(model, feed, past)[:, :, -1].log_softmax(-1)
            for model, feed, past in zip((weights, start[0]), feeds, pasts, strict=True)
        )
        probs = logps.exp()
        divergence += (probs * (logps - start_logps)).sum(-1)
        draws = np.stack([rng.random(prompts.shape[1]) for rng in generators])
        below = probs.double().cumsum(-1) < torch.from_numpy(draws)[..., None]
        word = below.sum(-1).clamp(max=VOCABULARY - 1)
        words.append(word)
        feeds = [word[..., None]] * 2
    return torch.stack(words, dim=-1), divergence


def pretrain(
    truths: Sequence[Truth], seeds: Sequence[int], steps: int, *, rated: float = 0.2, rows: int = 64
) -> Iterator[tuple[int, float, Weights]]:
    """Train one start model per seed on what writers of mixed skill write.

    Some texts carry their score in the goal slot, a fifth any number, the others none: as of a language model, whose
    corpus has some texts with honest ratings, the start model's notion of a score is weak.

    Args:
        truths: one per seed.
        seeds: of weights, topics and writers.
        steps: optimiser steps.
        rated: share of the texts that carry their score.
        rows: answers per step and seed.

    Yields:
        after every step: its number, the mean loss per word in nats, the weights.
    """
    weights = copy_weights(init_weights(seeds))
    optimiser = torch.optim.AdamW(weights.values(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    generators = [np.random.default_rng([seed, 1]) for seed in seeds]
    for step in range(steps):
        batches = [_draw_batch(*each, rows, rated) for each in zip(truths, generators, strict=True)]
        asked, goals, answers = (torch.from_numpy(np.stack(part)) for part in zip(*batches, strict=True))
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * step / steps))
        logps = compute_logps(weights, encode_goals(asked, goals), answers)
        optimiser.zero_grad()
        # Summed over members: each member's gradient is that of its own mean.
        (-logps.mean(1).sum() / ANSWER).backward()
        optimiser.step()
        yield step, float(-logps.detach().mean()) / ANSWER, {name: weight.detach() for name, weight in weights.items()}


_Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def _draw_batch(truth: Truth, rng: np.random.Generator, rows: int, rated: float) -> _Batch:
    drawn = rng.integers(TOPICS, size=rows)
    answers = write_answers(truth, drawn, rng)
    kind = rng.random(rows)
    scores, numbers = truth.score(drawn, answers).astype(np.int64), rng.integers(1, GOALS, size=rows)
    goals = np.where(kind < rated, scores, np.where(kind < rated + 0.2, numbers, NO_GOAL))
    return drawn, goals, answers
