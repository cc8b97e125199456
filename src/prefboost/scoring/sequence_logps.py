"""Log-probs of a table's completions under a model, kept in a store: what implicit rewards and diagnoses compare."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefboost.devices import NumberSetting, choose_numbers, log_number_choice
from prefboost.engines.call_session import CallSession
from prefboost.engines.pool import count_batches_at_once, open_model
from prefboost.errors import ModelError
from prefboost.scoring.sides import ScoredItem, Scores
from prefboost.scoring.stored import compute_numbers, key_of_ids
from prefboost.scratch import ScratchFile

if TYPE_CHECKING:
    from prefboost.chat.rendering import ChatEncoder, GoalRequest

__all__ = [
    "Encoded",
    "EncodedFile",
    "LogprobComputer",
    "LogprobModel",
    "check_vocabularies",
    "compute_item_logps",
    "compute_log_ratios",
    "encode_items",
    "stream_item_logps",
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
    items: Iterable[ScoredItem],
    encoder: ChatEncoder,
    limit: int | None,
    scores: Scores,
    goal_of: Callable[[ScoredItem], GoalRequest] = lambda _: None,
) -> Iterator[tuple[ScoredItem, Encoded]]:
    """Yield the items that a model can read, with their token ids.

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
            yield item, encoded


class EncodedFile:
    """Token ids of many completions in a file of this process, since as lists they would take most of its memory.

    Args:
        encoded: token ids of completions.
    """

    def __init__(self, encoded: Iterable[Encoded]) -> None:
        self._length = 0
        self._file = ScratchFile()
        for prompt, completion in encoded:
            self._file.append(array("i", [len(prompt), len(completion), *prompt, *completion]).tobytes())
            self._length += 1

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Encoded]:
        place, size = 0, array("i").itemsize
        for _ in range(self._length):
            lengths = array("i", self._file.read(place, 2 * size))
            whole = array("i", self._file.read(place + 2 * size, sum(lengths) * size)).tolist()
            place += (2 + len(whole)) * size
            yield whole[: lengths[0]], whole[lengths[0] :]


def compute_item_logps(
    model: LogprobModel, encoded: Sequence[Encoded], session: CallSession, stage: str
) -> list[float | None]:
    """Compute the log-prob of every completion given its prompt; see `stream_item_logps`.

    Returns:
        nats, in the order of ``encoded``; None where only stored values are wanted and there is none.
    """
    logps: list[float | None] = [None] * len(encoded)
    for at, logp in stream_item_logps(model, encoded, session, stage):
        logps[at] = logp
    return logps


def stream_item_logps(
    model: LogprobModel, encoded: Sequence[Encoded] | EncodedFile, session: CallSession, stage: str
) -> Iterator[tuple[int, float | None]]:
    """Compute the log-prob of every completion given its prompt, equal sequences once, equal prompts in one stream.

    Args:
        model: loaded here, unless nothing is asked for.
        encoded: token ids, drawn piece by piece.
        session: its store holds what has been computed.
        stage: name in progress reports.

    Yields:
        place in ``encoded`` and nats, as batches finish; None where only stored values are wanted and there is none.

    Raises:
        ModelError: the model cannot be loaded.
    """
    from prefboost.engines.local.streams import stream_batches

    loaded = open_model(model.device, LogprobComputer, model)
    identity, packed = loaded.describe()

    def plan(piece: list[Encoded]) -> Iterator[list[int]]:
        prompts, completions = _split(piece)
        groups = [tuple(prompt) for prompt in prompts]
        return stream_batches(prompts, completions, groups, model.batch_tokens, packed=packed)

    def compute(batch: list[Encoded]) -> list[list[float]]:
        return loaded.compute(*_split(batch))

    # Ids and not texts: a template or tokenizer that changes makes other ids, and so other keys.
    sequences = ((at, key_of_ids(identity, *ids), ids) for at, ids in enumerate(encoded))
    at_once = count_batches_at_once(loaded)
    for at, values in compute_numbers(sequences, len(encoded), plan, compute, session, stage, at_once=at_once):
        yield at, None if values is None else values[0]


def _split(encoded: Sequence[Encoded]) -> tuple[list[list[int]], list[list[int]]]:
    """Split token ids into those of prompts and those of completions."""
    return [prompt for prompt, _ in encoded], [completion for _, completion in encoded]


class LogprobComputer:
    """A model on its device that gives log-probs; it takes and gives plain values, so that it may run elsewhere.

    Args:
        model: which one, and where.

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(self, model: LogprobModel) -> None:
        from prefboost.engines.models.weights import fingerprint_of_model, load_causal_lm, move_to_device
        from prefboost.losses.rope_by_length import name_frequencies
        from prefboost.packing import probe_support

        numbers = choose_numbers(model.dtype, model.device, exact="the difference of two log-probs is small")
        log_number_choice(numbers)
        self._weights, tokenizer = load_causal_lm(
            model.name, numbers.name, revision=model.revision, trust_remote_code=model.trust_remote_code
        )
        move_to_device(self._weights, model.device)
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
    encoded: Sequence[Encoded] | EncodedFile,
    session: CallSession,
) -> Iterator[tuple[int, float | None]]:
    """Compute log-prob under the policy minus that under the reference, of every completion given its prompt.

    One model is loaded after the other.

    Args:
        policy, reference: models with the same tokens.
        encoded: token ids; read twice.
        session: its store holds what has been computed.

    Yields:
        place in ``encoded`` and nats; None where only stored values are wanted and one is missing.

    Raises:
        ModelError: a model cannot be loaded.
    """
    ours = array("d", bytes(8 * len(encoded)))
    missing: set[int] = set()
    for at, logp in stream_item_logps(policy, encoded, session, "policy"):
        if logp is None:
            missing.add(at)
        else:
            ours[at] = logp
    for at, logp in stream_item_logps(reference, encoded, session, "reference"):
        yield at, None if logp is None or at in missing else ours[at] - logp
