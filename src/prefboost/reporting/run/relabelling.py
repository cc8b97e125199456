"""Score and length of winners and losers, before and after relabelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from prefboost.preferences.likeness import count_text_words, join_contents
from prefboost.reporting.inspection import name_bins
from prefboost.reporting.plots import Axes, Plot, plot_histogram
from prefboost.reporting.run.record import RunRecord
from prefboost.reporting.sections import ReportColumn, ReportTable, Section, number_columns

__all__ = ["bin_together", "build_relabelling_section", "measure_sides", "summarise_sides"]


def build_relabelling_section(runs: Sequence[RunRecord]) -> Section | None:
    """Compare score and length of winners and losers before and after relabelling; None without goal pairs."""
    rows: list[tuple[str, ...]] = []
    plots: list[Plot] = []
    for number, run in enumerate(runs):
        for name, training in run.trainings.items():
            if training.pairs is None or "flipped" not in training.pairs.columns or not training.pairs.height:
                continue
            after = measure_sides(training.pairs)
            # A flipped row swaps back; each pair counts once, however many goals it was given.
            before = after.with_columns(
                *(pl.when("flipped").then(other).otherwise(side).alias(side)
                  for what in ("score", "words")
                  for side, other in ((f"{what}_chosen", f"{what}_rejected"), (f"{what}_rejected", f"{what}_chosen")))
            ).unique("pair_id", keep="first", maintain_order=True)  # fmt: skip
            tables = {"before": before, "after": after}
            rows += [summarise_sides(run.label(name), when, frame) for when, frame in tables.items()]
            suffix = f"-{number}-{name.replace(' ', '-')}".rstrip("-") if len(runs) > 1 or name else ""
            title = f" ({run.label(name)})" if suffix else ""
            for what, axis in (
                ("score", "score of the winning completion"),
                ("words", "words of the winning completion"),
            ):
                bins = bin_together({when: frame[f"{what}_chosen"] for when, frame in tables.items()})
                if bins:
                    heading = f"{what.capitalize()} of winners before and after relabelling{title}"
                    plots.append(plot_histogram(f"winners-{what}{suffix}", heading, bins, Axes(axis, "% of rows")))
    if not rows:
        return None
    names = ("rows", "score of winners", "of losers", "words of winners", "of losers", "the longer one wins, %")
    columns = (ReportColumn("pairs"), ReportColumn("relabelling"), *number_columns(*names))
    note = "Before: the completion with the higher score wins. After: the one whose score is nearer to the goal."
    return Section(
        "Before and after relabelling", (note,), tables=(ReportTable(columns, tuple(rows)),), plots=tuple(plots)
    )


def measure_sides(pairs: pl.DataFrame) -> pl.DataFrame:
    """Measure score and words of both sides of every row."""
    words = count_text_words(pairs.select(join_contents(side) for side in ("chosen", "rejected")))
    return pairs.select("pair_id", "flipped", "score_chosen", "score_rejected").hstack(
        words.select(pl.all().cast(pl.Float64).name.prefix("words_"))
    )


def summarise_sides(label: str, when: str, frame: pl.DataFrame) -> tuple[str, ...]:
    """Summarise measured sides in the cells of a row: counts, mean scores and words, how often the longer one wins."""

    def mean(name: str) -> str:
        value: Any = frame[name].mean()
        return "–" if value is None else f"{value:.2f}"

    longer_share: Any = frame.select((pl.col("words_chosen") > pl.col("words_rejected")).mean()).item()
    means = (mean(f"{what}_{side}") for what in ("score", "words") for side in ("chosen", "rejected"))
    return (label, when, f"{frame.height:,}", *means, f"{100 * longer_share:.0f}")


def bin_together(values: Mapping[str, pl.Series]) -> dict[str, dict[str, float]]:
    """Count the values of several series in the same ten bins, in percent of each series."""
    arrays = {name: series.drop_nulls().to_numpy() for name, series in values.items()}
    everything = np.concatenate([array[np.isfinite(array)] for array in arrays.values()])
    if not everything.size:
        return {}
    # One text of a thousand words would leave all others in the first bin.
    high = np.quantile(everything, 0.99) if everything.max() > 3 * np.quantile(everything, 0.99) else everything.max()
    edges = np.linspace(everything.min(), max(high, everything.min() + 1e-9), 11)
    counts = {name: np.histogram(np.clip(array, edges[0], edges[-1]), edges)[0] for name, array in arrays.items()}
    return {
        name: dict(zip(name_bins(edges.tolist()), (100 * count / max(1, count.sum())).tolist(), strict=True))
        for name, count in counts.items()
    }
