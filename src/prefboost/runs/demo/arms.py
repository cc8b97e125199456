"""Policies that the demo trains: reward-augmented and plain DPO, each at a tuned and at a small beta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prefboost.losses import DPO, SFT, Term, WeightedSum
from prefboost.preferences import Plain, RewardAugmented, condition, relabel
from prefboost.runs.demo.completions import SAY, Demo
from prefboost.tables import Table
from prefboost.training import Train

__all__ = ["NAMES", "PROXY_BUCKET", "Arm", "build_train_settings", "list_arms", "relabel_for"]

NAMES = {"augmented": "reward-augmented", "plain": "plain DPO"}
"""Kind of relabelling -> its name in the report."""

PROXY_BUCKET = 5.5
"""Proxy score that divides the completions whose log-probs the training log watches."""


@dataclass(frozen=True)
class Arm:
    """One policy: which completion of a pair wins under which goal, and DPO's beta.

    Args:
        kind: ``augmented`` or ``plain``.
        beta: of DPO.
        small: whether it is the small beta.
    """

    kind: Literal["augmented", "plain"]
    beta: float
    small: bool

    @property
    def key(self) -> str:
        """Name of its folder, and its key in results.json."""
        return f"{self.kind}_small" if self.small else self.kind

    @property
    def name(self) -> str:
        """Name in the report."""
        return f"{NAMES[self.kind]}, beta {self.beta:g}"


def list_arms(settings: Demo) -> list[Arm]:
    """List the four policies, those at the tuned beta first."""
    return [
        Arm(kind, beta, small)
        for beta, small in ((settings.beta, False), (settings.small_beta, True))
        for kind in ("augmented", "plain")
    ]


def relabel_for(arm: Arm, pairs: Table) -> Table:
    """Turn scored pairs into the goal pairs that the policy trains on; both kinds get two views of every pair."""
    how = RewardAugmented() if arm.kind == "augmented" else Plain(repeat=2)
    return condition(relabel(pairs, how, say=SAY), SAY)


def build_train_settings(settings: Demo, arm: Arm) -> Train:
    """Build the settings of one training; policies differ in beta alone."""
    # Likelihood keeps texts whole: without it what both completions lose goes to texts that nobody wrote. Its weight is
    # proportional to beta, as DPO's gradient at the start is, so that the mixture of the two is the same at every beta.
    likelihood = Term(loss=SFT(), weight=settings.likelihood * arm.beta)
    return Train(
        model=settings.model,
        loss=WeightedSum(terms=(Term(loss=DPO(beta=arm.beta)), likelihood)),
        learning_rate=settings.learning_rate,
        schedule="constant_with_warmup",  # sixty steps are too few to cool down
        epochs=settings.epochs,
        batch_size=8,  # twice the steps of 16 for the same texts: at 16 the goal was barely heard (docs/log.md)
        micro_batch=4,
        max_length=640,
        max_prompt_length=512,
        score_buckets=(PROXY_BUCKET,),
        save_every=15,
        seed=settings.seed,
    )
