"""Scores of MT-Bench: mean grade over turns and by category, and win rate against a baseline.

official: as `show_result.py` does it, failed judgements left out and rows that stand twice averaged in. robust: none
twice, a failed judgement is counted and withholds the score above 1 %. Intervals of both draw whole questions: both
turns of a question share what makes it hard, and rows drawn singly give errors a fifth too small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from prefboost.errors import DataError
from prefboost.evaluation.mt_bench.judging import Grade, MtRules, PairGame
from prefboost.statistics import Bootstrap, Interval, bootstrap_mean
from prefboost.statistics.columns import FloatColumn

__all__ = ["MtPairScore", "MtScore", "mt_pair_scores", "mt_scores"]

TOLD = 0.01
"""Share of judgements without a grade above which a score is withheld."""

LOWEST, HIGHEST = 1.0, 10.0

Row = TypeVar("Row", Grade, PairGame)
Key = TypeVar("Key", int, str)


@dataclass(frozen=True)
class MtScore:
    """Grades of one model, 1 to 10.

    Args:
        model: who.
        overall: mean over both turns of all questions; None where too many grades are missing.
        by_turn: turn -> mean.
        by_category: category -> mean over both turns.
        missing: judgements without a grade.
        judgements: all of them.
        bounds: the mean if every missing grade was 1, and if it was 10.
    """

    model: str
    overall: Interval | None
    by_turn: Mapping[int, Interval]
    by_category: Mapping[str, Interval]
    missing: int
    judgements: int
    bounds: tuple[float, float]


@dataclass(frozen=True)
class MtPairScore:
    """Comparisons of one model with the baseline, in percent of question turns.

    Args:
        model: who.
        wins: share of turns won; official: in both orders.
        win_rate: wins and half the ties (the published win_rate_adjusted); None where too many verdicts are missing.
        by_category: category -> the same.
        consistency: share of turns whose two orders name the same winner.
        missing: games without a verdict.
        games: all of them.
    """

    model: str
    wins: float
    win_rate: Interval | None
    by_category: Mapping[str, Interval]
    consistency: float
    missing: int
    games: int


def mt_scores(
    grades: Iterable[Grade], settings: MtRules, *, how: Bootstrap | None = None, allow_missing: bool = False
) -> list[MtScore]:
    """Score every model.

    Args:
        grades: of any models.
        settings: the mode.
        how: instead of ``settings.interval``.
        allow_missing: give a score however many grades are missing (official always does).

    Returns:
        best first.

    Raises:
        DataError: robust: a judgement stands twice.
    """
    found, how = [], how or settings.interval
    for model, own in _by_model(grades, settings).items():
        told = [grade for grade in own if grade.grade is not None]
        missing = len(own) - len(told)
        withheld = not told or (missing > TOLD * len(own) and not (allow_missing or settings.mode == "official"))
        total = sum(grade.grade or 0.0 for grade in told)
        found.append(
            MtScore(
                model,
                None if withheld else _mean(told, how),
                _grouped(told, lambda grade: grade.turn, how),
                _grouped(told, lambda grade: grade.category, how),
                missing,
                len(own),
                ((total + LOWEST * missing) / len(own), (total + HIGHEST * missing) / len(own)),
            )
        )
    return sorted(found, key=lambda score: -(score.overall.estimate if score.overall else sum(score.bounds) / 2))


def mt_pair_scores(
    games: Iterable[PairGame], settings: MtRules, *, how: Bootstrap | None = None, allow_missing: bool = False
) -> list[MtPairScore]:
    """Score every model against the baseline.

    A turn counts once, from both orders: official gives it to whom both name, or else calls it a tie; robust takes the
    mean of the orders, so that a win and a tie are three quarters.

    Args:
        games: both orders of every turn.
        settings, how, allow_missing: see `mt_scores`.

    Returns:
        best first.

    Raises:
        DataError: robust: a game stands twice.
    """
    found, how = [], how or settings.interval
    for model, own in _by_model(games, settings).items():
        turns = _turns(own)
        missing = sum(game.share is None for game in own)
        shares = np.array([_turn_share(both, settings) for _, both in turns])
        agree = [both[0].share == both[1].share for _, both in turns]
        firsts = [both[0] for _, both in turns]
        withheld = not turns or (missing > TOLD * len(own) and not (allow_missing or settings.mode == "official"))
        found.append(
            MtPairScore(
                model,
                100 * float(np.mean(shares == 1)) if turns else float("nan"),
                None if withheld else _share_interval(shares, firsts, how),
                {
                    name: _share_interval(shares[at], [firsts[i] for i in at], how)
                    for name, at in _places(firsts).items()
                },
                float(np.mean(agree)) if turns else float("nan"),
                missing,
                len(own),
            )
        )
    return sorted(found, key=lambda score: -(score.win_rate.estimate if score.win_rate else -1.0))


def _by_model(rows: Iterable[Row], settings: MtRules) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    seen: set[tuple[str, str, int, int, str]] = set()
    for row in rows:
        key = (row.model, row.question_id, row.turn, getattr(row, "game", 0), row.judge)
        if key in seen and settings.mode == "robust":
            raise DataError(
                f"turn {row.turn} of question {row.question_id} of {row.model} was judged twice by "
                f"{row.judge or 'the judge'}",
                remedy="keep one judgement: files that were appended to twice count questions twice (mode: official "
                "averages them, as published figures do)",
            )
        seen.add(key)
        found.setdefault(row.model, []).append(row)
    return found


def _mean(grades: Sequence[Grade], how: Bootstrap) -> Interval:
    return bootstrap_mean(
        [grade.grade or 0.0 for grade in grades], clusters=[grade.question_id for grade in grades], how=how
    )


def _grouped(grades: Sequence[Grade], key: Callable[[Grade], Key], how: Bootstrap) -> dict[Key, Interval]:
    groups: dict[Key, list[Grade]] = {}
    for grade in grades:
        groups.setdefault(key(grade), []).append(grade)
    return {name: _mean(own, how) for name, own in groups.items()}


def _turns(games: Sequence[PairGame]) -> list[tuple[tuple[str, int, str], list[PairGame]]]:
    """Turns of which both orders have a verdict."""
    found: dict[tuple[str, int, str], list[PairGame]] = {}
    for game in games:
        if game.share is not None:
            found.setdefault((game.question_id, game.turn, game.judge), []).append(game)
    return [(key, both) for key, both in found.items() if {game.game for game in both} == {1, 2}]


def _turn_share(both: Sequence[PairGame], settings: MtRules) -> float:
    shares = [game.share or 0.0 for game in both]
    if settings.mode == "official":
        return shares[0] if shares[0] == shares[1] else 0.5
    return float(np.mean(shares))


def _share_interval(shares: FloatColumn, games: Sequence[PairGame], how: Bootstrap) -> Interval:
    return bootstrap_mean(100 * shares, clusters=[game.question_id for game in games], how=how)


def _places(games: Sequence[PairGame]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at, game in enumerate(games):
        found.setdefault(game.category, []).append(at)
    return found
