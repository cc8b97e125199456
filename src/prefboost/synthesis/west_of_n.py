"""West-of-N (arXiv 2401.12086): the best against the worst of N samples by a base reward model, the surest kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from prefboost.engines.engine import Request
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.settings import choice
from prefboost.synthesis.calls import ModelCalls
from prefboost.synthesis.method import Generating, sample_drafts
from prefboost.synthesis.proposal import PromptItem, Proposal
from prefboost.synthesis.scored import build_completions_table, mark_unscored, name_scorer, read_scores

__all__ = ["WestOfN"]

UNSURE = "the base reward model is less sure of the pair than of most"
NO_LIKELIHOOD = "the engine gave no log-prob of a completion"
UNLIKELY = "a completion is less likely than most"
TOO_FEW = "fewer than two different completions have a score"


class WestOfN(Generating):
    """Keeps pairs above a quantile of P(chosen is better) and of the completions' likelihood."""

    kind: Literal["west_of_n"] = Field("west_of_n", description="Best and worst of N by a base reward model.")
    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="The base reward model, or another scorer.")
    n: int = Field(8, ge=2, description="Completions per prompt (published: 8 to 16 and more).")
    temperature: float = Field(
        1.0, gt=0, description="Score units by which a difference is divided for P = sigmoid(difference / temperature)."
    )
    margin_quantile: float = Field(
        0.5, ge=0, lt=1, description="Pairs below this quantile of P are rejected (the share is not published)."
    )
    likelihood_quantile: float = Field(
        0.0, ge=0, lt=1,
        description="Pairs whose less likely completion (log-prob per character) is below this quantile are rejected; "
        "above 0 it needs a generator that gives log-probs of completions.",
    )  # fmt: skip
    soft: bool = Field(False, description="Keep P as a soft label; else the best is the better for certain.")

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """Sample and score completions, and pair the best with the worst (see `prefboost.synthesis.method.Method`)."""
        drafts = sample_drafts(items, calls, self, self.n)
        if not items:
            return []
        scored = calls.score(self.scorer, build_completions_table(items, drafts))
        scores = read_scores(scored)
        proposals = []
        for item, mine in zip(items, mark_unscored(items, drafts, scored), strict=True):
            by_number = {at: scores.get((item.prompt_id, at), {}) for at in range(len(mine))}
            values = {at: value for at, heads in by_number.items() if (value := heads.get("")) is not None}
            if len({mine[at].text for at in values}) < 2:
                first = next((draft for draft in mine if draft.fault is not None), mine[0])
                proposals.append(Proposal(item, first, mine[-1], fault=first.fault or (TOO_FEW, first.text)))
                continue
            # Equal scores go to the earlier completion on both ends, so that the pair is determined.
            best, worst = max(values, key=lambda at: (values[at], -at)), min(values, key=lambda at: (values[at], at))
            margin = values[best] - values[worst]
            # Bradley-Terry with temperature T: P(best > worst) = sigmoid((r_best - r_worst) / T); exp(700) still fits.
            p = 1 / (1 + math.exp(-min(margin / self.temperature, 700.0)))
            lineage = {"n": len(values), "p": p, "scorer": name_scorer(self.scorer), "aspects": []}
            heads = (by_number[best], by_number[worst])
            proposal = Proposal(item, mine[best], mine[worst], p if self.soft else 1.0, "0", lineage, heads)
            undecided = proposal.reject("the judge has no preference", f"{margin:g}")
            proposals.append(undecided if margin == 0 else proposal)
        return self._add_likelihoods(proposals, calls) if self.likelihood_quantile else proposals

    def decide(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """Reject the pairs below a quantile."""
        above_margin = _reject_below(proposals, "p", self.margin_quantile, UNSURE)
        return _reject_below(above_margin, "likelihood", self.likelihood_quantile, UNLIKELY)

    def _add_likelihoods(self, proposals: Sequence[Proposal], calls: ModelCalls) -> list[Proposal]:
        """Compute, per pair, the log-prob per character of the less likely side."""
        open_ones = [at for at, each in enumerate(proposals) if not each.why_not]
        requests = [Request([dict(m) for m in proposals[at].item.prompt]) for at in open_ones for _ in (0, 1)]
        texts = [draft.text for at in open_ones for draft in (proposals[at].first, proposals[at].second)]
        logps = calls.likelihoods(self.generator, requests, texts) if texts else []
        a_character = [logp / max(len(text), 1) for logp, text in zip(logps, texts, strict=True)]
        least = {at: min(a_character[2 * place : 2 * place + 2]) for place, at in enumerate(open_ones)}
        # min() may pass a NaN by, so both sides are looked at.
        lost = {
            at for place, at in enumerate(open_ones) if any(map(math.isnan, a_character[2 * place : 2 * place + 2]))
        }
        return [
            each.reject(NO_LIKELIHOOD, "")
            if at in lost
            else replace(each, lineage={**each.lineage, "likelihood": least[at]})
            if at in least
            else each
            for at, each in enumerate(proposals)
        ]


def _reject_below(proposals: Sequence[Proposal], name: str, quantile: float, reason: str) -> list[Proposal]:
    values = [each.lineage[name] for each in proposals if not each.why_not and name in each.lineage]
    if not quantile or not values:
        return list(proposals)
    bound = float(np.quantile(values, quantile))
    return [
        each.reject(reason, f"{each.lineage[name]:.4g} < {bound:.4g}")
        if not each.why_not and each.lineage.get(name, bound) < bound
        else each
        for each in proposals
    ]
