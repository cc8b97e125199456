"""Log-probs of a table's completions under a model, kept in a store: what implicit rewards and diagnoses compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefboost.devices import NumberSetting, announce, choose_numbers
from prefboost.engines.desk import Desk
from prefboost.engines.pool import count_batches_at_once, open_model
from prefboost.errors import ModelError
from prefboost.scoring.sides import ScoredItem, Scores
from prefboost.scoring.stored import fill_numbers, key_of_ids

if TYPE_CHECKING:
    from prefboost.chat.rendering import ChatEncoder, GoalRequest

__all__ = [
    "Encoded",
    "LogprobComputer",
    "LogprobModel",
    "check_vocabularies",
    "compute_item_logps",
    "compute_log_ratios",
    "encode_items",
]

Encoded = tuple[list[int], list[int]]
"""Token ids of a prompt and of its completion."""


@dataclass(frozen=True)
class LogprobModel:
    """A model, and how its log-probs are computed.

    Args:
        name: a folder, a hub id, or ``package:NAME``.
        revision: branch, tag or commit of a hub id.
        dtype: number type of the weights, or auto: float32, since a difference of two log-probs is small.
        device: cpu, cuda, cuda:1 ... or auto.
        batch_tokens: most tokens that are computed at once.
        trust_remote_code: run code that the checkpoint brings.
    """

    name: str
    revision: str | None = None
    dtype: NumberSetting = "auto"
    device: str = "auto"
    batch_tokens: int = 8192
    trust_remote_code: bool = False


def check_vocabularies(name: str, tokenizer: Any, other_name: str, other: Any) -> None:
    """Refuse two models whose tokens differ.

    Raises:
        ModelError: the same ids stand for other text.
    """
    if tokenizer.get_vocab() != other.get_vocab():
        raise ModelError(
            f"{name} and {other_name} have different tokens, so their log-probs cannot be compared",
            remedy="name the start model of the policy's training as reference",
        )


def encode_items(
    items: Sequence[ScoredItem],
    encoder: ChatEncoder,
    limit: int | None,
    scores: Scores,
    goal_of: Callable[[ScoredItem], GoalRequest] = lambda _: None,
) -> list[tuple[ScoredItem, Encoded]]:
    """Encode the items that a model can read.

    Args:
        items: completions with their prompts.
        encoder: renders and encodes.
        limit: most tokens of prompt and completion together; None: any number.
        scores: gets a fault for each item that is left out: the template refuses it, it has no tokens, it is too long.
        goal_of: item -> score, or score per aspect, that the prompt asks for, through the template of a
            goal-conditioned policy; None asks for none.
    """

    def encode(item: ScoredItem) -> Encoded:
        goal = goal_of(item)
        head = encoder.render_prompt(item.prompt, goal)
        ids = encoder.encode([head])[0]
        whole = encoder.render_conversation(item.prompt, item.completion, ended=not item.cut, goal=goal)
        return ids, encoder.completion_ids(head, ids, whole)

    usable = []
    for item in items:
        encoded = scores.try_item(item, encode)
        if encoded is None:
            continue
        length = len(encoded[0]) + len(encoded[1])
        if not encoded[0] or not encoded[1]:
            scores.faults[item.row, item.side] = ("the completion has no tokens", "")
        elif limit is not None and length > limit:
            long = "the conversation is longer than the model can see"
            scores.faults[item.row, item.side] = (long, f"{length:,} tokens, at most {limit:,}")
        else:
            usable.append((item, encoded))
    return usable


def compute_item_logps(model: LogprobModel, encoded: Sequence[Encoded], desk: Desk, stage: str) -> list[float | None]:
    """Compute the log-prob of every completion given its prompt, equal sequences once, equal prompts in one stream.

    Args:
        model: loaded here, unless nothing is asked for.
        encoded: token ids.
        desk: its store holds what has been computed.
        stage: name in progress reports.

    Returns:
        nats, in the order of ``encoded``; None where only stored values are wanted and there is none.

    Raises:
        ModelError: the model cannot be loaded.
    """
    from prefboost.engines.local.streams import stream_batches

    loaded = open_model(model.device, LogprobComputer, model)
    identity, packed = loaded.describe()
    prompts, completions = ([ids[part] for ids in encoded] for part in (0, 1))

    def plan(first: list[int]) -> Iterator[list[int]]:
        chosen = [prompts[index] for index in first], [completions[index] for index in first]
        groups = [tuple(prompt) for prompt in chosen[0]]
        for batch in stream_batches(*chosen, groups, model.batch_tokens, packed=packed):
            yield [first[at] for at in batch]

    def compute(batch: Sequence[int]) -> list[list[float]]:
        return loaded.compute([prompts[index] for index in batch], [completions[index] for index in batch])

    # Ids and not texts: a template or tokenizer that changes makes other ids, and so other keys.
    keys = [key_of_ids(identity, *ids) for ids in encoded]
    numbers = fill_numbers(keys, plan, compute, desk, stage, count_batches_at_once(loaded))
    return [None if row is None else row[0] for row in numbers]


class LogprobComputer:
    """A model on its device that gives log-probs; it takes and gives plain values, so that it may run elsewhere.

    Args:
        model: which one, and where.

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(self, model: LogprobModel) -> None:
        from prefboost.engines.models.weights import fingerprint_of_model, load_causal_lm, on_device
        from prefboost.losses.rope_by_length import name_frequencies
        from prefboost.packing import probe_support

        numbers = choose_numbers(model.dtype, model.device, exact="the difference of two log-probs is small")
        announce(numbers)
        self._weights, tokenizer = load_causal_lm(
            model.name, numbers.name, revision=model.revision, trust_remote_code=model.trust_remote_code
        )
        on_device(self._weights, model.device)
        self._packed = probe_support(self._weights).ok
        self._pad_id = tokenizer.pad_token_id or 0
        commit = getattr(self._weights.config, "_commit_hash", None)
        # Not the batch: a value differs between batches in its last bits only, and the first one stored stays.
        frequencies = name_frequencies(self._weights)
        self._identity = f"{fingerprint_of_model(model.name, commit)}/{numbers.name}/logp{frequencies}"

    def describe(self) -> tuple[str, bool]:
        """Return the name of weights and number type in keys, and whether sequences are packed."""
        return self._identity, self._packed

    def compute(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[list[float]]:
        """Compute the log-prob of each completion given its prompt, in nats: [N, 1]."""
        from prefboost.engines.local.streams import logps_of_batch

        logps = logps_of_batch(self._weights, prompts, completions, self._pad_id, packed=self._packed)
        return [[logp] for logp in logps.tolist()]


def compute_log_ratios(
    policy: LogprobModel,
    reference: LogprobModel,
    encoded: Sequence[Encoded],
    desk: Desk,
) -> list[float | None]:
    """Compute log-prob under the policy minus that under the reference, of every completion given its prompt.

    Args:
        policy, reference: models with the same tokens.
        encoded: token ids.
        desk: its store holds what has been computed.

    Returns:
        nats, in the order of ``encoded``; None where only stored values are wanted and one is missing.

    Raises:
        ModelError: a model cannot be loaded.
    """
    ours, theirs = (
        compute_item_logps(model, encoded, desk, stage)
        for model, stage in ((policy, "policy"), (reference, "reference"))
    )
    return [None if a is None or b is None else a - b for a, b in zip(ours, theirs, strict=True)]
