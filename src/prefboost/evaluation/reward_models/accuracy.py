"""Pairwise accuracy of a scorer: overall, by slices, and against always taking the longer completion.

Pairs that could not be scored (too long, refused by the chat template) are counted, never called right or wrong: above
1 % of them the accuracy is withheld, and its bounds are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from prefboost.chat import join_text
from prefboost.errors import DataError, Place
from prefboost.evaluation.benchmark import MISSING_ALLOWED, is_withheld
from prefboost.scoring.judges.verdicts import check_pairs
from prefboost.scoring.scorer import Scorer
from prefboost.settings import Settings
from prefboost.statistics import Bootstrap, Interval, bootstrap_difference, bootstrap_mean
from prefboost.statistics.calibration import Calibration, measure_calibration
from prefboost.statistics.columns import FloatColumn
from prefboost.statistics.json_form import replace_nan
from prefboost.tables import Table, aspects_of

__all__ = [
    "AccuracyReport",
    "RewardAccuracy",
    "report_accuracy",
    "measure_batch_change",
    "name_slices",
    "mark_right_pairs",
]


class RewardAccuracy(Settings):
    """Settings of the report on a scorer's pairwise accuracy."""

    ties: Literal["half", "lose"] = Field(
        "half", description="Value of a pair of equal scores: half, or nothing as in RewardBench."
    )
    length_edges: tuple[float, ...] = Field(
        (-0.5, -0.1, 0.1, 0.5),
        description="Edges of the slices by length: (chosen - rejected) / longer, in characters.",
    )
    margin_slices: int = Field(4, ge=1, description="Slices of equal size by the margin of the given scores.")
    bins: int = Field(10, ge=2, description="Ranges of the reliability curve.")
    batch_check: int = Field(
        32, ge=0, description="Pairs that are scored once more in other batches, to see whether scores stay; 0: none."
    )
    allow_missing: bool = Field(False, description="Give an accuracy however many pairs have no scores.")
    interval: Bootstrap = Field(Bootstrap(), description="Bootstrap of the intervals; prompts are drawn whole.")


@dataclass(frozen=True)
class AccuracyReport:
    """Pairwise accuracy of a scorer. Shares lie in 0..1.

    Args:
        accuracy: share of pairs whose chosen completion scores higher; None where too many have no scores.
        bounds: the share if every pair without scores was wrong, and if it was right.
        pairs: number of all pairs.
        missing: reason -> number of pairs without scores.
        ties: share of scored pairs with equal scores.
        slices: property (source, aspect, length, margin) -> slice -> accuracy there.
        longer: accuracy of always taking the longer completion.
        first: accuracy of always taking the completion that is listed first in the data; None: unknown.
        over_length: accuracy minus that of taking the longer completion, pair by pair.
        calibration: of sigmoid(score_chosen - score_rejected), as the probability of the higher-scored side.
        batch_change: greatest change of a score in other batches, in deviations of the margin.
    """

    accuracy: Interval | None
    bounds: tuple[float, float]
    pairs: int
    missing: Mapping[str, int]
    ties: float
    slices: Mapping[str, Mapping[str, Interval]]
    longer: Interval
    first: Interval | None
    over_length: Interval
    calibration: Calibration
    batch_change: float | None = field(default=None)

    def record(self) -> dict[str, Any]:
        """Return the JSON form, with null for NaN."""
        record: dict[str, Any] = replace_nan(asdict(self))
        return record

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        scored = self.pairs - sum(self.missing.values())
        yield f"pairs scored           {scored:,} of {self.pairs:,}, {self.ties:.1%} equal scores"
        low, high = self.bounds
        yield f"chosen scores higher   {self.accuracy or 'withheld'}, bounds {low:.3f} to {high:.3f}"
        yield f"taking the longer      {self.longer}; the scorer less that {self.over_length}"
        yield f"taking the first       {self.first or 'not known: the data do not say which stood first'}"
        yield f"calibration error      {self.calibration.error:.3f}, Brier {self.calibration.brier:.3f}"
        for name, slices in self.slices.items():
            for part, interval in slices.items():
                yield f"  by {name:<8} {part:<24} {interval}"
        for reason, count in self.missing.items():
            yield f"{count:,} without scores: {reason}"
        if self.accuracy is None:
            share = f"more than {MISSING_ALLOWED:.0%} of the pairs"
            yield f"note: {share} have no scores: the share is not known well enough"
        if not self.over_length.excludes(0) or self.over_length.estimate < 0:
            yield "note: it is not better than taking the longer completion"
        if self.batch_change is not None and self.batch_change > 0.01:
            yield f"note: scores depend on the batch: they move by {self.batch_change:.3f} deviations of the margin"


def report_accuracy(
    pairs: Table,
    scored: Table,
    settings: RewardAccuracy,
    *,
    chosen_first: Mapping[str, bool] | None = None,
    batch_change: float | None = None,
) -> AccuracyReport:
    """Compare a scorer's scores with the given preferences.

    Args:
        pairs: PreferencePairs with the scores and aspects of the data, which define slices.
        scored: the same pairs with the scorer's scores, without pairs that have none.
        settings: ties, slices, interval.
        chosen_first: pair_id -> True if the chosen completion is listed first in the data.
        batch_change: see `AccuracyReport`.

    Raises:
        DataError: no pair has scores, or the tables hold no pairs.
    """
    frame = _join_scores(pairs, scored)
    margin = (frame["now_chosen"] - frame["now_rejected"]).to_numpy()
    right = _mark_right(margin, settings)
    prompts = frame["prompt_id"].to_numpy()
    lengths = [np.array([len(join_text(turns)) for turns in frame[side]]) for side in ("chosen", "rejected")]
    longer_wins = _compare_sides(lengths[0] - lengths[1])
    reasons = dict(scored.rejects.select("id", "reason").iter_rows())
    scored_ids = set(frame["pair_id"])
    missing = dict(
        Counter(
            reasons.get(name, "the scorer gave no score") for name in pairs.frame["pair_id"] if name not in scored_ids
        )
    )
    unscored, total = len(pairs) - len(right), len(pairs)
    withheld = is_withheld(unscored, total, allow_missing=settings.allow_missing)

    def mean(values: FloatColumn, at: NDArray[Any]) -> Interval:
        return bootstrap_mean(values[at], clusters=prompts[at], how=settings.interval)

    # Every share of the report draws whole prompts: pairs of one prompt are not independent.
    every = np.arange(len(right))
    places = [(chosen_first or {}).get(name) for name in frame["pair_id"]]
    is_first = None if None in places else np.array(places, dtype=np.float64)
    return AccuracyReport(
        accuracy=None if withheld else mean(right, every),
        bounds=(float(right.sum()) / total, (float(right.sum()) + unscored) / total),
        pairs=total,
        missing=missing,
        ties=float(np.mean(margin == 0)),
        slices=_slice_accuracy(frame, right, lengths, settings, mean),
        longer=mean(longer_wins, every),
        first=None if is_first is None else mean(is_first, every),
        over_length=bootstrap_difference(right, longer_wins, clusters=prompts, how=settings.interval),
        # How sure the scorer is of the side it prefers: sigmoid(|margin|).
        calibration=measure_calibration(
            0.5 * (1 + np.tanh(0.5 * np.abs(margin))), _compare_sides(margin), bins=settings.bins
        ),
        batch_change=batch_change,
    )


def measure_batch_change(pairs: Table, scored: Table, scorer: Scorer, count: int) -> float | None:
    """Score some pairs again in other batches, to measure whether scores depend on the batch.

    A scorer with ``batch_tokens`` scores each text by itself; any other gets the pairs in two halves, the later first.

    Args:
        pairs: PreferencePairs; the first ``count`` are taken.
        scored: the same pairs with scores.
        scorer: the scorer that gave them.
        count: number of pairs.

    Returns:
        greatest change of a score in standard deviations of the margin; None where fewer than two pairs can be scored.
    """
    few = _take_rows(pairs, 0, count)
    if len(few) < 2:
        return None
    together = scored.frame.filter(pl.col("pair_id").is_in(few.frame["pair_id"].to_list()))
    if together.height < 2:
        return None
    if hasattr(scorer, "batch_tokens") and isinstance(scorer, Settings):
        alone = scorer.model_copy(update={"batch_tokens": 1}).score(few).frame
    else:
        middle = len(few) // 2
        halves = [_take_rows(few, middle, len(few)), _take_rows(few, 0, middle)]
        alone = pl.concat([scorer.score(half).frame for half in halves], how="diagonal_relaxed")
    names = ["score_chosen", "score_rejected"]
    # A change of scores counts by what it can do to a ranking: in deviations of the margin.
    both = together.select("pair_id", *names).join(alone.select("pair_id", *names), on="pair_id", suffix="_alone")
    change = max(float((both[name] - both[f"{name}_alone"]).abs().max() or 0) for name in names)  # type: ignore[arg-type]
    spread = float((both["score_chosen"] - both["score_rejected"]).std() or 0)  # type: ignore[arg-type]
    return change / spread if spread > 0 else change


def mark_right_pairs(pairs: Table, scored: Table, settings: RewardAccuracy) -> dict[str, float]:
    """Return pair_id -> 1 if the chosen completion scores higher, else 0; ties as set; pairs without scores are absent.

    Args:
        pairs, scored, settings: see `report_accuracy`.

    Raises:
        DataError: see `report_accuracy`.
    """
    frame = _join_scores(pairs, scored)
    right = _mark_right((frame["now_chosen"] - frame["now_rejected"]).to_numpy(), settings)
    return dict(zip(frame["pair_id"].to_list(), right.tolist(), strict=True))


def name_slices(edges: Sequence[float]) -> list[str]:
    """Name the slices between edges, in percent."""
    labels = [f"{100 * edge:+.0f}%" for edge in edges]
    return [
        f"below {labels[0]}",
        *(f"{low} to {high}" for low, high in pairwise(labels)),
        f"above {labels[-1]}",
    ]


def _join_scores(pairs: Table, scored: Table) -> pl.DataFrame:
    check_pairs(pairs, "accuracy")
    check_pairs(scored, "accuracy")
    fresh = scored.frame.select("pair_id", now_chosen="score_chosen", now_rejected="score_rejected").drop_nulls()
    frame = pairs.frame.join(fresh, on="pair_id", how="inner", maintain_order="left")
    if frame.is_empty():
        raise DataError(
            f"none of {len(pairs):,} pairs has scores", remedy="use a scorer that accepts these pairs",
            place=Place(path=pairs.path),
        )  # fmt: skip
    return frame


def _mark_right(margin: FloatColumn, settings: RewardAccuracy) -> FloatColumn:
    return _compare_sides(margin) if settings.ties == "half" else np.where(margin > 0, 1.0, 0.0)


def _compare_sides(differences: NDArray[Any]) -> FloatColumn:
    """Return 1 where the first side is ahead, 0.5 where neither is, else 0."""
    sides: FloatColumn = (1 + np.sign(differences.astype(np.float64))) / 2
    return sides


def _slice_accuracy(
    frame: pl.DataFrame,
    right: FloatColumn,
    lengths: Sequence[NDArray[Any]],
    settings: RewardAccuracy,
    mean: Callable[[FloatColumn, NDArray[Any]], Interval],
) -> dict[str, dict[str, Interval]]:
    slices: dict[str, dict[str, Interval]] = {}
    if "source" in frame.columns and frame["source"].n_unique() > 1:
        slices["source"] = _slice_by_label(np.array(frame["source"].fill_null("(none)")), right, mean)
    relative = (lengths[0] - lengths[1]) / np.maximum(1, np.maximum(*lengths))
    names = name_slices(settings.length_edges)
    at = np.array(names)[np.digitize(relative, settings.length_edges)]
    slices["length"] = _slice_by_label(at, right, mean, names)
    margins = (frame["score_chosen"] - frame["score_rejected"]).abs().to_numpy()
    if np.isfinite(margins).any():
        # Parts of about equal size, by the margin of the given scores; pairs without given scores are in none.
        edges = np.unique(np.nanquantile(margins, np.linspace(0, 1, settings.margin_slices + 1)))
        by_margin = {}
        for low, high in pairwise(edges):
            # The last slice holds its upper edge too.
            inside = (margins >= low) & (margins <= high if high == edges[-1] else margins < high)
            if inside.any():
                by_margin[f"{low:.3g} to {high:.3g}"] = mean(right, np.flatnonzero(inside))
        slices["margin"] = by_margin or {f"{edges[0]:.3g}": mean(right, np.flatnonzero(margins == edges[0]))}
    now = (frame["now_chosen"] - frame["now_rejected"]).to_numpy()
    aspects = {}
    for aspect in aspects_of(frame.columns, "score_chosen"):
        # Of the pairs that differ in the aspect: how often its better side scores higher.
        ahead = (frame[f"score_chosen.{aspect}"] - frame[f"score_rejected.{aspect}"]).to_numpy()
        differ = np.flatnonzero(np.isfinite(ahead) & (ahead != 0))
        if len(differ):
            aspects[aspect] = mean(_compare_sides(now * np.sign(np.nan_to_num(ahead))), differ)
    return {**slices, "aspect": aspects} if aspects else slices


def _slice_by_label(
    labels: NDArray[Any],
    right: FloatColumn,
    mean: Callable[[FloatColumn, NDArray[Any]], Interval],
    order: Sequence[str] | None = None,
) -> dict[str, Interval]:
    names = [name for name in order if (labels == name).any()] if order else [str(label) for label in np.unique(labels)]
    return {name: mean(right, np.flatnonzero(labels == name)) for name in names}


def _take_rows(table: Table, start: int, stop: int) -> Table:
    return Table(table.spec, table.frame.slice(start, stop - start), path=table.path)
