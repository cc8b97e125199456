"""The interface of methods: prompts in, proposals of pairs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from pydantic import Field

from prefboost.engines.engine import Request, Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.engines.reasoning import separate_reasoning
from prefboost.settings import Settings, choice
from prefboost.synthesis.aspects import Aspects
from prefboost.synthesis.calls import ModelCalls, model_name
from prefboost.synthesis.filters import Filters
from prefboost.synthesis.proposal import Draft, PromptItem, Proposal, build_draft

__all__ = ["Generating", "Method", "write_first_drafts", "sample_drafts"]


class Method(Protocol):
    """Makes pairs. Each is judged, or known by construction; filters and tables are not its business."""

    @property
    def kind(self) -> str:
        """Its name."""

    @property
    def filters(self) -> Filters:
        """What its pairs are held to."""

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """Propose pairs of some prompts; what could not be made is a proposal with a fault.

        Args:
            items: prompts, each once.
            calls: asks for completions and judgements, as one call after another or all at once.
        """

    def decide(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """Decide once the proposals of all prompts are there: some may be rejected by comparison."""


class Generating(Settings):
    """The settings of every method that generates."""

    generator: Annotated[EngineSettings, choice(ENGINES)] = Field(description="The model that writes completions.")
    sampling: Sampling = Field(Sampling(), description="Its sampling (RMBoost and RLCD do not publish it).")
    aspects: Aspects = Field(Aspects(), description="The task, and what counts in it.")
    seed: int = Field(0, description="Seed of draws of labels, aspects and phrases.")
    filters: Filters = Field(Filters(), description="Filters that reject a pair.")

    def decide(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """Return all of them as they are."""
        return list(proposals)


def write_first_drafts(
    items: Sequence[PromptItem],
    calls: ModelCalls,
    method: Generating,
    source: Literal["generate", "completion", "chosen", "rejected"] = "generate",
) -> list[Draft]:
    """Write the first completion of every prompt, or take the one that the table has.

    Args:
        items: prompts.
        calls: asks.
        method: whose generator writes.
        source: generate, or the column.
    """
    if source == "generate":
        return [drafts[0] for drafts in sample_drafts(items, calls, method, 1)]
    drafts = []
    for item in items:
        if (text := item.given.get(source)) is None:
            drafts.append(Draft(fault=(f"the table has no {source}", "")))
            continue
        # Thoughts may stand in a completion of the table; they are no part of a pair.
        spoken = separate_reasoning(text)
        drafts.append(Draft(spoken.answer.strip(), "given", None, spoken.answer, reasoning=spoken.reasoning))
    return drafts


def sample_drafts(items: Sequence[PromptItem], calls: ModelCalls, method: Generating, n: int) -> list[list[Draft]]:
    """Sample ``n`` completions of every prompt."""
    requests = [Request([dict(message) for message in item.prompt], sample) for item in items for sample in range(n)]
    outcomes = calls.completions("completions", method.generator, requests, method.sampling)
    drafts = [build_draft(outcome, model_name(method.generator)) for outcome in outcomes]
    return [drafts[at : at + n] for at in range(0, len(drafts), n)]
