"""Second completions that are edits of the first: RMBoost (arXiv 2407.16008) and CLAIR (arXiv 2408.06266)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from prefboost.engines.engine import Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.settings import choice
from prefboost.synthesis.aspects import TASKS, seed_random
from prefboost.synthesis.calls import ModelCalls, model_name
from prefboost.synthesis.filters import DELIMITER, Filters
from prefboost.synthesis.method import Generating, write_first_drafts
from prefboost.synthesis.proposal import Draft, PromptItem, Proposal, build_draft
from prefboost.synthesis.template import PromptTemplate, list_turns, load_prompt, strip_marks

__all__ = ["Clair", "RMBoost", "separate_plan"]

Direction = Literal["better", "worse"]

NO_COMPLETION = "the plan is not followed by a completion"
_LEAST_WORDS = 3


class _Editing(Generating):
    editor: Annotated[EngineSettings, choice(ENGINES)] | None = Field(
        None, description="The model that writes second completions; none: the generator."
    )
    edit_sampling: Sampling | None = Field(None, description="How its tokens are drawn; none: as the generator's.")
    first: Literal["generate", "completion", "chosen", "rejected"] = Field(
        "generate", description="Where first completions come from: the generator, or a column of the table of prompts."
    )
    plan: bool = Field(False, description="Ask for a plan of edits in front of the completion; it is kept as lineage.")
    length_window: float | None = Field(
        0.3,
        gt=0,
        description="Words the second may have, as a share more or less than the first's; none asks for no length.",
    )
    filters: Filters = Field(Filters(max_edit_distance=0.95), description="What sets a pair aside.")

    def _write_edits(self, edits: Sequence[_Edit], template: PromptTemplate, calls: ModelCalls) -> list[Proposal]:
        requests = [template.request(**edit.values(self.plan, self.length_window)) for edit in edits]
        engine = self.generator if self.editor is None else self.editor
        outcomes = calls.completions("edits", engine, requests, self.edit_sampling or self.sampling)
        return [
            self._proposal(edit, separate_plan(build_draft(outcome, model_name(engine)), self.plan), template)
            for edit, outcome in zip(edits, outcomes, strict=True)
        ]

    def _proposal(self, edit: _Edit, second: Draft, template: PromptTemplate) -> Proposal:
        lineage = {"prompt": template.identity, "aspects": list(edit.aspects), "direction": edit.direction}
        wins = 0.0 if edit.direction == "better" else 1.0
        return Proposal(edit.item, edit.first, second, wins, edit.direction, lineage)


class RMBoost(_Editing):
    """Label first, completion second: the second is asked to be better or worse than the first on named aspects."""

    kind: Literal["rmboost"] = Field("rmboost", description="A second completion, better or worse by request.")
    prompt: str = Field("rmboost", description="Jinja file of the request; rmboost is the shipped one.")
    label: Literal["bernoulli", "both"] = Field(
        "bernoulli", description="bernoulli: one direction a prompt, drawn; both: two pairs from three generations."
    )
    p_better: float = Field(0.5, ge=0, le=1, description="Probability that the second is asked to be the better one.")

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """See `prefboost.synthesis.method.Method`."""
        firsts = write_first_drafts(items, calls, self, self.first)
        edits, faults = [], []
        for item, first in zip(items, firsts, strict=True):
            if first.fault is not None or not first.text:
                faults.append(Proposal(item, first, Draft(), fault=first.fault or ("a completion is empty", "first")))
                continue
            for direction in self._directions(item):
                aspects = self.aspects.draw(self.seed, item.prompt_id, direction)
                edits.append(_Edit(item, first, self.aspects.task, aspects, direction))
        return faults + self._write_edits(edits, load_prompt(self.prompt), calls)

    def _directions(self, item: PromptItem) -> tuple[Direction, ...]:
        if self.label == "both":
            return ("better", "worse")
        return ("better" if seed_random(self.seed, "label", item.prompt_id).random() < self.p_better else "worse",)


class Clair(_Editing):
    """A teacher revises the first completion as little as makes it better; the revision is the chosen one."""

    kind: Literal["clair"] = Field("clair", description="The smallest revision that is better.")
    prompt: str = Field("clair", description="Jinja file of the request; clair is the shipped one.")

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """See `prefboost.synthesis.method.Method`."""
        firsts = list(zip(items, write_first_drafts(items, calls, self, self.first), strict=True))
        faults = [
            Proposal(item, first, Draft(), fault=first.fault or ("a completion is empty", "first"))
            for item, first in firsts
            if first.fault is not None or not first.text
        ]
        edits = [
            _Edit(item, first, self.aspects.task, self.aspects.draw(self.seed, item.prompt_id, "better"), "better")
            for item, first in firsts
            if first.fault is None and first.text
        ]
        return faults + self._write_edits(edits, load_prompt(self.prompt), calls)


@dataclass(frozen=True)
class _Edit:
    """A second completion that is wanted."""

    item: PromptItem
    first: Draft
    task: str
    aspects: Mapping[str, str]
    direction: Direction

    def values(self, plan: bool, window: float | None) -> dict[str, Any]:
        """What the template sees."""
        return {
            "task": TASKS[self.task],
            "turns": list_turns(self.item.prompt),
            "reference": strip_marks(self.first.text),
            "aspects": dict(self.aspects),
            "direction": self.direction,
            "words": None if window is None else _window(len(self.first.text.split()), window),
            "plan": plan,
            "delimiter": DELIMITER,
        }


def separate_plan(draft: Draft, planned: bool) -> Draft:
    """The completion that follows the plan; the plan stays beside it.

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


def _window(words: int, share: float) -> tuple[int, int]:
    least = max(_LEAST_WORDS, round(words * (1 - share)))
    return least, max(least + 2, round(words * (1 + share)))
