"""Scores of MT-Bench: mean grade over turns and by category, and win rate against a baseline.

official: as `show_result.py` does it, failed judgements left out and repeated rows averaged in. robust: no row twice, a
failed judgement is counted and withholds the score above 1 %. Intervals of both draw whole questions: both turns of a
question share its difficulty, and drawing single rows gives errors a fifth too small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from prefboost.evaluation.benchmark import JudgeVerdict, check_judged_once, is_withheld
from prefboost.evaluation.mt_bench.judging import MtRules, read_mt_facts
from prefboost.evaluation.results import Figure
from prefboost.statistics import Interval, bootstrap_mean

__all__ = ["score_grades", "score_pairs"]

Row = TypeVar("Row")
Key = TypeVar("Key")

LOWEST, HIGHEST = 1.0, 10.0
"""Ends of the judge's scale."""


def score_grades(verdicts: Iterable[JudgeVerdict], rules: MtRules, *, allow_missing: bool = False) -> list[Figure]:
    """Compute the mean grade of every model: over all turns, per turn and per category.

    Args:
        verdicts: grades of any models.
        rules: mode and interval.
        allow_missing: give a score however many grades are missing; the official mode always does.

    Returns:
        figures in points, 1 to 10; best model first, its overall score before its parts.

    Raises:
        DataError: robust: a turn was judged twice.
    """
    scores = []
    for model, group in _group_by_model(verdicts, rules).items():
        graded = [verdict for verdict in group if verdict.value is not None]
        missing = len(group) - len(graded)
        withheld = is_withheld(missing, len(group), allow_missing=allow_missing or rules.mode == "official")
        total = sum(verdict.value or 0.0 for verdict in graded)
        bounds = ((total + LOWEST * missing) / len(group), (total + HIGHEST * missing) / len(group))
        value = None if withheld else _average_grades(graded, rules)
        overall = Figure("score", model, value, missing, len(group), bounds=bounds, unit="points")
        turns = _group_by(graded, lambda verdict: read_mt_facts(verdict)["turn"])
        parts = {f"turn {turn}": turns[turn] for turn in sorted(turns)}
        parts |= _group_by(graded, lambda verdict: read_mt_facts(verdict)["category"])
        figures = [overall]
        for name, rows in parts.items():
            mean = _average_grades(rows, rules)
            figures.append(Figure("score", model, mean, 0, mean.rows, group=name, unit="points"))
        scores.append(figures)
    scores.sort(key=lambda figures: figures[0].rank, reverse=True)
    return [figure for figures in scores for figure in figures]


def score_pairs(verdicts: Iterable[JudgeVerdict], rules: MtRules, *, allow_missing: bool = False) -> list[Figure]:
    """Compute the win rate of every model against the baseline, over all turns and per category.

    A turn counts once, from both orders. The official mode gives it to the side that both orders name, and else calls
    it a tie; the robust mode takes the mean of both orders, so a win and a tie are three quarters.

    Args:
        verdicts: both orders of every turn.
        rules, allow_missing: see `score_grades`.

    Returns:
        figures in percent (FastChat's win_rate_adjusted); best model first.

    Raises:
        DataError: robust: a game was judged twice.
    """
    scores = []
    for model, group in _group_by_model(verdicts, rules).items():
        judged = [verdict for verdict in group if verdict.value is not None]
        by_turn = _group_by(judged, lambda verdict: (verdict.uid, read_mt_facts(verdict)["turn"], verdict.judge))
        # A single order would let the preference of the judge for a place into the win rate.
        turns = [orders for orders in by_turn.values() if {verdict.facts["game"] for verdict in orders} == {1, 2}]
        missing = sum(verdict.value is None for verdict in group)
        allowed = allow_missing or rules.mode == "official"
        # Single verdicts may remain although no turn has both orders.
        withheld = not turns or is_withheld(missing, len(group), allow_missing=allowed)
        shares = [_share_of_turn(orders, rules) for orders in turns]
        agree = [orders[0].value == orders[1].value for orders in turns]
        wins = 100 * float(np.mean([share == 1 for share in shares])) if turns else float("nan")
        consistency = float(np.mean(agree)) if turns else float("nan")
        note = f"won {wins:.1f} % of turns; both orders agree on {consistency:.0%}"
        value = None if withheld else _average_shares(shares, turns, rules)
        figures = [Figure("win_rate", model, value, missing, len(group), note=note)]
        for category, rows in _group_by(turns, lambda orders: read_mt_facts(orders[0])["category"]).items():
            part = _average_shares([_share_of_turn(orders, rules) for orders in rows], rows, rules)
            figures.append(Figure("win_rate", model, part, 0, part.rows, group=category))
        scores.append(figures)
    scores.sort(key=lambda figures: figures[0].rank, reverse=True)
    return [figure for figures in scores for figure in figures]


def _group_by_model(verdicts: Iterable[JudgeVerdict], rules: MtRules) -> dict[str, list[JudgeVerdict]]:
    groups = _group_by(list(verdicts), lambda verdict: verdict.model)
    if rules.mode == "robust":
        for group in groups.values():
            check_judged_once(
                group,
                "keep one judgement: files that were appended to twice count questions twice (mode: official averages "
                "them, as published figures do)",
            )
    return groups


def _group_by(rows: Sequence[Row], get_key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(get_key(row), []).append(row)
    return groups


def _share_of_turn(orders: Sequence[JudgeVerdict], rules: MtRules) -> float:
    shares = [verdict.value or 0.0 for verdict in orders]
    if rules.mode == "official":
        return shares[0] if shares[0] == shares[1] else 0.5
    return float(np.mean(shares))


def _average_grades(verdicts: Sequence[JudgeVerdict], rules: MtRules) -> Interval:
    grades = [verdict.value or 0.0 for verdict in verdicts]
    return bootstrap_mean(grades, clusters=[verdict.uid for verdict in verdicts], how=rules.interval)


def _average_shares(shares: Sequence[float], turns: Sequence[Sequence[JudgeVerdict]], rules: MtRules) -> Interval:
    uids = [orders[0].uid for orders in turns]
    return bootstrap_mean(100 * np.array(shares), clusters=uids, how=rules.interval)
