"""RLAIF (arXiv 2309.00267): two samples of one model, labelled by a judge who sees them in both orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from prefboost.scoring.judges.judge import JUDGES, Judge
from prefboost.settings import choice, kind_of
from prefboost.synthesis.aspects import Aspects
from prefboost.synthesis.calls import ModelCalls, model_name
from prefboost.synthesis.labels import add_criteria, build_sides_table, judge_pairs
from prefboost.synthesis.method import Generating, sample_drafts
from prefboost.synthesis.proposal import PromptItem, Proposal
from prefboost.synthesis.template import load_prompt

__all__ = ["RLAIF", "name_judge", "label_proposals"]

UNDECIDED = "the judge has no preference"


class RLAIF(Generating):
    """Two completions per prompt; the judge's probability, averaged over both orders, is the label."""

    kind: Literal["rlaif"] = Field("rlaif", description="Two samples and a judge.")
    judge: Annotated[Judge, choice(JUDGES)] = Field(
        description="Judge that labels; llm with read: logprobs gives soft labels."
    )
    criteria: str = Field("criteria", description="Jinja file with what the judge goes by, where it has no criteria.")
    min_margin: float = Field(
        0.0, ge=0, lt=0.5, description="Pairs whose probability is this near to one half are rejected."
    )

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """Sample two completions per prompt and judge them (see `prefboost.synthesis.method.Method`)."""
        drafts = sample_drafts(items, calls, self, 2)
        proposals = [Proposal(item, first, second) for item, (first, second) in zip(items, drafts, strict=True)]
        return label_proposals(proposals, self.judge, (self.aspects, self.criteria), calls, self.min_margin)


def label_proposals(
    proposals: Sequence[Proposal],
    judge: Judge,
    criteria: tuple[Aspects, str],
    calls: ModelCalls,
    min_margin: float = 0.0,
) -> list[Proposal]:
    """Label proposals with a judge's probability that the first is the better.

    Args:
        proposals: those with a fault, or two equal texts, are not judged.
        judge: who labels.
        criteria: aspects, and the file with the criteria's words.
        calls: asks.
        min_margin: see `RLAIF`.
    """
    open_ones = [at for at, each in enumerate(proposals) if not each.why_not and each.first.text != each.second.text]
    pairs = [proposals[at] for at in open_ones]
    rows: list[tuple[Any, str, str]] = [(each.item.prompt, each.first.text, each.second.text) for each in pairs]
    ruled = judge_pairs(add_criteria(judge, *criteria), build_sides_table(rows), calls) if rows else []
    lineage = {
        "judge": name_judge(judge),
        "criteria": load_prompt(criteria[1]).identity,
        "aspects": list(criteria[0].chosen),
    }
    judgements = dict(zip(open_ones, ruled, strict=True))
    labelled = []
    for at, proposal in enumerate(proposals):
        judgement = judgements.get(at)
        share = None if judgement is None else judgement.share
        mass = {} if judgement is None or judgement.label_mass is None else {"label_mass": judgement.label_mass}
        proposal_with_label = replace(proposal, lineage={**proposal.lineage, **lineage, **mass})
        if isinstance(share, tuple):
            proposal_with_label = proposal_with_label.reject(*share)
        elif share is not None:
            proposal_with_label = replace(proposal_with_label, first_wins=share)
            undecided = share == 0.5 or abs(share - 0.5) < min_margin
            proposal_with_label = (
                proposal_with_label.reject(UNDECIDED, f"{share:.3f}") if undecided else proposal_with_label
            )
        labelled.append(proposal_with_label)
    return labelled


def name_judge(judge: Judge) -> str:
    """Name the judge by its kind and its model."""
    inner = getattr(judge, "engine", None) or getattr(judge, "scorer", None)
    return kind_of(judge) if inner is None else f"{kind_of(judge)}/{model_name(inner)}"
