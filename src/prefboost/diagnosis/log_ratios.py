"""Log-ratios of policies to the model that their training began with: what every diagnosis of a training compares.

log pi(y | x) - log pi_start(y | x), in nats per completion. Both models read the same token ids, goals included, so
that the difference is what the training did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from prefboost.chat.rendering import ChatEncoder, GoalRequest
from prefboost.devices import NumberSetting
from prefboost.scoring.sequence_logps import (
    Encoded,
    LogprobModel,
    check_vocabularies,
    compute_item_logps,
    encode_items,
)
from prefboost.scoring.sides import ScoredItem, Scores
from prefboost.settings import Settings

if TYPE_CHECKING:
    from prefboost.engines.call_session import CallSession

__all__ = ["ComparePolicies", "PolicyReader", "compute_policy_ratios", "open_policy_reader"]

ItemKey = tuple[int, str]
"""Row and side of a completion."""


class ComparePolicies(Settings):
    """Settings of every diagnosis that compares checkpoints with their start model."""

    start: str = Field(description="The model that the training began with: a folder, a hub id or package:NAME.")
    models: tuple[str, ...] = Field(min_length=1, description="Checkpoints, in the order of the training.")
    dtype: NumberSetting = Field("auto", description="Number type of the weights; auto: float32.")
    device: str = Field("auto", description="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
    batch_tokens: int = Field(8192, ge=1, description="Most tokens that are computed at once.")
    max_length: int | None = Field(
        None, ge=2, description="Conversations with more tokens are left out; none: the model's own limit."
    )
    trust_remote_code: bool = Field(False, description="Run code that the checkpoints bring; off for safety.")

    @property
    def start_model(self) -> LogprobModel:
        """The start model, and how log-probs are computed."""
        return LogprobModel(
            self.start,
            dtype=self.dtype,
            device=self.device,
            batch_tokens=self.batch_tokens,
            trust_remote_code=self.trust_remote_code,
        )


@dataclass(frozen=True)
class PolicyReader:
    """Reads completions as a policy was trained to read them, through its own chat template.

    Args:
        encoder: renders and encodes.
        limit: most tokens of a conversation; None: any number.
    """

    encoder: ChatEncoder
    limit: int | None

    @cached_property
    def asks(self) -> bool:
        """Whether the chat template asks for goals."""
        probe = [{"role": "user", "content": "Hello"}]
        return self.encoder.render_prompt(probe, 3.0) != self.encoder.render_prompt(probe, 7.0)

    def encode(
        self,
        items: Sequence[ScoredItem],
        faults: Scores,
        goal_of: Callable[[ScoredItem], GoalRequest] = lambda _: None,
    ) -> dict[ItemKey, Encoded]:
        """Encode completions: row and side -> token ids of prompt and completion.

        Args:
            items: completions with their prompts.
            faults: gets the reason for every completion that is left out.
            goal_of: completion -> score, or score per aspect, that its prompt asks for; None asks for none.
        """
        return {
            (item.row, item.side): ids for item, ids in encode_items(items, self.encoder, self.limit, faults, goal_of)
        }


def open_policy_reader(name: str, start: LogprobModel, max_length: int | None = None) -> PolicyReader:
    """Open the tokenizer and chat template of a policy.

    Args:
        name: of the policy: a folder, a hub id or package:NAME.
        start: the model that its training began with.
        max_length: most tokens of a conversation; None: as many as the start model can see.

    Raises:
        ModelError: a tokenizer cannot be loaded, or the two models have different tokens.
    """
    from prefboost.engines.models.weights import context_of, load_config, load_tokenizer

    trusted = start.trust_remote_code
    tokenizer = load_tokenizer(name, trust_remote_code=trusted)
    origin = load_tokenizer(start.name, revision=start.revision, trust_remote_code=trusted)
    check_vocabularies(name, tokenizer, start.name, origin)
    limit = max_length or context_of(load_config(start.name, revision=start.revision, trust_remote_code=trusted))
    return PolicyReader(ChatEncoder(tokenizer), limit)


def compute_policy_ratios(
    start: LogprobModel, texts: Mapping[str, Sequence[Encoded]], session: CallSession
) -> dict[str, np.ndarray]:
    """Compute log-prob under each policy minus that under the start model, in nats.

    Every model is loaded once, and completions of one prompt share it in one stream; the start model reads the texts
    of all policies in a single pass, equal ones once.

    Args:
        start: the model that the trainings began with, and how log-probs are computed.
        texts: policy -> token ids of its N prompts and completions.
        session: store and progress.

    Returns:
        policy -> [N].

    Raises:
        ModelError: a model cannot be loaded.
    """
    whole = [ids for encoded in texts.values() for ids in encoded]
    before = np.array(compute_item_logps(start, whole, session, "log-probs of the start model"), dtype=float)
    ratios: dict[str, np.ndarray] = {}
    for name, encoded in texts.items():
        origin, before = np.split(before, [len(encoded)])
        if name == start.name:
            # Zero by definition, and no pass.
            ratios[name] = np.zeros(len(encoded))
            continue
        model = replace(start, name=name, revision=None)
        after = compute_item_logps(model, encoded, session, f"log-probs of {name}")
        ratios[name] = np.array(after, dtype=float) - origin
    return ratios
