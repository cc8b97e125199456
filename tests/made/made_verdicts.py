"""Verdicts of made-up models, and results that name them."""

from __future__ import annotations

import numpy as np

from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.results import Figure, Results
from prefboost.statistics import Interval


def made(model: str, share: float, count: int = 30, *, sway: float = 0.0, **more: object) -> list[JudgeVerdict]:
    rng = np.random.default_rng(len(model))
    return [
        JudgeVerdict(
            f"p{at}", model, part,
            float(np.clip(share + rng.normal(0, 0.1) + (sway if part == "baseline_first" else -sway), 0, 1)),
            {"model_first": part == "model_first", "category": ("a", "b")[at % 2], "len_1": 100,
             "len_2": (40, 60, 100, 150, 300)[at % 5]},
            **more,
        )
        for at in range(count) for part in ("baseline_first", "model_first")
    ]  # fmt: skip


def results(*models: str, name: str = "win_rate", **facts: object) -> Results:
    value = Interval(50.0, 40.0, 60.0, 0.95, 60, 30)
    return Results("alpaca_eval", "robust", tuple(Figure(name, model, value, 0, 60) for model in models), facts=facts)
