"""Second completions that are edits of the first: RMBoost (arXiv 2407.16008) and CLAIR (arXiv 2408.06266)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from prefboost.engines.engine import Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.settings import choice
from prefboost.synthesis.aspects import TASKS, seed_random
from prefboost.synthesis.calls import ModelCalls, model_name
from prefboost.synthesis.filters import DELIMITER, Filters
from prefboost.synthesis.method import Generating, write_first_drafts
from prefboost.synthesis.proposal import Draft, PromptItem, Proposal, build_draft
from prefboost.synthesis.template import list_turns, load_prompt, strip_marks

__all__ = ["Clair", "RMBoost", "separate_plan"]

Direction = Literal["better", "worse"]

NO_COMPLETION = "the plan is not followed by a completion"
_LEAST_WORDS = 3


class _Editing(Generating):
    # A Proposal without its second completion is the request for it: direction, aspects and template are its lineage.
    editor: Annotated[EngineSettings, choice(ENGINES)] | None = Field(
        None, description="The model that writes second completions; none: the generator."
    )
    edit_sampling: Sampling | None = Field(None, description="Its sampling; none: as the generator's.")
    first: Literal["generate", "completion", "chosen", "rejected"] = Field(
        "generate", description="Origin of first completions: the generator, or a column of the table of prompts."
    )
    plan: bool = Field(False, description="Ask for a plan of edits in front of the completion; it is kept as lineage.")
    length_window: float | None = Field(
        0.3,
        gt=0,
        description="Words the second may have, as a share more or less than the first's; none asks for no length.",
    )
    filters: Filters = Field(Filters(max_edit_distance=0.95), description="Filters that reject a pair.")

    def _propose_edits(
        self, items: Sequence[PromptItem], prompt: str, calls: ModelCalls, directions: Sequence[Sequence[Direction]]
    ) -> list[Proposal]:
        """Ask for both completions; the label of each second one is known before it is written.

        Args:
            items, calls: see `prefboost.synthesis.method.Method`.
            prompt: Jinja file of the request.
            directions: of every item, one for each second completion.
        """
        firsts = write_first_drafts(items, calls, self, self.first)
        template = load_prompt(prompt)
        proposals, faults = [], []
        for item, first, directions_of_item in zip(items, firsts, directions, strict=True):
            if first.fault is not None or not first.text:
                faults.append(Proposal(item, first, Draft(), fault=first.fault or ("a completion is empty", "first")))
                continue
            for direction in directions_of_item:
                aspects = list(self.aspects.draw(self.seed, item.prompt_id, direction))
                lineage = {"prompt": template.identity, "aspects": aspects, "direction": direction}
                wins = 0.0 if direction == "better" else 1.0
                proposals.append(Proposal(item, first, Draft(), wins, direction, lineage))
        engine = self.generator if self.editor is None else self.editor
        requests = []
        for proposal in proposals:
            words, window = len(proposal.first.text.split()), None
            if self.length_window is not None:
                # A window of one or two words would ask for what no model keeps to.
                least = max(_LEAST_WORDS, round(words * (1 - self.length_window)))
                window = (least, max(least + 2, round(words * (1 + self.length_window))))
            request = template.request(
                task=TASKS[self.aspects.task],
                turns=list_turns(proposal.item.prompt),
                reference=strip_marks(proposal.first.text),
                aspects={name: self.aspects.defined[name] for name in proposal.lineage["aspects"]},
                direction=proposal.lineage["direction"],
                words=window,
                plan=self.plan,
                delimiter=DELIMITER,
            )
            requests.append(request)
        outcomes = calls.completions("edits", engine, requests, self.edit_sampling or self.sampling)
        return faults + [
            replace(proposal, second=separate_plan(build_draft(outcome, model_name(engine)), self.plan))
            for proposal, outcome in zip(proposals, outcomes, strict=True)
        ]


class RMBoost(_Editing):
    """Label first, completion second: the second is asked to be better or worse than the first on named aspects."""

    kind: Literal["rmboost"] = Field("rmboost", description="A second completion, better or worse by request.")
    prompt: str = Field("rmboost", description="Jinja file of the request; rmboost is the shipped one.")
    label: Literal["bernoulli", "both"] = Field(
        "bernoulli", description="bernoulli: one direction per prompt, drawn; both: two pairs from three generations."
    )
    p_better: float = Field(0.5, ge=0, le=1, description="Probability that the second is asked to be the better one.")

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """Write both completions of each prompt (see `prefboost.synthesis.method.Method`)."""
        directions: list[tuple[Direction, ...]] = [("better", "worse")] * len(items)
        if self.label == "bernoulli":
            draws = [seed_random(self.seed, "label", item.prompt_id).random() for item in items]
            directions = [("better" if draw < self.p_better else "worse",) for draw in draws]
        return self._propose_edits(items, self.prompt, calls, directions)


class Clair(_Editing):
    """A teacher revises the first completion as little as makes it better; the revision is the chosen one."""

    kind: Literal["clair"] = Field("clair", description="The smallest revision that is better.")
    prompt: str = Field("clair", description="Jinja file of the request; clair is the shipped one.")

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """Write both completions of each prompt (see `prefboost.synthesis.method.Method`)."""
        return self._propose_edits(items, self.prompt, calls, [("better",)] * len(items))


def separate_plan(draft: Draft, planned: bool) -> Draft:
    """Separate the plan from the completion that follows it; both stay in the draft.

    Args:
        draft: as it was written.
        planned: whether a plan was asked for.
    """
    if not planned or draft.fault is not None:
        return draft
    parts = re.split(rf"^\s*{DELIMITER}+\s*$", draft.raw, maxsplit=1, flags=re.MULTILINE)
    if len(parts) < 2 or not parts[1].strip():
        return replace(draft, plan=parts[0].strip(), text="", fault=(NO_COMPLETION, draft.raw[-200:]))
    return replace(draft, plan=parts[0].strip(), text=parts[1].strip())
