"""MT-Bench: what the judge is asked about both turns of an answer, by itself or beside another, and what it replies.

Protocol: lm-sys/FastChat `fastchat/llm_judge` at 0e6d3e4, arXiv 2306.05685. 13 of the 30 published reference answers
are wrong (FastChat pull request 3158), so references are an argument; `references` names a set of the assets.
Scores are in `prefboost.evaluation.mt_bench.scores`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from prefboost.engines.reasoning import answer_of
from prefboost.errors import DataError, Place
from prefboost.evaluation.mt_bench.prompts import PROMPTS
from prefboost.evaluation.record_texts import plain_text
from prefboost.settings import Settings
from prefboost.statistics import Bootstrap

__all__ = [
    "CATEGORIES",
    "REFERENCED",
    "TEMPERATURES",
    "Grade",
    "MtRules",
    "MtQuestion",
    "MtRequest",
    "PairGame",
    "category_of",
    "grade_of",
    "grading_requests",
    "pair_requests",
    "stored_grades",
    "winner_of",
]

Turn = Literal[1, 2]
Winner = Literal["A", "B", "tie"]

CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
"""Ten questions each, from question 81 on."""

REFERENCED = ("math", "reasoning", "coding")
"""Categories in which the judge is shown a reference answer."""

TEMPERATURES: Mapping[str, float] = {
    "writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1,
    "reasoning": 0.0, "math": 0.0, "coding": 0.0, "extraction": 0.0,
}  # fmt: skip
"""Category -> temperature at which answers are generated."""

_RATING = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))
_LETTER = re.compile(r"\[\[([ABC])\]\]")


class MtRules(Settings):
    """How MT-Bench is judged and scored (arXiv 2306.05685)."""

    grading: Literal["single", "pairwise"] = Field(
        "single", description="single: a grade for each answer; pairwise: against the answers of a baseline."
    )
    mode: Literal["official", "robust"] = Field(
        "robust", description="official: as published; robust: grades in range, questions are clusters, none twice."
    )
    references: str = Field(
        "mt_bench_references_gpt4_0125",
        description="Asset with the reference answers; mt_bench_references is the published one, 13 of 30 wrong.",
    )
    baseline: str | None = Field(
        None,
        description="Whom pairwise grading compares with: a model of the run or a file of completions; none: the first "
        "model (FastChat's is gpt-3.5-turbo).",
    )
    interval: Bootstrap = Field(Bootstrap(), description="Resamples, level and seed of intervals.")


@dataclass(frozen=True)
class MtQuestion:
    """One question.

    Args:
        question_id: its number.
        category: one of `CATEGORIES`.
        turns: what the user says first and then.
        references: reference answers to both turns; empty where the category has none.
    """

    question_id: str
    category: str
    turns: tuple[str, str]
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class MtRequest:
    """One call of the judge.

    Args:
        question: what was asked.
        turn: which turn is judged.
        model: who is rated.
        game: pairwise: 1 shows the model as A, 2 as B; None where a grade is asked for.
        template: published name of the prompt.
        messages: system and user turn; an answer is data in the user turn, whatever markers it holds.
    """

    question: MtQuestion
    turn: Turn
    model: str
    game: Literal[1, 2] | None
    template: str
    messages: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Grade:
    """A grade for one turn: 1 to 10; None where the reply gives none."""

    question_id: str
    category: str
    turn: Turn
    model: str
    grade: float | None
    judge: str = ""


@dataclass(frozen=True)
class PairGame:
    """A comparison of one turn: game 1 shows the model as A, 2 as B; the winner is None where the reply names none."""

    question_id: str
    category: str
    turn: Turn
    model: str
    game: Literal[1, 2]
    winner: Winner | None
    judge: str = ""

    @property
    def share(self) -> float | None:
        """Share of the win that the model got: 0, 0.5 or 1."""
        if self.winner is None or self.winner == "tie":
            return None if self.winner is None else 0.5
        return float((self.winner == "A") == (self.game == 1))


def grading_requests(
    questions: Sequence[MtQuestion], answers: Mapping[str, tuple[str, str]], model: str
) -> list[MtRequest]:
    """Both turns of every answer, each graded by itself.

    Args:
        questions: with references where their category needs them.
        answers: question_id -> what the model said in both turns.
        model: its name.

    Raises:
        DataError: an answer or a reference is missing.
    """
    _check(questions, [answers], model)
    found = []
    for question in questions:
        own = answers[question.question_id]
        names = {"question": question.turns[0], "answer": own[0], "answer_1": own[0], "answer_2": own[1]}
        found += [_request(question, turn, model, None, "single", names) for turn in _TURNS]
    return found


def pair_requests(
    questions: Sequence[MtQuestion],
    answers: Mapping[str, tuple[str, str]],
    baseline_answers: Mapping[str, tuple[str, str]],
    model: str,
) -> list[MtRequest]:
    """Both turns of every answer beside the baseline's, in both orders.

    Args:
        questions, answers, model: see `grading_requests`.
        baseline_answers: question_id -> what the baseline said in both turns.

    Raises:
        DataError: an answer or a reference is missing.
    """
    _check(questions, [answers, baseline_answers], model)
    found = []
    for question in questions:
        own, other = answers[question.question_id], baseline_answers[question.question_id]
        for turn in _TURNS:
            orders: tuple[tuple[Literal[1, 2], tuple[str, str], tuple[str, str]], ...] = (
                (1, own, other),
                (2, other, own),
            )
            for game, a, b in orders:
                names = {
                    "question": question.turns[0], "answer_a": a[0], "answer_b": b[0],
                    "answer_a_1": a[0], "answer_a_2": a[1], "answer_b_1": b[0], "answer_b_2": b[1],
                }  # fmt: skip
                found.append(_request(question, turn, model, game, "pair", names))
    return found


def grade_of(reply: str, mode: Literal["official", "robust"] = "robust") -> float | None:
    """The grade of a reply: the first number in double brackets, or else in single ones.

    Args:
        reply: of the judge.
        mode: official takes any number; robust only 1 to 10, the scale the judge was told.

    Returns:
        None where there is none (the original writes -1).
    """
    told = next((match for pattern in _RATING if (match := pattern.search(answer_of(reply)))), None)
    if told is None:
        return None
    grade = float(told[1])
    return grade if mode == "official" or 1 <= grade <= 10 else None


def winner_of(reply: str, mode: Literal["official", "robust"] = "robust") -> Winner | None:
    """The winner of a reply, or None where it names none.

    Args:
        reply: of the judge.
        mode: official looks for [[A]], then [[B]], then [[C]] anywhere; robust takes the last of them.
    """
    told = _LETTER.findall(answer_of(reply))
    if not told:
        return None
    names: Mapping[str, Winner] = {"A": "A", "B": "B", "C": "tie"}
    return names[min(told) if mode == "official" else told[-1]]


def stored_grades(rows: Iterable[Mapping[str, Any]], settings: MtRules) -> Iterator[Grade]:
    """Grades of a judgement file of FastChat (`model_judgment/*_single.jsonl`), read again from the judge's words.

    Args:
        rows: records with question_id, model, turn and judgment.
        settings: the mode decides how grades are read.

    Raises:
        DataError: a record lacks one of them.
    """
    needed = ("question_id", "model", "turn", "judgment")
    for at, row in enumerate(rows):
        missing = [name for name in needed if row.get(name) is None]
        if missing or row["turn"] not in _TURNS:
            raise DataError(
                f"record {at} is no grade of MT-Bench: it has no {', '.join(missing) or 'turn 1 or 2'}",
                remedy="give a file of model_judgment with single-answer grades",
            )
        judge = row.get("judge") or ""
        said = plain_text(row["judgment"], "judgment", Place(row=at))
        yield Grade(
            str(row["question_id"]), category_of(str(row["question_id"])), row["turn"], str(row["model"]),
            grade_of(said, settings.mode), judge if isinstance(judge, str) else str(judge[0]),
        )  # fmt: skip


def category_of(question_id: str) -> str:
    """The category of a published question, by its number 81 to 160; ``other`` for any other."""
    at = (int(question_id) - 81) // 10 if question_id.isdecimal() else -1
    return CATEGORIES[at] if 0 <= at < len(CATEGORIES) else "other"


_TURNS: tuple[Turn, Turn] = (1, 2)


def _request(
    question: MtQuestion,
    turn: Turn,
    model: str,
    game: Literal[1, 2] | None,
    kind: Literal["single", "pair"],
    names: Mapping[str, str],
) -> MtRequest:
    referenced = question.category in REFERENCED
    version = "math-v1" if referenced else {"single": "v1", "pair": "v2"}[kind]
    template = f"{kind}-{version}" + ("-multi-turn" if turn == 2 else "")
    prompt = PROMPTS[template]
    given = dict(zip(("ref_answer_1", "ref_answer_2"), question.references, strict=False)) if referenced else {}
    turns = {"question_1": question.turns[0], "question_2": question.turns[1]}
    user = prompt.question.format(**names, **given, **turns)
    messages = ({"role": "system", "content": prompt.system}, {"role": "user", "content": user})
    return MtRequest(question, turn, model, game, template, messages)


def _check(questions: Sequence[MtQuestion], sides: Sequence[Mapping[str, tuple[str, str]]], model: str) -> None:
    unanswered = [q.question_id for q in questions if any(q.question_id not in answers for answers in sides)]
    if unanswered:
        raise DataError(
            f"{len(unanswered)} of {len(questions)} questions have no answer of {model} or of the baseline, such as "
            f"{unanswered[0]}",
            remedy="generate the missing answers, or leave the questions out",
        )
    unaided = [q.question_id for q in questions if q.category in REFERENCED and len(q.references) != 2]
    if unaided:
        raise DataError(
            f"{len(unaided)} questions of {', '.join(REFERENCED)} have no reference answers, such as {unaided[0]}",
            remedy="give references: another set than the published one, of which 13 in 30 are wrong, is better",
        )
