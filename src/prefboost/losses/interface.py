"""The interface of preference losses: what a loss takes, what it returns, and what it declares.

A loss is a settings object that can be called. The settings load without torch (a recipe can be explained on the base
install); torch is imported where a formula is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from prefboost.errors import DataError, MissingScores, SettingsError
from prefboost.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Loss", "LossOutput", "PairLogps", "PairLoss"]


@dataclass(frozen=True, kw_only=True)
class PairLogps:
    """A batch of B pairs, seen through log-probs. Every tensor is floating and has shape [B]; NaN marks a null.

    Args:
        chosen: policy's log-prob of the chosen completion, summed over its tokens, in nats.
        rejected: the same of the rejected completion.
        length_chosen: tokens of the chosen completion, those that ``chosen`` sums over.
        length_rejected: tokens of the rejected completion.
        ref_chosen: reference's log-prob of the chosen completion; None where there is no reference.
        ref_rejected: the same of the rejected completion.
        score_chosen: score of the chosen completion; None in binary data.
        score_rejected: score of the rejected completion.
        goal: the requested score; None where the prompt names no goal.
        distance_chosen: distance of the chosen completion's score from the goal.
        distance_rejected: distance of the rejected completion's score from the goal.

    Raises:
        DataError: a tensor has another shape than ``chosen``, or is not one-dimensional.
    """

    chosen: Tensor
    rejected: Tensor
    length_chosen: Tensor
    length_rejected: Tensor
    ref_chosen: Tensor | None = None
    ref_rejected: Tensor | None = None
    score_chosen: Tensor | None = None
    score_rejected: Tensor | None = None
    goal: Tensor | None = None
    distance_chosen: Tensor | None = None
    distance_rejected: Tensor | None = None

    def __post_init__(self) -> None:
        expected = tuple(self.chosen.shape)
        for field in fields(self):
            tensor = getattr(self, field.name)
            if tensor is not None and (tensor.dim() != 1 or tuple(tensor.shape) != expected):
                raise DataError(
                    f"PairLogps.{field.name} has shape {tuple(tensor.shape)}, chosen has {expected}",
                    remedy="give one number per pair: tensors of shape [B]",
                )

    @property
    def ratio_chosen(self) -> Tensor:
        """Log-ratio of policy to reference for the chosen completion [B], nats."""
        return self.chosen - _require_tensor(self, "ref_chosen")

    @property
    def ratio_rejected(self) -> Tensor:
        """Log-ratio of policy to reference for the rejected completion [B], nats."""
        return self.rejected - _require_tensor(self, "ref_rejected")

    @property
    def delta(self) -> Tensor:
        """D [B], how far the policy has moved from rejected to chosen, nats (arXiv 2305.18290, eq. 7)."""
        return self.ratio_chosen - self.ratio_rejected

    @property
    def ref_delta(self) -> Tensor:
        """By how much the reference prefers chosen over rejected [B], nats."""
        return _require_tensor(self, "ref_chosen") - _require_tensor(self, "ref_rejected")

    @property
    def average_chosen(self) -> Tensor:
        """Mean log-prob of the chosen completion's tokens [B], nats per token (<= 0)."""
        return self.chosen / self.length_chosen.clamp(min=1)

    @property
    def average_rejected(self) -> Tensor:
        """Mean log-prob of the rejected completion's tokens [B], nats per token (<= 0)."""
        return self.rejected / self.length_rejected.clamp(min=1)

    @property
    def average_delta(self) -> Tensor:
        """D with each log-ratio divided by its completion's tokens [B], nats per token."""
        return self.ratio_chosen / self.length_chosen.clamp(min=1) - self.ratio_rejected / self.length_rejected.clamp(
            min=1
        )

    @property
    def score_gap(self) -> Tensor:
        """Score of chosen minus score of rejected [B], on the data's scale; negative in flipped goal pairs."""
        return _require_tensor(self, "score_chosen") - _require_tensor(self, "score_rejected")

    @property
    def distance_gap(self) -> Tensor:
        """By how much chosen is nearer to the goal than rejected [B], on the data's scale; >= 0 in goal pairs."""
        return _require_tensor(self, "distance_rejected") - _require_tensor(self, "distance_chosen")


@dataclass(frozen=True)
class LossOutput:
    """Losses and implicit rewards of B pairs.

    Args:
        losses: [B], to be averaged over the batch; carries the gradient.
        reward_chosen: [B], implicit reward of the chosen completion, beta included, without gradient.
        reward_rejected: [B], implicit reward of the rejected completion, beta included, without gradient.
    """

    losses: Tensor
    reward_chosen: Tensor
    reward_rejected: Tensor


@runtime_checkable
class Loss(Protocol):
    """A preference loss: frozen settings that can be called. Any class with these five members is one."""

    @property
    def kind(self) -> str:
        """The loss's name in recipes."""

    @property
    def needs_reference(self) -> bool:
        """Return whether ``ref_chosen`` and ``ref_rejected`` are required."""

    @property
    def needs_scores(self) -> bool:
        """Return whether scores (or distances) are required."""

    @property
    def whole_batch(self) -> bool:
        """Return whether a pair's loss depends on the other pairs, so that a batch must not be computed in parts."""

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses and implicit rewards of a batch of pairs."""


class PairLoss(Settings):
    """Base of losses of single pairs against a reference model, without scores; a subclass states what differs."""

    needs_reference: ClassVar[bool] = True
    needs_scores: ClassVar[bool] = False

    @property
    def whole_batch(self) -> bool:
        """See `Loss`."""
        return False


def _require_tensor(batch: PairLogps, name: str) -> Tensor:
    """Return a tensor of a batch that not every batch has.

    Raises:
        SettingsError: it is of the reference model, and missing.
        MissingScores: it is of the scores, and missing.
    """
    tensor: Tensor | None = getattr(batch, name)
    if tensor is not None:
        return tensor
    if name.startswith("ref"):
        raise SettingsError(
            f"this loss needs a reference model, but PairLogps.{name} is None",
            remedy="give the reference's log-probs, or use a loss without one: simpo, orpo, cpo, sft",
        )
    raise MissingScores(
        f"this loss uses scores and PairLogps.{name} is None",
        remedy="give pairs with scores, or use a loss that needs none: dpo, ipo, simpo",
    )
