"""Curves of a training, from the lines of its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefboost.reporting.plots import MOST_POINTS, Axes, Plot, plot_curves
from prefboost.reporting.run.outcome import state_trainings
from prefboost.reporting.run.record import RunRecord
from prefboost.reporting.sections import COLOURED, Section

__all__ = ["build_curves_section"]

_MOST_POINTS_OF_ALL = 30_000
"""Points of all curves of a page."""


@dataclass(frozen=True)
class _Figure:
    """A figure: keys of the log -> series; a key that ends in ``/`` stands for all that begin with it."""

    name: str
    title: str
    axis: str
    keys: Mapping[str, str]
    zero: bool = False

    def name_series(self, key: str) -> str | None:
        """Name the series of a key of the log; None where it belongs to another figure."""
        if key in self.keys:
            return self.keys[key] or None
        prefix = key.partition("/")[0] + "/"
        if prefix not in self.keys or "/" not in key:
            return None
        words = key.removeprefix(prefix).replace("_score", ", score").replace("_", " ")
        return words.replace(">=", " ≥ ").replace("<", " < ").replace("  ", " ")

    def plot(self, logs: Mapping[str, Sequence[Mapping[str, Any]]], most: int) -> list[Plot]:
        """Plot all logs; each in a figure of its own where one would have too many curves.

        Args:
            logs: name -> lines.
            most: points of a curve.
        """
        curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for log, lines in logs.items():
            for line in lines:
                for key, value in line.items():
                    series = self.name_series(key) if isinstance(value, int | float) else None
                    if series is not None:
                        curves.setdefault(log, {}).setdefault(series, []).append((line["step"], float(value)))
        if not curves:
            return []
        axes = Axes("optimiser step", self.axis, self.zero, whole=True)
        if sum(map(len, curves.values())) > COLOURED and len(curves) > 1:
            return [
                plot_curves(f"{self.name}-{number}", f"{self.title}: {log}", its, axes, most)
                for number, (log, its) in enumerate(curves.items(), 1)
            ]
        single = len(curves) == 1
        several = any(len(its) > 1 for its in curves.values())
        joined = {
            series if single else f"{log}: {series}" if several else log: points
            for log, its in curves.items()
            for series, points in its.items()
        }
        return [plot_curves(self.name, self.title, joined, axes, most)]


_FIGURES = (
    _Figure("loss", "Loss", "loss", {"loss": "training", "eval_loss": "evaluation"}),
    # The accuracies are a share, and drawn below.
    _Figure("margins", "Implicit rewards", "beta × log-ratio", {"rewards/": "", "rewards/accuracies": ""}),
    _Figure("accuracy", "Chosen completion has the higher reward", "share of pairs",
            {"rewards/accuracies": "all", "accuracy/": ""}, zero=True),
    _Figure("log-probs", "Log-prob of the completions", "nats per completion", {"logps/": ""}),
    _Figure("log-prob-change", "Change of the log-prob by side and score", "nats against the reference",
            {"logp_change/": ""}),
    _Figure("displacement", "Displacement on the training batches", "nats per completion",
            {"displacement/chosen": "chosen completions", "displacement/margin": "margin"}),
    _Figure("distance", "Distance on the training batches", "nats per token",
            {"displacement/chosen_token_mean": "chosen completions",
             "displacement/distance_token_mean": "both sides, absolute"}),
    _Figure("goals", "Preference within a pair, both goals", "nats against the reference",
            {"goal/followed": "turns with the goal", "goal/ignored": "the same under both goals"}),
    _Figure("kl", "KL to the reference", "nats", {"kl": "KL", "kl/": ""}),
    _Figure("speed", "Speed", "tokens per second", {"speed/tokens_per_s": "training"}, zero=True),
    _Figure("memory", "Peak memory", "GiB", {"memory/peak_gib": "peak"}, zero=True),
    _Figure("learning-rate", "Learning rate", "learning rate", {"learning_rate": "rate"}, zero=True),
)  # fmt: skip


def build_curves_section(runs: Sequence[RunRecord]) -> Section | None:
    """Build loss, margins, log-probs by bucket, KL, speed and memory over steps; None without any log.

    Args:
        runs: several are drawn into the same figures.
    """
    logs = {run.label(name): each.log for run in runs for name, each in run.trainings.items() if each.log}
    curves = sum(max(map(len, lines)) for lines in logs.values())
    # Ten runs of long logs would else be the larger part of the page's 8 MB: a point takes about 60 bytes.
    most = max(60, min(MOST_POINTS, _MOST_POINTS_OF_ALL // max(1, curves)))
    plots = [plot for figure in _FIGURES for plot in figure.plot(logs, most)]
    notes = tuple(sentence for run in runs for sentence in state_trainings(run))
    return Section("Training curves", notes, plots=tuple(plots)) if plots else None
