"""The reward-model scorer: any sequence-classification model that judges a prompt and its completion."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from prefboost.devices import NumberSetting
from prefboost.engines.call_session import NOT_YET, CallSession
from prefboost.engines.models.packaged import model_folder
from prefboost.engines.models.weights import context_of
from prefboost.engines.pool import count_batches_at_once, open_model
from prefboost.errors import ModelError
from prefboost.preferences.scales.kinds import SCALES, Scale
from prefboost.scoring.sides import ScoredItem, ScoredItems, Scores, with_scores
from prefboost.scoring.stored import PIECE_ITEMS, compute_numbers, key_of_ids
from prefboost.settings import Settings, choice
from prefboost.tables import Table

__all__ = ["RewardComputer", "RewardFacts", "RewardModelScorer"]

_TOO_LONG = "the conversation is longer than the model can see"

_Text = tuple[str, list[int]]
"""A prompt, by which texts are grouped, and the token ids of prompt and completion."""


class RewardModelScorer(Settings):
    """Scores completions with a reward model of transformers, texts of one prompt in one stream."""

    kind: Literal["reward_model"] = Field("reward_model", description="A model that judges a whole conversation.")
    model: str = Field(description="A folder or hub id of a sequence-classification model.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id.")
    dtype: NumberSetting = Field(
        "auto",
        description="Number type of the weights; auto: bfloat16 where the checkpoint holds it and the device computes "
        "it natively, else float32.",
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
    batch_tokens: int = Field(16384, ge=1, description="Most tokens that are computed at once.")
    max_length: int | None = Field(
        None, ge=2, description="Conversations with more tokens are rejected; none: the model's own limit."
    )
    chat_template: str | None = Field(
        None, description="Jinja text with a chat template, where the tokenizer's own will not do."
    )
    output: str = Field(
        "logits", description="Field of the model's output that holds the rewards; ArmoRM has score and rewards."
    )
    heads: tuple[str, ...] = Field(
        (), description="Names of the numbers of the output, in order; none takes those of the checkpoint."
    )
    trust_remote_code: bool = Field(False, description="Run code that the checkpoint brings; off for safety.")
    weights: Mapping[str, float] = Field(
        {}, description="Weights of the heads of a model with several, summed to the score; none takes their mean."
    )
    scale: Annotated[Scale, choice(SCALES)] | None = Field(
        None, description="Brings the score onto the scale that goals are said on; none keeps the raw reward."
    )

    @field_validator("heads")
    @classmethod
    def _different(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(heads)) < len(heads) or not all(heads):
            raise ValueError("every head needs a name of its own")
        return heads

    def score(self, table: Table) -> Table:
        """Score every completion.

        Args:
            table: Completions, ScoredCompletions (whose scores are replaced), or PreferencePairs.

        Returns:
            ScoredCompletions or PreferencePairs. Several heads give a score an aspect. Rows that the chat template
            refuses, or that are too long, are rejects.

        Raises:
            ModelError: the model cannot be loaded, or is no reward model.
            DataError: no row could be scored.
        """
        return self.score_stored(table, CallSession())

    def score_stored(self, table: Table, session: CallSession) -> Table:
        """Score within a session: what its store holds is not computed again."""
        from prefboost.chat.rendering import ChatEncoder
        from prefboost.engines.models.reward_model import text_ids

        items = ScoredItems(table)
        model = open_model(self.device, RewardComputer, self)
        facts = model.describe()
        encoder = ChatEncoder(self._load_tokenizer())
        scores = Scores()
        limit = self.max_length or facts.context

        def encode(item: ScoredItem) -> list[int]:
            return text_ids(encoder, item.prompt, item.completion, facts.pad_id)

        def encode_fitting() -> Iterator[tuple[int, str, _Text]]:
            for index, item in enumerate(items):
                ids = scores.try_item(item, encode)
                if ids is None:
                    continue
                if limit is not None and len(ids) > limit:
                    scores.faults[item.row, item.side] = (_TOO_LONG, f"{len(ids):,} tokens, at most {limit:,}")
                elif ids:
                    yield index, key_of_ids(facts.identity, ids), (repr(item.prompt), ids)

        texts = encode_fitting()
        beginning = list(islice(texts, PIECE_ITEMS))
        # The number of heads may show in a forward pass alone, for which a short text is taken.
        shortest = min((ids for _, _, (_, ids) in beginning), key=len, default=None)
        heads = facts.heads if shortest is None else model.name_heads(shortest)
        scores.heads = _columns(heads)
        unknown = [name for name in self.weights if name not in heads]
        if unknown:
            raise ModelError(
                f"{self.model} has no head {', '.join(unknown)}; it has {', '.join(heads)}",
                remedy="name its heads in weights",
            )
        # One head is the score itself; of several the score is a sum.
        weights = self.weights or dict.fromkeys(heads, 1 / len(heads))
        shares = [weights.get(head, 0.0) for head in heads] if len(heads) > 1 else []
        for index, numbers in self._compute_rewards(model, chain(beginning, texts), len(items), session):
            if numbers is None:
                scores.faults[items.find_key(index)] = (NOT_YET, "")
            else:
                overall = [sum(share * number for share, number in zip(shares, numbers, strict=True))] if shares else []
                scores.values[items.find_key(index)] = [*overall, *numbers]
        notes = {"model": facts.identity, "packed": not facts.unpacked, "not packed because": facts.unpacked or None}
        declared = self.find_range(heads[0]) if len(heads) == 1 else None
        notes |= {} if declared is None else {"score range": list(declared)}
        return with_scores(table, scores, self.model_dump(mode="json"), notes, self.scale)

    def find_range(self, head: str | None = None) -> tuple[float, float] | None:
        """Return the lowest and highest score that a model of ours was trained to give; None where it records none.

        Args:
            head: the one that gives the scores; None: before the model is loaded, the only one that is recorded.
        """
        facts = Path(model_folder(self.model)) / "prefboost.json"
        if self.scale is not None or not facts.is_file():
            return None
        ranges = json.loads(facts.read_text(encoding="utf-8")).get("score_range", {})
        ends = ranges.get(head) if head is not None else next(iter(ranges.values())) if len(ranges) == 1 else None
        return None if ends is None else (float(ends[0]), float(ends[1]))

    def measure_texts(self, table: Table) -> list[int]:
        """Measure every text that the model would read, equal ones once, in tokens; its weights are not loaded."""
        from prefboost.chat.rendering import ChatEncoder
        from prefboost.engines.models.reward_model import ids_of_text

        encoder, scores = ChatEncoder(self._load_tokenizer()), Scores()
        rendered = (
            scores.try_item(item, lambda item: encoder.render_conversation(item.prompt, item.completion))
            for item in ScoredItems(table)
        )
        pad_id = encoder.tokenizer.pad_token_id
        lengths = [len(ids_of_text(encoder, text, pad_id)) for text in dict.fromkeys(rendered) if text is not None]
        return [length for length in lengths if length and length <= (self.max_length or length)]

    def _load_tokenizer(self) -> Any:
        from prefboost.engines.models.weights import load_tokenizer

        tokenizer = load_tokenizer(self.model, revision=self.revision, trust_remote_code=self.trust_remote_code)
        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template
        return tokenizer

    def _compute_rewards(
        self, model: RewardComputer, texts: Iterable[tuple[int, str, _Text]], total: int, session: CallSession
    ) -> Iterator[tuple[int, list[float] | None]]:
        from prefboost.engines.local.streams import stream_batches

        packed = not model.describe().unpacked

        def plan(piece: list[_Text]) -> Iterator[list[int]]:
            nothing: list[tuple[int, ...]] = [()] * len(piece)
            groups = [prompt for prompt, _ in piece]
            return stream_batches([ids for _, ids in piece], nothing, groups, self.batch_tokens, packed=packed)

        def compute(batch: list[_Text]) -> list[list[float]]:
            return model.compute([ids for _, ids in batch])

        at_once = count_batches_at_once(model)
        return compute_numbers(texts, total, plan, compute, session, "rewards", at_once=at_once)


@dataclass(frozen=True)
class RewardFacts:
    """Facts of a loaded reward model.

    Args:
        identity: names its weights, number type and output.
        heads: names of its numbers, as its checkpoint has them.
        unpacked: why texts are padded; empty where they are packed.
        pad_id: the token that texts are padded with.
        context: most tokens that it can see; None: not known.
    """

    identity: str
    heads: tuple[str, ...]
    unpacked: str
    pad_id: int
    context: int | None


class RewardComputer:
    """A reward model on its device; it takes and gives plain values, so that it may run on another machine.

    Args:
        settings: which model, and where.

    Raises:
        ModelError: the model cannot be loaded, or is no reward model.
    """

    def __init__(self, settings: RewardModelScorer) -> None:
        from prefboost.devices import choose_numbers, log_number_choice
        from prefboost.engines.models.reward_model import enable_packed_rewards, load_reward_model
        from prefboost.engines.models.weights import fingerprint_of_model, move_to_device, reason_for_float32
        from prefboost.losses.rope_by_length import name_frequencies

        options: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
        exact = reason_for_float32(settings.model, settings.revision)
        numbers = choose_numbers(settings.dtype, settings.device, exact=exact)
        log_number_choice(numbers)
        loaded = load_reward_model(settings.model, numbers.name, chat_template=settings.chat_template, **options)
        loaded = replace(loaded, output=settings.output)
        move_to_device(loaded.model, settings.device)
        self._model = enable_packed_rewards(loaded)
        self._heads = settings.heads
        commit = getattr(self._model.model.config, "_commit_hash", None)
        output = f"{settings.output}{name_frequencies(self._model.model)}"
        self._identity = f"{fingerprint_of_model(settings.model, commit)}/{numbers.name}/{output}"

    def describe(self) -> RewardFacts:
        """Return what is known of the model."""
        model = self._model
        context = context_of(model.model.config)
        return RewardFacts(self._identity, model.heads, model.unpacked, model.pad_id, context)

    def name_heads(self, text: Sequence[int]) -> tuple[str, ...]:
        """Name every number of the output, counted on one text.

        Raises:
            ModelError: the settings name another number of heads.
        """
        from prefboost.engines.models.reward_model import with_heads

        return with_heads(self._model, text, self._heads).heads

    def compute(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Compute the rewards of texts, given as token ids: [S, H]."""
        import torch

        from prefboost.engines.models.reward_model import rewards_of, text_tensors

        device = next(self._model.model.parameters()).device
        tensors = text_tensors(self._model, texts)
        with torch.inference_mode():
            rewards = rewards_of(self._model, {name: tensor.to(device) for name, tensor in tensors.items()})
        numbers: list[list[float]] = rewards.tolist()
        return numbers


def _columns(heads: Sequence[str]) -> list[str]:
    return [""] if len(heads) == 1 else ["", *heads]
