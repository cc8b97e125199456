"""Several losses at once, each with its weight."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from prefboost.losses.interface import Loss, LossOutput, PairLogps
from prefboost.losses.kinds import SINGLE_LOSSES
from prefboost.settings import Settings, choice

__all__ = ["Term", "WeightedSum", "find_betas", "replace_betas", "replace_preference"]


class Term(Settings):
    """One loss of a sum and its weight."""

    loss: Annotated[Loss, choice(SINGLE_LOSSES)] = Field(..., description="The loss: its kind, or a mapping with it.")
    weight: float = Field(1.0, description="Factor of the loss (MPO, arXiv 2411.10442).")


class WeightedSum(Settings):
    """A weighted sum of losses (as MPO, arXiv 2411.10442), such as dpo + 0.2 sft.

    The implicit rewards are those of the first term.
    """

    kind: Literal["sum"] = Field("sum", description="A weighted sum of losses (MPO, arXiv 2411.10442).")
    terms: tuple[Term, ...] = Field(..., min_length=1, description="The losses and their weights; the first's rewards.")

    @property
    def needs_reference(self) -> bool:
        """Return whether any term needs it."""
        return any(term.loss.needs_reference for term in self.terms)

    @property
    def needs_scores(self) -> bool:
        """Return whether any term needs them."""
        return any(term.loss.needs_scores for term in self.terms)

    @property
    def whole_batch(self) -> bool:
        """Return whether any term depends on the whole batch."""
        return any(term.loss.whole_batch for term in self.terms)

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B]: the terms' losses times their weights, added."""
        # Rewards are logged, not trained on, so that those of the first term serve for all.
        first, *others = [(term.weight, term.loss(batch)) for term in self.terms]
        losses = first[0] * first[1].losses
        for weight, output in others:
            losses = losses + weight * output.losses
        return LossOutput(losses=losses, reward_chosen=first[1].reward_chosen, reward_rejected=first[1].reward_rejected)


def find_betas(loss: Any) -> list[float]:
    """List the betas of a loss and of the losses in it, such as the terms of a sum, in their order.

    >>> find_betas(WeightedSum(terms=({"loss": {"kind": "dpo", "beta": 0.2}}, {"loss": "sft"})))
    [0.2]
    """
    if isinstance(loss, tuple):
        return [beta for part in loss for beta in find_betas(part)]
    beta = getattr(loss, "beta", None)
    inner = dict(loss).values() if isinstance(loss, Settings) else ()
    return [*([] if beta is None else [beta]), *(value for part in inner for value in find_betas(part))]


def replace_betas(loss: Any, beta: float) -> Any:
    """Return a loss in which every beta that `find_betas` lists is this one; a loss without any stays as it is.

    All terms of a sum get the same: a sum of preference losses has one tie to the reference (TRL's ``beta`` as well).
    """
    if isinstance(loss, tuple):
        return tuple(replace_betas(part, beta) for part in loss)
    if not find_betas(loss):
        return loss
    parts = {name: replace_betas(part, beta) for name, part in loss}
    return loss.model_copy(update=parts if getattr(loss, "beta", None) is None else {**parts, "beta": beta})


def replace_preference(loss: Any, other: Loss) -> Any:
    """Return a loss with another one in the place of its first term that has a beta; other terms and weights stay.

    A loss that is no sum, or a sum without such a term, is replaced whole.
    """
    terms = loss.terms if isinstance(loss, WeightedSum) else ()
    at = next((at for at, term in enumerate(terms) if find_betas(term.loss)), None)
    if at is None:
        return other
    swapped = terms[at].model_copy(update={"loss": other})
    return loss.model_copy(update={"terms": (*terms[:at], swapped, *terms[at + 1 :])})
