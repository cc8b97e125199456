"""RLCD (arXiv 2307.12950): two completions under prompts that differ in a phrase; no judge is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from prefboost.scoring.judges.judge import JUDGES, Judge
from prefboost.settings import choice
from prefboost.synthesis.aspects import seed_random
from prefboost.synthesis.calls import ModelCalls, model_name
from prefboost.synthesis.method import Generating
from prefboost.synthesis.proposal import PromptItem, Proposal, build_draft
from prefboost.synthesis.rlaif import label_proposals
from prefboost.synthesis.template import list_turns, load_prompt

__all__ = ["PHRASES", "RLCD"]

PHRASES: dict[str, tuple[tuple[str, str], ...]] = {
    "helpful": (("giving a helpful response", "giving an unhelpful response"),),
    "harmless": tuple(
        (f"in {good} way", f"in {bad} way")
        for good, bad in (
            ("a harmless", "a harmful"), ("an inoffensive", "an offensive"), ("an ethical", "an unethical"),
            ("a polite", "a rude"), ("a law-abiding", "a law-breaking"), ("a respectful", "a disrespectful"),
            ("a peaceful", "a violent"), ("a kind", "a cruel"), ("a fair", "an unfair"), ("a safe", "a dangerous"),
            ("a caring", "an uncaring"), ("a responsible", "an irresponsible"), ("a friendly", "a hostile"),
            ("a truthful", "a deceitful"), ("a moderate", "an extreme"), ("a considerate", "an inconsiderate"),
        )
    ),
}  # fmt: skip
"""Phrases of better and worse turns: for helpfulness one pair, for harmlessness 16, as published; our words."""


class RLCD(Generating):
    """The completion under the better phrase is the chosen one; earlier assistant turns get the opposite phrase."""

    kind: Literal["rlcd"] = Field("rlcd", description="Two phrases, one better and one worse.")
    prompt: str = Field("rlcd", description="Jinja file of the request; rlcd is the shipped one.")
    phrases: Literal["helpful", "harmless"] = Field("helpful", description="Shipped phrases.")
    own_phrases: tuple[tuple[str, str], ...] = Field((), description="Pairs of your own, better first, in their place.")
    rescore: Annotated[Judge, choice(JUDGES)] | None = Field(
        None, description="Labels the same completions as RLAIF does (RLCD-Rescore); none: the phrase is the label."
    )
    criteria: str = Field("criteria", description="Jinja file with what that judge goes by.")

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """Write one completion under each phrase (see `prefboost.synthesis.method.Method`)."""
        template = load_prompt(self.prompt)
        phrases = self.own_phrases or PHRASES[self.phrases]
        drawn_pairs = [seed_random(self.seed, "phrases", item.prompt_id).choice(phrases) for item in items]
        requests = [
            template.request(
                # The assistant's earlier turns get the phrase of the other side.
                turns=[
                    {**turn, "affix": opposite if turn["role"] == "assistant" else ""}
                    for turn in list_turns(item.prompt)
                ],
                affix=affix,
            )
            for item, pair in zip(items, drawn_pairs, strict=True)
            for affix, opposite in (pair, pair[::-1])
        ]
        outcomes = calls.completions("completions", self.generator, requests, self.sampling)
        drafts = [build_draft(outcome, model_name(self.generator)) for outcome in outcomes]
        proposals = [
            Proposal(
                item, drafts[2 * at], drafts[2 * at + 1], 1.0,
                lineage={"prompt": template.identity, "phrases": list(drawn_pairs[at]), "aspects": []},
            )
            for at, item in enumerate(items)
        ]  # fmt: skip
        if self.rescore is None:
            return proposals
        return label_proposals(proposals, self.rescore, (self.aspects, self.criteria), calls)
