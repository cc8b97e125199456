"""Verdicts as one number per prompt, from which models are compared in pairs."""

from __future__ import annotations

from collections.abc import Iterable

from prefboost.evaluation.benchmark import JudgeVerdict

__all__ = ["average_by_prompt"]


def average_by_prompt(verdicts: Iterable[JudgeVerdict]) -> dict[str, dict[str, float]]:
    """Compute model -> uid of a prompt -> mean value over its orders, turns and judges.

    Args:
        verdicts: verdicts on any models. A prompt with a row that has no value is left out of that model's means.
    """
    rows: dict[str, dict[str, list[float | None]]] = {}
    for verdict in verdicts:
        rows.setdefault(verdict.model, {}).setdefault(verdict.uid, []).append(verdict.value)
    means: dict[str, dict[str, float]] = {model: {} for model in rows}
    for model, prompts in rows.items():
        for uid, values in prompts.items():
            present = [value for value in values if value is not None]
            # The mean of the remaining order alone would be biased by its place.
            if len(present) == len(values):
                means[model][uid] = sum(present) / len(present)
    return means
