"""Verdicts as one number a prompt: what paired comparisons of models are made of."""

from __future__ import annotations

from collections.abc import Iterable

from prefboost.evaluation.benchmark import JudgeVerdict

__all__ = ["prompt_means"]


def prompt_means(verdicts: Iterable[JudgeVerdict]) -> dict[str, dict[str, float]]:
    """Model -> uid of a prompt -> mean value over its orders, turns and judges.

    Args:
        verdicts: of any models. A prompt with a row that has no value is left out of that model's.
    """
    gathered: dict[str, dict[str, list[float | None]]] = {}
    for one in verdicts:
        gathered.setdefault(one.model, {}).setdefault(one.uid, []).append(one.value)
    return {
        model: {
            uid: sum(known) / len(known)
            for uid, values in its.items()
            if len(known := [value for value in values if value is not None]) == len(values)
        }
        for model, its in gathered.items()
    }
