"""Implicit rewards: what a policy's training says of a completion, for data without scores.

r(x, y) = beta * (log pi(y | x) - log pi_ref(y | x)) (arXiv 2305.18290, eq. 5). With them binary preferences can be
relabelled (implicit-reward augmentation, arXiv 2410.08067): train on the pairs, score them, relabel, train again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from prefboost.devices import NumberSetting
from prefboost.engines.call_session import NOT_YET, CallSession
from prefboost.preferences.scales.kinds import SCALES, Scale
from prefboost.scoring.sequence_logps import (
    Encoded,
    EncodedFile,
    LogprobModel,
    check_vocabularies,
    compute_log_ratios,
    encode_items,
)
from prefboost.scoring.sides import ScoredItems, Scores, with_scores
from prefboost.settings import Settings, choice
from prefboost.tables import Table

__all__ = ["ImplicitReward", "LogRatio"]


class LogRatio(Settings):
    """Settings of the log-ratio of two models."""

    length_normalise: bool = Field(
        False, description="Divide by the completion's tokens, so that long completions do not score for their length."
    )
    dtype: NumberSetting = Field(
        "auto",
        description="Number type of the weights; auto: float32 on every device, since bfloat16 rounds away much of "
        "what separates a policy from its reference.",
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
    batch_tokens: int = Field(8192, ge=1, description="Most tokens that are computed at once.")


class ImplicitReward(LogRatio):
    """Scores completions by how far a policy moved from its reference: beta * (log pi - log pi_ref)."""

    kind: Literal["implicit"] = Field("implicit", description="Log-ratio of two models (arXiv 2410.08067, IRA).")
    policy: str = Field(description="A model trained on preferences, e.g. by DPO: a folder or hub id.")
    reference: str = Field(description="The model that its training began with.")
    reference_revision: str | None = Field(None, description="Branch, tag or commit of the reference on the hub.")
    beta: float = Field(0.1, gt=0, description="The beta that the policy was trained with.")
    max_length: int | None = Field(
        None, ge=2, description="Conversations with more tokens are rejected; none: the model's own limit."
    )
    trust_remote_code: bool = Field(False, description="Run code that the checkpoints bring; off for safety.")
    scale: Annotated[Scale, choice(SCALES)] | None = Field(
        None, description="Brings the score onto the scale that goals are said on, e.g. percentile; none keeps it raw."
    )

    def score(self, table: Table) -> Table:
        """Score every completion.

        Args:
            table: PreferencePairs, Completions, or ScoredCompletions (whose scores are replaced).

        Returns:
            PreferencePairs or ScoredCompletions. Rows that the chat template refuses, that are too long, or whose
            completion has no tokens are rejects; the step notes how many pairs the policy ranks the other way round.

        Raises:
            ModelError: a model cannot be loaded, or the two have different tokens.
            DataError: no row could be scored.
        """
        return self.score_stored(table, CallSession())

    def score_stored(self, table: Table, session: CallSession) -> Table:
        """Score within a session: what its store holds is not computed again."""
        from prefboost.chat.rendering import ChatEncoder
        from prefboost.engines.models.weights import context_of, load_config, load_tokenizer

        items = ScoredItems(table)
        ours, theirs = (
            load_tokenizer(name, revision=revision, trust_remote_code=self.trust_remote_code)
            for name, revision in ((self.policy, None), (self.reference, self.reference_revision))
        )
        check_vocabularies(self.policy, ours, self.reference, theirs)
        limit = self.max_length or context_of(load_config(self.policy, trust_remote_code=self.trust_remote_code))
        scores = Scores()
        # Index and tokens of every completion that is encoded.
        indices, lengths = array("q"), array("q")

        def encode() -> Iterator[Encoded]:
            for item, ids in encode_items(items, ChatEncoder(ours), limit, scores):
                indices.append(items.find_index(item))
                lengths.append(len(ids[1]))
                yield ids

        encoded = EncodedFile(encode())
        policy, reference = self._describe_model(self.policy), self._describe_model(self.reference)
        for at, ratio in compute_log_ratios(policy, reference, encoded, session):
            row, side = items.find_key(indices[at])
            if ratio is None:
                scores.faults[row, side] = (NOT_YET, "")
            else:
                scores.values[row, side] = [self.beta * ratio / (lengths[at] if self.length_normalise else 1)]
        chosen, rejected = (scores.values.build_column(side, 0, len(table)) for side in ("chosen", "rejected"))
        notes: dict[str, Any] = {"pairs that the policy ranks the other way round": int((chosen < rejected).sum())}
        return with_scores(table, scores, self.model_dump(mode="json"), notes, self.scale)

    def measure_texts(self, table: Table) -> list[int]:
        """Measure every text that the two models would read, equal ones once per model, in tokens."""
        from prefboost.chat.rendering import ChatEncoder
        from prefboost.engines.models.weights import load_tokenizer

        encoder = ChatEncoder(load_tokenizer(self.policy, trust_remote_code=self.trust_remote_code))
        texts = {
            (tuple(prompt), tuple(completion))
            for _, (prompt, completion) in encode_items(ScoredItems(table), encoder, self.max_length, Scores())
        }
        return 2 * [len(prompt) + len(completion) for prompt, completion in texts]

    def _describe_model(self, name: str) -> LogprobModel:
        revision = self.reference_revision if name == self.reference else None
        return LogprobModel(name, revision, self.dtype, self.device, self.batch_tokens, self.trust_remote_code)
