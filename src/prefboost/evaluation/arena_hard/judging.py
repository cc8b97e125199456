"""Arena-Hard-Auto v0.1 and v2.0: messages to the judge, its labels, and what they mean.

Protocol: lmarena/arena-hard-auto at 196f6b8 (v2.0) and 0489bf3 (v0.1), arXiv 2406.11939. Every prompt is judged in two
games: game 1 shows the baseline as assistant A, game 2 the model. `prefboost.evaluation.arena_hard.scores` has the
figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, NotRequired, TypedDict, cast

from pydantic import Field

from prefboost.engines.reasoning import answer_of
from prefboost.errors import DataError, SettingsError
from prefboost.evaluation.arena_hard.prompts import CREATIVE, HARD, QUESTION
from prefboost.evaluation.arena_hard.style import Control
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.results import Mode
from prefboost.settings import Settings
from prefboost.statistics import Bootstrap

__all__ = [
    "ArenaFacts",
    "ArenaRules",
    "Category",
    "Label",
    "build_arena_messages",
    "compute_share",
    "group_by_category",
    "is_decisive",
    "parse_label",
    "read_arena_facts",
]

Version = Literal["v0.1", "v2.0"]

Label = Literal["A>>B", "A>B", "A=B", "B>A", "B>>A"]

_LABELS: Mapping[str, Label] = {
    "A>>B": "A>>B", "A>B": "A>B", "A=B": "A=B", "B=A": "A=B", "B>A": "B>A", "B>>A": "B>>A",
    "A<<B": "B>>A", "A<B": "B>A", "B<A": "A>B", "B<<A": "A>>B",
}  # fmt: skip
"""Spelling of a judge -> one of the five labels."""

_IN_DOUBLE_BRACKETS, _IN_SINGLE_BRACKETS = re.compile(r"\[\[([AB<>=]+)\]\]"), re.compile(r"\[([AB<>=]+)\]")


class Category(NamedTuple):
    """Baseline of a category, and the system message of its judge."""

    baseline: str
    system: str


CATEGORIES: Mapping[Version, Mapping[str, Category]] = {
    "v0.1": {"arena-hard-v0.1": Category("gpt-4-0314", HARD)},
    "v2.0": {
        "hard_prompt": Category("o3-mini-2025-01-31", HARD),
        "coding": Category("o3-mini-2025-01-31", HARD),
        "math": Category("o3-mini-2025-01-31", HARD),
        "creative_writing": Category("gemini-2.0-flash-001", CREATIVE),
    },
}
"""Version -> its categories; coding and math are parts of hard_prompt."""


class ArenaRules(Settings):
    """Rules of judging and scoring Arena-Hard-Auto (arXiv 2406.11939)."""

    version: Version = Field("v2.0", description="Prompts, baselines and scoring: v0.1 (2024) or v2.0 (2025).")
    mode: Mode = Field(
        "robust",
        description="official: intervals and style control as published; robust: prompts are clusters, equal style.",
    )
    categories: tuple[str, ...] = Field(
        (), description="Categories or subcategories that are scored, each by itself; none takes all there are."
    )
    control: tuple[Control, ...] = Field(
        (), description="Style that is held equal: length, markdown, both, or nothing."
    )
    weight: int = Field(3, ge=1, description="Weight of a verdict of much better (>>) (arena-hard-auto).")
    baseline: str | None = Field(None, description="Another baseline than the published one of each category.")
    interval: Bootstrap = Field(Bootstrap(), description="Resamples, level and seed of intervals; official: the seed.")

    def find_baseline(self, category: str) -> str:
        """Return the model that a category is compared with.

        Raises:
            SettingsError: the version has no such category, and no baseline is named.
        """
        if self.baseline is not None:
            return self.baseline
        categories = CATEGORIES[self.version]
        if category not in categories:
            raise SettingsError(
                f"Arena-Hard {self.version} has no category {category}; it has {', '.join(categories)}",
                remedy="set baseline to the model to compare with",
            )
        return categories[category].baseline


class ArenaFacts(TypedDict):
    """Facts of a verdict.

    Args:
        category: category of the prompt; it decides the baseline and the judge's system message.
        subcategory: part of the category that may be scored separately.
        game: 1 shows the baseline as A, 2 the model.
        label: label of the judge; None where the reply holds none.
        length: words and signs of the model's completion; ``baseline_length`` of the baseline's.
        headers, lists, bold: markdown counts of the model's completion; ``baseline_...`` of the baseline's.
    """

    category: str
    subcategory: NotRequired[str]
    game: Literal[1, 2]
    label: NotRequired[Label | None]
    length: NotRequired[int]
    headers: NotRequired[int]
    lists: NotRequired[int]
    bold: NotRequired[int]
    baseline_length: NotRequired[int]
    baseline_headers: NotRequired[int]
    baseline_lists: NotRequired[int]
    baseline_bold: NotRequired[int]


def read_arena_facts(verdict: JudgeVerdict) -> ArenaFacts:
    """Return the facts of a verdict that `check_facts` has accepted."""
    return cast(ArenaFacts, verdict.facts)


def is_decisive(verdict: JudgeVerdict) -> bool:
    """Tell whether the judge named one side much better (``>>``)."""
    return verdict.value is not None and ">>" in str(verdict.facts.get("label"))


def compute_share(label: Label | None, game: object) -> float | None:
    """Return the rated model's share of the win: 0, 0.5 or 1; None without a label.

    Args:
        label: label of the judge.
        game: 1: the model is shown as B; 2: as A.
    """
    if label is None:
        return None
    # A label speaks of places; which place the model has depends on the game.
    share_of_first = 0.5 if label == "A=B" else float(label.startswith("A"))
    return 1 - share_of_first if game == 1 else share_of_first


def build_arena_messages(
    question: str, answers: tuple[str, str], category: str, version: Version
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Build the system and the user message of one game; answers are data, whatever markers they hold.

    Args:
        question: the prompt.
        answers: completion shown as A, completion shown as B.
        category: decides the system message; categories of other prompts are judged like hard prompts.
        version: version of the benchmark.
    """
    # A user's category has no published judge; its prompts are judged like hard ones.
    published = CATEGORIES[version].get(category)
    user = QUESTION.format(QUESTION=question, ANSWER_A=answers[0], ANSWER_B=answers[1])
    return (
        {"role": "system", "content": HARD if published is None else published.system},
        {"role": "user", "content": user},
    )


def parse_label(reply: str, version: Version = "v2.0") -> Label | None:
    """Read the label of a reply; None where it gives none.

    v2.0 takes the last label in double brackets, or else in single ones, in upper or lower case. v0.1 takes labels in
    double brackets, and only if all of them agree.
    """
    # A reasoning judge weighs both labels in its thoughts: only the answer after them counts.
    reply = answer_of(reply)
    if version == "v0.1":
        labels = set(_IN_DOUBLE_BRACKETS.findall(reply))
        return _LABELS.get(labels.pop()) if len(labels) == 1 else None
    spellings = _IN_DOUBLE_BRACKETS.findall(reply.upper()) or _IN_SINGLE_BRACKETS.findall(reply.upper())
    return _LABELS.get(spellings[-1]) if spellings else None


def group_by_category(verdicts: Iterable[JudgeVerdict], rules: ArenaRules) -> dict[str, list[JudgeVerdict]]:
    """Group verdicts by category.

    Args:
        verdicts: verdicts of any categories.
        rules: names the categories to score, where a verdict counts in its category and in its subcategory; where
            none is named, every category is scored and subcategories are not.

    Raises:
        DataError: a named category has no verdict.
    """
    groups: dict[str, list[JudgeVerdict]] = {name: [] for name in rules.categories}
    for verdict in verdicts:
        facts = read_arena_facts(verdict)
        names = {facts["category"], facts.get("subcategory", "")} & groups.keys()
        for name in names if rules.categories else [facts["category"]]:
            groups.setdefault(name, []).append(verdict)
    empty = [name for name, group in groups.items() if not group]
    if empty:
        raise DataError(f"no game is of the category {', '.join(empty)}", remedy="name categories that were judged")
    return groups
