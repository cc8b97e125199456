"""Arena-Hard-Auto v0.1 and v2.0: what the judge is asked, in both orders, and what its reply says.

Protocol: lmarena/arena-hard-auto at 196f6b8 (v2.0) and 0489bf3 (v0.1), arXiv 2406.11939. Game 1 shows the baseline as
assistant A, game 2 the model. Scores are in `prefboost.evaluation.arena_hard.scores`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import Field

from prefboost.engines.reasoning import answer_of
from prefboost.errors import DataError, SettingsError
from prefboost.evaluation.arena_hard.prompts import CREATIVE, HARD, QUESTION
from prefboost.evaluation.arena_hard.style import Control
from prefboost.settings import Settings
from prefboost.statistics import Bootstrap

__all__ = [
    "ArenaQuestion",
    "ArenaRules",
    "Category",
    "Game",
    "GameRequest",
    "Label",
    "arena_requests",
    "categories_of",
    "label_of",
    "stored_games",
]

Version = Literal["v0.1", "v2.0"]

Label = Literal["A>>B", "A>B", "A=B", "B>A", "B>>A"]

_LABELS: Mapping[str, Label] = {
    "A>>B": "A>>B", "A>B": "A>B", "A=B": "A=B", "B=A": "A=B", "B>A": "B>A", "B>>A": "B>>A",
    "A<<B": "B>>A", "A<B": "B>A", "B<A": "A>B", "B<<A": "A>>B",
}  # fmt: skip
"""As judges write it -> the five verdicts."""

_IN_TWO, _IN_ONE = re.compile(r"\[\[([AB<>=]+)\]\]"), re.compile(r"\[([AB<>=]+)\]")


class Category(NamedTuple):
    """Who the models of a category are compared with, and what the judge is told."""

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
    """How Arena-Hard-Auto is judged and scored (arXiv 2406.11939)."""

    version: Version = Field("v2.0", description="Prompts, baselines and scoring: v0.1 (2024) or v2.0 (2025).")
    mode: Literal["official", "robust"] = Field(
        "robust",
        description="official: intervals and style control as published; robust: prompts are clusters, equal style.",
    )
    categories: tuple[str, ...] = Field(
        (), description="Categories or subcategories that are scored, each by itself; none takes all there are."
    )
    control: tuple[Control, ...] = Field(
        (), description="Style that is held equal: length, markdown, both, or nothing."
    )
    weight: int = Field(3, ge=1, description="How often a verdict of much better (>>) counts (arena-hard-auto).")
    baseline: str | None = Field(None, description="Another baseline than the published one of each category.")
    interval: Bootstrap = Field(Bootstrap(), description="Resamples, level and seed of intervals; official: the seed.")

    def baseline_of(self, category: str) -> str:
        """The model that a category is compared with.

        Raises:
            SettingsError: the category is none of the version's, and no baseline is named.
        """
        if self.baseline is not None:
            return self.baseline
        return self._published(category).baseline

    def system_of(self, category: str) -> str:
        """What the judge is told; categories of one's own are judged like hard prompts."""
        known = CATEGORIES[self.version].get(category)
        return HARD if known is None else known.system

    def _published(self, category: str) -> Category:
        known = CATEGORIES[self.version]
        if category not in known:
            raise SettingsError(
                f"Arena-Hard {self.version} has no category {category}; it has {', '.join(known)}",
                remedy="set baseline to the model that it is compared with",
            )
        return known[category]


@dataclass(frozen=True)
class ArenaQuestion:
    """One prompt.

    Args:
        uid: unique.
        prompt: what was asked.
        category: decides the baseline and the judge's instructions.
        subcategory: a part of the category that may be scored by itself.
    """

    uid: str
    prompt: str
    category: str
    subcategory: str = ""


@dataclass(frozen=True)
class GameRequest:
    """One call of the judge.

    Args:
        question: what was asked.
        model: who is rated.
        game: 1 shows the baseline as A, 2 the model.
        messages: system and user turn; an answer is data in the user turn, whatever markers it holds.
    """

    question: ArenaQuestion
    model: str
    game: Literal[1, 2]
    messages: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Game:
    """What came of one call.

    Args:
        uid: of the question.
        model: who was rated.
        game: 1 showed the baseline as A, 2 the model.
        label: None where there is no verdict.
        category: of the question.
        subcategory: of the question.
        judge: who judged.
    """

    uid: str
    model: str
    game: Literal[1, 2]
    label: Label | None
    category: str
    subcategory: str = ""
    judge: str = ""

    @property
    def share(self) -> float | None:
        """Share of the win that the rated model got, 0, 0.5 or 1; None where there is no verdict."""
        if self.label is None:
            return None
        first = {"A": 1.0, "B": 0.0}[self.label[0]] if "=" not in self.label else 0.5
        return first if self.game == 2 else 1 - first

    @property
    def is_much(self) -> bool:
        """Whether the verdict is that one is much better."""
        return self.label is not None and ">>" in self.label


def arena_requests(
    questions: Sequence[ArenaQuestion],
    answers: Mapping[str, str],
    baseline_answers: Mapping[str, str],
    settings: ArenaRules,
    model: str,
) -> list[GameRequest]:
    """Both games of every question.

    Args:
        questions: of the categories that are to be scored.
        answers: uid -> the model's answer.
        baseline_answers: uid -> the baseline's answer.
        settings: version.
        model: name of the model.

    Raises:
        DataError: an answer is missing.
    """
    missing = [q.uid for q in questions if q.uid not in answers or q.uid not in baseline_answers]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(questions)} questions have no answer of {model} or of the baseline, such as "
            f"{missing[0]}",
            remedy="generate the missing answers, or leave the questions out",
        )
    found = []
    for question in questions:
        both = (baseline_answers[question.uid], answers[question.uid])
        orders: tuple[tuple[Literal[1, 2], tuple[str, str]], ...] = ((1, both), (2, (both[1], both[0])))
        for game, shown in orders:
            found.append(GameRequest(question, model, game, _messages(question, shown, settings)))
    return found


def label_of(reply: str, version: Version = "v2.0") -> Label | None:
    """The verdict of a reply, or None where it gives none.

    v2.0 takes the last label in double brackets, or else in single ones, in either case of letters; v0.1 takes labels
    in double brackets, and only if they all are the same.
    """
    reply = answer_of(reply)
    if version == "v0.1":
        labels = set(_IN_TWO.findall(reply))
        return _LABELS.get(labels.pop()) if len(labels) == 1 else None
    told = _IN_TWO.findall(reply.upper()) or _IN_ONE.findall(reply.upper())
    return _LABELS.get(told[-1]) if told else None


def stored_games(rows: Iterable[Mapping[str, Any]]) -> Iterator[Game]:
    """Games of judgement files of arena-hard-auto (v2.0, or v0.1 with its question_id).

    Args:
        rows: records with uid or question_id, model, judge and two games, each null or with a score.

    Raises:
        DataError: a record has no id, model or pair of games.
    """
    for at, row in enumerate(rows):
        uid, games = row.get("uid", row.get("question_id")), row.get("games")
        if uid is None or "model" not in row or not isinstance(games, list) or len(games) != 2:
            raise DataError(
                f"record {at} is no judgement of Arena-Hard: it needs uid, model and two games",
                remedy="give a file of model_judgment",
            )
        for number, game in zip((1, 2), games, strict=True):
            if game is not None and not isinstance(game, Mapping):
                raise DataError(
                    f"game {number} of record {at} is neither null nor an object: {str(game)[:60]}",
                    remedy="give a file of model_judgment",
                )
            score = str((game or {}).get("score") or "")
            yield Game(
                str(uid), str(row["model"]), 1 if number == 1 else 2, _LABELS.get(score),
                str(row.get("category", "arena-hard-v0.1")), str(row.get("subcategory", "")), str(row.get("judge", "")),
            )  # fmt: skip


def categories_of(games: Iterable[Game], settings: ArenaRules) -> dict[str, list[Game]]:
    """Category -> its games; a game counts in its category and in its subcategory.

    Args:
        games: of any categories.
        settings: which categories are wanted; all, subcategories left out, where none is named.

    Raises:
        DataError: a wanted category has no game.
    """
    found: dict[str, list[Game]] = {name: [] for name in settings.categories}
    for game in games:
        own = [game.category] if not settings.categories else {game.category, game.subcategory} & set(found)
        for name in own:
            found.setdefault(name, []).append(game)
    empty = [name for name, own in found.items() if not own]
    if empty:
        raise DataError(f"no game is of the category {', '.join(empty)}", remedy="name categories that were judged")
    return found


def _messages(
    question: ArenaQuestion, shown: tuple[str, str], settings: ArenaRules
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    user = QUESTION.format(QUESTION=question.prompt, ANSWER_A=shown[0], ANSWER_B=shown[1])
    return {"role": "system", "content": settings.system_of(question.category)}, {"role": "user", "content": user}
