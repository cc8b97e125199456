"""The reward-model scorer: any sequence-classification model that judges a prompt and its completion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from prefboost.devices import NumberSetting
from prefboost.engines.desk import NOT_YET, Desk
from prefboost.engines.models.packaged import model_folder
from prefboost.engines.models.weights import context_of
from prefboost.errors import ModelError
from prefboost.preferences.scales.kinds import SCALES, Scale
from prefboost.scoring.sides import ScoredItem, Scores, list_scored_items, with_scores
from prefboost.scoring.stored import fill_numbers, key_of_ids
from prefboost.settings import Settings, choice
from prefboost.tables import Table

if TYPE_CHECKING:
    from prefboost.engines.models.reward_model import RewardModel

__all__ = ["RewardModelScorer"]

_TOO_LONG = "the conversation is longer than the model can see"


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
        return self.score_stored(table, Desk())

    def score_stored(self, table: Table, desk: Desk) -> Table:
        """Score at a desk: what its store holds is not computed again."""
        from prefboost.engines.models.reward_model import text_ids, with_heads

        items = list_scored_items(table)
        reward_model, encoder, identity = self._open_model()
        scores = Scores()

        def encode(item: ScoredItem) -> list[int]:
            return text_ids(encoder, item.prompt, item.completion, reward_model.pad_id)

        encoded = [(item, scores.try_item(item, encode)) for item in items]
        limit = self.max_length or context_of(reward_model.model.config)
        for item, ids in encoded:
            if ids is not None and limit is not None and len(ids) > limit:
                scores.faults[item.row, item.side] = (_TOO_LONG, f"{len(ids):,} tokens, at most {limit:,}")
        usable = [(item, ids) for item, ids in encoded if ids and (item.row, item.side) not in scores.faults]
        if usable:
            # The number of heads may show in a forward pass alone, for which the shortest text is taken.
            reward_model = with_heads(reward_model, min((ids for _, ids in usable), key=len), self.heads)
        scores.heads = _columns(reward_model.heads)
        unknown = [name for name in self.weights if name not in reward_model.heads]
        if unknown:
            raise ModelError(
                f"{self.model} has no head {', '.join(unknown)}; it has {', '.join(reward_model.heads)}",
                remedy="name its heads in weights",
            )
        # One head is the score itself; of several the score is a sum.
        weights = self.weights or dict.fromkeys(reward_model.heads, 1 / len(reward_model.heads))
        shares = [weights.get(head, 0.0) for head in reward_model.heads] if len(reward_model.heads) > 1 else []
        rewards = self._rewards(reward_model, usable, identity, desk)
        for (item, _), numbers in zip(usable, rewards, strict=True):
            if numbers is None:
                scores.faults[item.row, item.side] = (NOT_YET, "")
            else:
                overall = [sum(share * number for share, number in zip(shares, numbers, strict=True))] if shares else []
                scores.values[item.row, item.side] = [*overall, *numbers]
        notes = {"model": identity, "packed": reward_model.packs, "not packed because": reward_model.unpacked or None}
        declared = self.find_range(reward_model.heads[0]) if len(reward_model.heads) == 1 else None
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

    def _open_model(self) -> tuple[RewardModel, Any, str]:
        from dataclasses import replace

        from prefboost.chat.rendering import ChatEncoder
        from prefboost.devices import announce, choose_numbers
        from prefboost.engines.models.reward_model import enable_packed_rewards, load_reward_model
        from prefboost.engines.models.weights import fingerprint_of_model, on_device, reason_for_float32
        from prefboost.losses.rope_by_length import name_frequencies

        options: dict[str, Any] = {"revision": self.revision, "trust_remote_code": self.trust_remote_code}
        exact = reason_for_float32(self.model, self.revision)
        numbers = choose_numbers(self.dtype, self.device, exact=exact)
        announce(numbers)
        reward_model = load_reward_model(self.model, numbers.name, chat_template=self.chat_template, **options)
        reward_model = replace(reward_model, output=self.output)
        on_device(reward_model.model, self.device)
        reward_model = enable_packed_rewards(reward_model)
        commit = getattr(reward_model.model.config, "_commit_hash", None)
        output = f"{self.output}{name_frequencies(reward_model.model)}"
        identity = f"{fingerprint_of_model(self.model, commit)}/{numbers.name}/{output}"
        return reward_model, ChatEncoder(reward_model.tokenizer), identity

    def _rewards(
        self,
        reward_model: RewardModel,
        usable: Sequence[tuple[ScoredItem, list[int]]],
        identity: str,
        desk: Desk,
    ) -> list[list[float] | None]:
        import torch

        from prefboost.engines.local.streams import stream_batches
        from prefboost.engines.models.reward_model import rewards_of, text_tensors

        texts = [ids for _, ids in usable]
        device = next(reward_model.model.parameters()).device

        def plan(first: list[int]) -> Iterator[list[int]]:
            nothing: list[tuple[int, ...]] = [()] * len(first)
            groups = [repr(usable[index][0].prompt) for index in first]
            chosen = [texts[index] for index in first]
            for batch in stream_batches(chosen, nothing, groups, self.batch_tokens, packed=reward_model.packs):
                yield [first[at] for at in batch]

        def compute(batch: Sequence[int]) -> list[list[float]]:
            tensors = text_tensors(reward_model, [texts[index] for index in batch])
            with torch.inference_mode():
                rewards = rewards_of(reward_model, {name: tensor.to(device) for name, tensor in tensors.items()})
            numbers: list[list[float]] = rewards.tolist()
            return numbers

        keys = [key_of_ids(identity, ids) for ids in texts]
        return fill_numbers(keys, plan, compute, desk, "rewards")


def _columns(heads: Sequence[str]) -> list[str]:
    return [""] if len(heads) == 1 else ["", *heads]
