"""Arena-Hard-Auto against published figures: win rates of real battles, and ends of published bootstraps.

Files: ``arena_battles.jsonl`` (2,136 battles against claude-3-haiku, weighted ones repeated) and
``arena_bootstrap_stats_*.jsonl`` (score, ends and all resampled values of each model).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from prefboost.evaluation.arena_hard.judging import ArenaRules, Label, compute_share
from prefboost.evaluation.arena_hard.scores import score_categories
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.statistics import Battles, fit_bradley_terry
from published_figures.oracle import Check, Oracle

BASELINE = "claude-3-haiku-20240307"
"""Every battle is against this model."""

PUBLISHED = {
    "claude-3-5-sonnet-20240620": 88.6949, "gpt-4o": 86.8231, "gpt-4o-mini": 80.0573,
    "claude-3-opus-20240229": 75.9728,
}  # fmt: skip
"""Model -> win rate in percent that upstream's maximum-likelihood Bradley-Terry gives on these battles."""

_BATTLES = "arena_battles.jsonl"
_STATS = {
    "arena_bootstrap_stats_arena_hard.jsonl": "win rates (%)",
    "arena_bootstrap_stats_20k_votes.jsonl": "ratings (points)",
}
_LABEL: dict[str, Label] = {"model_a": "A>B", "model_b": "B>A"}


def read_battles(folder: Path) -> list[JudgeVerdict]:
    """Read battles as verdicts on games that show the baseline as A.

    Upstream repeats a weighted verdict; the row number as judge keeps the repetitions apart.
    """
    return [
        JudgeVerdict(
            str(row["question_id"]),
            row["model_b"],
            "game1",
            compute_share(label, 1),
            {"category": "arena-hard-v0.1", "game": 1, "label": label},
            judge=str(at),
        )
        for at, row in enumerate(read_records(folder / _BATTLES))
        for label in [_LABEL.get(row["winner"], "A=B")]
    ]


def check_win_rates(folder: Path) -> Iterator[Check]:
    battles = read_battles(folder)
    scores = score_categories(battles, ArenaRules(version="v0.1", mode="official", baseline=BASELINE))
    figures = [figure for score in scores for figure in score.figures]
    computed = {figure.model: figure.value.estimate for figure in figures if figure.value is not None}
    yield Check("arena_hard", "win_rate (%), official mode", PUBLISHED, computed, 5e-5)
    models, shares = [battle.model for battle in battles], [battle.value or 0.0 for battle in battles]
    fitted = fit_bradley_terry(Battles(models, [BASELINE] * len(battles), shares), BASELINE)
    strengths = {model: 100 * fitted.win_rate(model) for model in PUBLISHED}
    yield Check("arena_hard", "win_rate (%), Bradley-Terry fitted", PUBLISHED, strengths, 5e-5)
    rows = list(zip(models, shares, strict=True))
    means = {name: 100 * float(np.mean([share for model, share in rows if model == name])) for name in PUBLISHED}
    yield Check("arena_hard", "win_rate (%), Bradley-Terry against the mean", means, strengths, 1e-6)


def check_interval_ends(folder: Path) -> Iterator[Check]:
    for name, what in _STATS.items():
        published, computed = dict[str, float](), dict[str, float]()
        for row in read_records(folder / name):
            low, high = np.nanquantile(np.array(row["results"], dtype=np.float64), [0.025, 0.975])
            for end, value in (("lower", low), ("upper", high)):
                published[f"{row['model']} {end}"], computed[f"{row['model']} {end}"] = float(row[end]), float(value)
        yield Check("arena_hard", f"ends of intervals of {what}", published, computed, 1e-6)


def read_records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


ARENA_ORACLES = (
    Oracle("Arena-Hard, battles", (_BATTLES,), check_win_rates),
    Oracle("Arena-Hard, bootstraps", tuple(_STATS), check_interval_ends),
)
