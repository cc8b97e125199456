"""MT-Bench: messages to the judge about both turns of an answer, alone or beside another, and what its replies mean.

Protocol: lm-sys/FastChat `fastchat/llm_judge` at 0e6d3e4, arXiv 2306.05685. 13 of the 30 published reference answers
are wrong (FastChat pull request 3158), so references are an argument; `references` names a set of the assets.
Scores are in `prefboost.evaluation.mt_bench.scores`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict, cast

from pydantic import Field

from prefboost.engines.reasoning import answer_of
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeVerdict
from prefboost.evaluation.mt_bench.prompts import PROMPTS
from prefboost.evaluation.results import Mode
from prefboost.settings import Settings
from prefboost.statistics import Bootstrap

__all__ = [
    "CATEGORIES",
    "REFERENCED",
    "TEMPERATURES",
    "MtFacts",
    "MtRules",
    "build_grade_messages",
    "build_pair_messages",
    "compute_pair_share",
    "parse_grade",
    "parse_winner",
    "read_mt_facts",
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
    """Rules of judging and scoring MT-Bench (arXiv 2306.05685)."""

    grading: Literal["single", "pairwise"] = Field(
        "single", description="single: a grade for each answer; pairwise: against the answers of a baseline."
    )
    mode: Mode = Field(
        "robust", description="official: as published; robust: grades in range, questions are clusters, none twice."
    )
    references: str = Field(
        "mt_bench_references_gpt4_0125",
        description="Asset with the reference answers; mt_bench_references is the published one, 13 of 30 wrong.",
    )
    baseline: str | None = Field(
        None,
        description="Opponent of pairwise grading: a model of the run or a file of completions; none: the first "
        "model (FastChat's is gpt-3.5-turbo).",
    )
    interval: Bootstrap = Field(Bootstrap(), description="Resamples, level and seed of intervals.")


class MtFacts(TypedDict):
    """Facts of a verdict.

    Args:
        category: one of `CATEGORIES`, or that of a user's question.
        turn: the judged turn.
        game: pairwise: 1 shows the model as A, 2 as B; absent where a grade is asked for.
        template: published name of the judge's prompt; absent where nothing was asked.
        winner: pairwise: the winner that the reply names; None where it names none.
    """

    category: str
    turn: Turn
    game: NotRequired[Literal[1, 2]]
    template: NotRequired[str]
    winner: NotRequired[Winner | None]


def read_mt_facts(verdict: JudgeVerdict) -> MtFacts:
    """Return the facts of a verdict that `check_facts` has accepted."""
    return cast(MtFacts, verdict.facts)


def compute_pair_share(winner: Winner | None, game: object) -> float | None:
    """Return the rated model's share of the win: 0, 0.5 or 1; None without a winner.

    Args:
        winner: side that the judge names.
        game: 1: the model is shown as A; 2: as B.
    """
    if winner is None:
        return None
    return 0.5 if winner == "tie" else float((winner == "A") == (game == 1))


Messages = tuple[Mapping[str, str], Mapping[str, str]]


def build_grade_messages(prompt: BenchmarkPrompt, turn: Turn, answers: Sequence[str]) -> tuple[str, Messages]:
    """Build the messages that ask for a grade.

    Args:
        prompt: two turns, with references where its category is shown some.
        turn: the turn to grade.
        answers: the model's answers to both turns; data in the message, whatever markers they hold.

    Returns:
        published name of the template, and the system and user message.
    """
    names = {"answer": answers[0], "answer_1": answers[0], "answer_2": answers[1]}
    return _fill_template(prompt, turn, "single", names)


def build_pair_messages(
    prompt: BenchmarkPrompt, turn: Turn, first: Sequence[str], second: Sequence[str]
) -> tuple[str, Messages]:
    """Build the messages that ask which answers are better.

    Args:
        prompt, turn: see `build_grade_messages`.
        first: answers to both turns, shown as A.
        second: answers to both turns, shown as B.

    Returns:
        published name of the template, and the system and user message.
    """
    names = {
        "answer_a": first[0], "answer_b": second[0], "answer_a_1": first[0], "answer_a_2": first[1],
        "answer_b_1": second[0], "answer_b_2": second[1],
    }  # fmt: skip
    return _fill_template(prompt, turn, "pair", names)


def parse_grade(reply: str, mode: Mode = "robust") -> float | None:
    """Read the grade of a reply: the first number in double brackets, or else in single ones.

    Args:
        reply: reply of the judge.
        mode: official takes any number; robust only 1 to 10, the scale that the judge is given.

    Returns:
        None where there is none (FastChat writes -1).
    """
    match = next((match for pattern in _RATING if (match := pattern.search(answer_of(reply)))), None)
    if match is None:
        return None
    grade = float(match[1])
    return grade if mode == "official" or 1 <= grade <= 10 else None


def parse_winner(reply: str, mode: Mode = "robust") -> Winner | None:
    """Read the winner of a reply; None where it names none.

    Args:
        reply: reply of the judge.
        mode: official looks for [[A]], then [[B]], then [[C]] anywhere; robust takes the last of them.
    """
    letters = _LETTER.findall(answer_of(reply))
    if not letters:
        return None
    winners: Mapping[str, Winner] = {"A": "A", "B": "B", "C": "tie"}
    return winners[min(letters) if mode == "official" else letters[-1]]


def _fill_template(
    prompt: BenchmarkPrompt, turn: Turn, kind: Literal["single", "pair"], answers: Mapping[str, str]
) -> tuple[str, Messages]:
    # FastChat's names: math-v1 is the template with references, whatever the category is called.
    is_referenced = prompt.category in REFERENCED
    version = "math-v1" if is_referenced else {"single": "v1", "pair": "v2"}[kind]
    template = f"{kind}-{version}" + ("-multi-turn" if turn == 2 else "")
    references = ("ref_answer_1", "ref_answer_2") if is_referenced else ()
    names = {
        **answers,
        **dict(zip(references, prompt.reference, strict=False)),
        "question": prompt.turns[0],
        "question_1": prompt.turns[0],
        "question_2": prompt.turns[1],
    }
    system = {"role": "system", "content": PROMPTS[template].system}
    return template, (system, {"role": "user", "content": PROMPTS[template].question.format(**names)})
