"""The world behind `goal_world.py`: prompts, writers of mixed skill, the score that counts and the judge's score.

A prompt names one of 40 topics, each of which has nine good words; an answer is ten of 64 words. The gold score is
1 + the number of different good words, 1..10; with an interior optimum six of them earn a 10, and every one that is
missing or too many costs two points. Four of the 64 words are praise: the gold score gives nothing for them, a gameable
judge a point each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefboost.preferences.pair import BestVsRandom, BestVsWorst, pair
from prefboost.tables import MESSAGES, SCORED_COMPLETIONS, Table, conform

__all__ = [
    "ANSWER",
    "TOPICS",
    "Topics",
    "Truth",
    "World",
    "draw_truths",
    "judge_answers",
    "make_pairs",
    "read_words",
    "write_answers",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TOPICS, WORDS, PRAISE, ANSWER = 40, 60, 4, 10
"""Topics, words with a meaning, words of praise, words of an answer."""
GOOD_WORDS = 9
"""Good words of a topic; topics share some."""
COMPLETIONS = 4
"""Answers per training prompt, of which one pair is made."""
PRAISE_SHARE = 0.06
"""Share of a writer's words that are praise, whatever the writer's skill."""
MOST_FLATTERY = 0.6
"""Where writers flatter, every answer's share of praise is drawn evenly from 0 to this."""


@dataclass(frozen=True)
class World:
    """Settings of a world; the default is the one that all arms and betas are run in.

    Args:
        interior: whether the gold score falls again beyond six good words.
        gameable: whether the judge gives points for praise.
        flattering: whether the writers differ in how much they praise, so that pairs teach what the judge pays for it.
        noise: standard deviation of the judge's error, in points.
        pairing: what the best of a prompt's answers is compared with: a random other one, the worst, or the second
            best; decides how many rejected answers are good.
        coverage: usual; capped: answers that the judge gives more than 7 are not in the data; rich: a quarter of the
            answers are by experts.
        on_policy: whether the start model writes the answers, instead of writers.
        deaf: whether the numbers in the start model's texts say nothing, so that it has no notion of a goal.
        pairs: training prompts, each with one pair (fewer where the answers tie).
    """

    interior: bool = False
    gameable: bool = False
    flattering: bool = False
    noise: float = 0.0
    pairing: Literal["random", "worst", "second"] = "random"
    coverage: Literal["usual", "capped", "rich"] = "usual"
    on_policy: bool = False
    deaf: bool = False
    pairs: int = 2000


@dataclass(frozen=True)
class Truth:
    """The good words of every topic, and the gold score.

    Args:
        good: whether a word is good for a topic [TOPICS, WORDS + PRAISE].
        interior: see `World`.
    """

    good: NDArray[np.bool_]
    interior: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Truth:
        """Draw the good words of every topic."""
        good = np.zeros((TOPICS, WORDS + PRAISE), dtype=bool)
        for topic in good:
            topic[rng.choice(WORDS, GOOD_WORDS, replace=False)] = True
        return cls(good)

    def score(self, topics: Ints, answers: Ints) -> Floats:
        """Compute the gold score, 1..10.

        Args:
            topics: [N].
            answers: [N, ANSWER].
        """
        used = np.zeros((len(answers), WORDS + PRAISE), dtype=bool)
        used[np.arange(len(answers))[:, None], answers] = True
        count = (used & self.good[topics]).sum(1).astype(np.float64)
        return np.maximum(10 - 2 * np.abs(count - 6), 1) if self.interior else 1 + count


@dataclass(frozen=True)
class Topics:
    """The topics of one seed: those of the training pairs, and those on which beta is chosen and policies compared."""

    train: Ints
    validation: Ints
    test: Ints

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Topics:
        """Deal the topics: 24, 6 and 10."""
        train, validation, test = np.split(rng.permutation(TOPICS), (24, 30))
        return cls(train, validation, test)


def draw_truths(seeds: Sequence[int]) -> tuple[list[Truth], list[Topics]]:
    """Draw the good words and the parts of the topics, one of each per seed."""
    generators = [np.random.default_rng([seed, 0]) for seed in seeds]
    truths = [Truth.draw(rng) for rng in generators]
    return truths, [Topics.draw(rng) for rng in generators]


def judge_answers(world: World, gold: Floats, answers: Ints, rng: np.random.Generator) -> Floats:
    """Score as the judge does [N]: whole points from 1 to 10.

    Args:
        world: how the judge errs.
        gold: the gold scores [N].
        answers: [N, ANSWER].
        rng: of the noise.
    """
    seen = gold + world.gameable * (answers >= WORDS).sum(1) + world.noise * rng.normal(size=len(gold))
    return np.clip(np.floor(seen + 0.5), 1, 10)


def write_answers(
    truth: Truth,
    topics: Ints,
    rng: np.random.Generator,
    skill: Floats | None = None,
    praise: Floats | float = PRAISE_SHARE,
) -> Ints:
    """Write one answer per topic [N, ANSWER].

    A writer of skill s chooses, word by word, praise with probability ``praise``, else with probability s a good word
    that was not used yet, else any word.

    Args:
        truth: the good words.
        topics: [N].
        rng: of the writers and their words.
        skill: s of every answer, 0..1; None draws it evenly from 0.05..0.7.
        praise: share of words that are praise, 0..1, of all answers or of each [N].
    """
    count = len(topics)
    skill = rng.uniform(0.05, 0.7, count) if skill is None else skill
    left = truth.good[topics]
    answers = np.empty((count, ANSWER), dtype=np.int64)
    for place in range(ANSWER):
        fitting = (rng.random((count, WORDS + PRAISE)) * left).argmax(1)
        able = (rng.random(count) < skill) & left.any(1)
        word = np.where(able, fitting, rng.integers(WORDS, size=count))
        praised = rng.random(count) < praise
        answers[:, place] = np.where(praised, rng.integers(WORDS, WORDS + PRAISE, size=count), word)
        left[np.arange(count), answers[:, place]] = False
    return answers


def make_pairs(world: World, truth: Truth, topics: Ints, answers: Ints | None, rng: np.random.Generator) -> Table:
    """Score answers and pair them by prefboost's own strategies; equal scores give no pair.

    Args:
        world: who writes, how it is judged and paired.
        truth: the gold score.
        topics: of the prompts [N].
        answers: [N * COMPLETIONS, ANSWER] of the start model, those of a prompt together; None lets writers write.
        rng: of writers and judge.

    Returns:
        PreferencePairs; texts are the numbers of the words.
    """
    repeated = np.repeat(topics, COMPLETIONS)
    if answers is None:
        skill = rng.uniform(0.05, 0.7, len(repeated))
        if world.coverage == "rich":
            skill[::COMPLETIONS] = rng.uniform(0.85, 1.0, len(topics))
        praise = rng.uniform(0, MOST_FLATTERY, len(repeated)) if world.flattering else PRAISE_SHARE
        answers = write_answers(truth, repeated, rng, skill, praise)
    scores = judge_answers(world, truth.score(repeated, answers), answers, rng)
    # The number of the request keeps prompts of one topic apart; the model reads the topic alone.
    names = [f"{topic} {at // COMPLETIONS}" for at, topic in enumerate(repeated)]
    frame = pl.DataFrame(
        {
            "row": range(len(names)),
            "prompt_id": names,
            "prompt": [[_say("user", name)] for name in names],
            "completion_id": [f"{name}/{at % COMPLETIONS}" for at, name in enumerate(names)],
            "completion": [[_say("assistant", " ".join(map(str, row)))] for row in answers],
            "score": scores,
        },
        schema_overrides={"row": pl.Int64, "prompt": MESSAGES, "completion": MESSAGES},
    )
    if world.coverage == "capped":
        frame = frame.filter(pl.col("score") <= 7)
    if world.pairing == "second":  # of the best two, the worst is the second
        frame = frame.filter(pl.col("score").rank("ordinal", descending=True).over("prompt_id") <= 2)
    strategy = BestVsRandom() if world.pairing == "random" else BestVsWorst()
    return pair(Table(SCORED_COMPLETIONS, conform(frame, SCORED_COMPLETIONS)), strategy)


def read_words(messages: pl.Series) -> Ints:
    """Read the numbers of the words of one-message texts [N, words]."""
    texts: Sequence[str] = messages.list.first().struct.field("content").to_list()
    return np.array([text.split() for text in texts], dtype=np.int64)


def _say(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "extra": None}
