"""How often a scorer puts the preferred completion first, where it does, and what length alone would reach.

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
from prefboost.scoring.scorer import Scorer
from prefboost.settings import Settings
from prefboost.statistics import Bootstrap, Interval, bootstrap_difference, bootstrap_mean
from prefboost.statistics.calibration import Calibration, measure_calibration
from prefboost.statistics.columns import FloatColumn
from prefboost.tables import PREFERENCE_PAIRS, Table, aspects_of

__all__ = ["AccuracyReport", "RewardAccuracy", "accuracy_report", "batch_difference", "bucket_names", "rights_of"]

TOLD = 0.01
"""Share of pairs without scores above which an accuracy is withheld."""


class RewardAccuracy(Settings):
    """How a scorer's pairwise accuracy is reported."""

    ties: Literal["half", "lose"] = Field(
        "half", description="What a pair of equal scores counts: half, or nothing as in RewardBench."
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
    interval: Bootstrap = Field(Bootstrap(), description="How intervals are drawn; prompts are drawn whole.")


@dataclass(frozen=True)
class AccuracyReport:
    """What was found. Shares lie in 0..1.

    Args:
        accuracy: share of pairs whose chosen completion scores higher; None where too many have no scores.
        bounds: the share if every pair without scores was wrong, and if it was right.
        pairs: all of them.
        missing: reason -> pairs without scores.
        ties: share of scored pairs with equal scores.
        slices: what was sliced by (source, aspect, length, margin) -> slice -> accuracy there.
        longer: what always taking the longer completion reaches.
        first: what always taking the completion that stands first in the data reaches; None: not known.
        over_length: accuracy less that of taking the longer one, pair by pair.
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
        """As JSON takes it: null for what is not known."""
        found: dict[str, Any] = _known(asdict(self))
        return found

    def lines(self) -> Iterator[str]:
        """As it is printed."""
        scored = self.pairs - sum(self.missing.values())
        yield f"pairs scored           {scored:,} of {self.pairs:,}, {self.ties:.1%} equal scores"
        low, high = self.bounds
        yield f"chosen scores higher   {self.accuracy or 'withheld'}, bounds {low:.3f} to {high:.3f}"
        yield f"taking the longer      {self.longer}; the scorer less that {self.over_length}"
        yield f"taking the first       {self.first or 'not known: the data do not say which stood first'}"
        yield f"calibration error      {self.calibration.error:.3f}, Brier {self.calibration.brier:.3f}"
        for name, slices in self.slices.items():
            for one, interval in slices.items():
                yield f"  by {name:<8} {one:<24} {interval}"
        for reason, count in self.missing.items():
            yield f"{count:,} without scores: {reason}"
        if self.accuracy is None:
            yield f"note: more than {TOLD:.0%} of the pairs have no scores: the share is not known well enough"
        if not self.over_length.excludes(0) or self.over_length.estimate < 0:
            yield "note: it is not better than taking the longer completion"
        if self.batch_change is not None and self.batch_change > 0.01:
            yield f"note: scores depend on the batch: they move by {self.batch_change:.3f} deviations of the margin"


def accuracy_report(
    pairs: Table,
    scored: Table,
    settings: RewardAccuracy,
    *,
    chosen_first: Mapping[str, bool] | None = None,
    batch_change: float | None = None,
) -> AccuracyReport:
    """Hold a scorer's scores against the given preferences.

    Args:
        pairs: PreferencePairs as they were read; their own scores and aspects are what is sliced by.
        scored: the same with the scorer's scores, rows without scores left out.
        settings: ties, slices, interval.
        chosen_first: pair_id -> whether the chosen completion stood first in the data.
        batch_change: see `AccuracyReport`.

    Raises:
        DataError: no pair has scores, or the tables hold no pairs.
    """
    frame = _joined(pairs, scored)
    margin = (frame["now_chosen"] - frame["now_rejected"]).to_numpy()
    right = _right(margin, settings)
    prompts = frame["prompt_id"].to_numpy()
    lengths = [np.array([len(join_text(one)) for one in frame[side]]) for side in ("chosen", "rejected")]
    longer = _sides(lengths[0] - lengths[1])
    missing = _missing(pairs, scored)
    unscored, total = len(pairs) - len(right), len(pairs)
    withheld = unscored > TOLD * total and not settings.allow_missing

    def mean(values: FloatColumn, at: NDArray[Any]) -> Interval:
        return bootstrap_mean(values[at], clusters=prompts[at], how=settings.interval)

    every = np.arange(len(right))
    return AccuracyReport(
        accuracy=None if withheld else mean(right, every),
        bounds=(float(right.sum()) / total, (float(right.sum()) + unscored) / total),
        pairs=total,
        missing=missing,
        ties=float(np.mean(margin == 0)),
        slices=_slices(frame, right, lengths, settings, mean),
        longer=mean(longer, every),
        first=_first(frame, chosen_first, mean),
        over_length=bootstrap_difference(right, longer, clusters=prompts, how=settings.interval),
        calibration=_reliability(margin, settings.bins),
        batch_change=batch_change,
    )


def batch_difference(pairs: Table, scored: Table, scorer: Scorer, count: int) -> float | None:
    """Whether scores depend on what is computed beside them: some pairs once more, in other batches.

    A scorer with ``batch_tokens`` scores each text by itself; any other gets the pairs in two halves, the later first.

    Args:
        pairs: PreferencePairs; the first ``count`` are taken.
        scored: the same with scores.
        scorer: who gave them.
        count: how many.

    Returns:
        greatest change of a score in standard deviations of the margin; None where fewer than two pairs can be scored.
    """
    few = _rows(pairs, 0, count)
    if len(few) < 2:
        return None
    together = scored.frame.filter(pl.col("pair_id").is_in(few.frame["pair_id"].to_list()))
    if together.height < 2:
        return None
    if hasattr(scorer, "batch_tokens") and isinstance(scorer, Settings):
        alone = scorer.model_copy(update={"batch_tokens": 1}).score(few).frame
    else:
        middle = len(few) // 2
        halves = [_rows(few, middle, len(few)), _rows(few, 0, middle)]
        alone = pl.concat([scorer.score(half).frame for half in halves], how="diagonal_relaxed")
    names = ["score_chosen", "score_rejected"]
    both = together.select("pair_id", *names).join(alone.select("pair_id", *names), on="pair_id", suffix="_alone")
    change = max(float((both[name] - both[f"{name}_alone"]).abs().max() or 0) for name in names)  # type: ignore[arg-type]
    spread = float((both["score_chosen"] - both["score_rejected"]).std() or 0)  # type: ignore[arg-type]
    return change / spread if spread > 0 else change


def rights_of(pairs: Table, scored: Table, settings: RewardAccuracy) -> dict[str, float]:
    """pair_id -> 1 where the chosen completion scores higher, 0 where not, ties as set; pairs without scores left out.

    Args:
        pairs, scored, settings: see `accuracy_report`.

    Raises:
        DataError: see `accuracy_report`.
    """
    frame = _joined(pairs, scored)
    right = _right((frame["now_chosen"] - frame["now_rejected"]).to_numpy(), settings)
    return dict(zip(frame["pair_id"].to_list(), right.tolist(), strict=True))


def bucket_names(edges: Sequence[float]) -> list[str]:
    """Names of the slices that edges make, in percent."""
    shown = [f"{100 * edge:+.0f}%" for edge in edges]
    return [
        f"below {shown[0]}",
        *(f"{low} to {high}" for low, high in pairwise(shown)),
        f"above {shown[-1]}",
    ]


def _joined(pairs: Table, scored: Table) -> pl.DataFrame:
    if pairs.spec is not PREFERENCE_PAIRS or scored.spec is not PREFERENCE_PAIRS:
        raise DataError(
            f"accuracy is that of PreferencePairs, found {pairs.spec.name}",
            remedy="give a file of pairs, or pair the completions first",
            place=Place(path=pairs.path),
        )
    fresh = scored.frame.select("pair_id", now_chosen="score_chosen", now_rejected="score_rejected").drop_nulls()
    frame = pairs.frame.join(fresh, on="pair_id", how="inner", maintain_order="left")
    if frame.is_empty():
        raise DataError(
            f"none of {len(pairs):,} pairs has scores", remedy="give a scorer that takes these pairs",
            place=Place(path=pairs.path),
        )  # fmt: skip
    return frame


def _missing(pairs: Table, scored: Table) -> dict[str, int]:
    known = set(scored.frame.drop_nulls(["score_chosen", "score_rejected"])["pair_id"])
    gone = set(pairs.frame["pair_id"]) - known
    reasons = dict(scored.rejects.filter(pl.col("id").is_in(list(gone))).select("id", "reason").iter_rows())
    return dict(
        Counter(reasons.get(name, "the scorer gave no score") for name in pairs.frame["pair_id"] if name in gone)
    )


def _right(margin: FloatColumn, settings: RewardAccuracy) -> FloatColumn:
    found = _sides(margin)
    return found if settings.ties == "half" else np.where(margin > 0, 1.0, 0.0)


def _sides(differences: NDArray[Any]) -> FloatColumn:
    """1 where the first is ahead, 0.5 where neither is."""
    sides: FloatColumn = (1 + np.sign(differences.astype(np.float64))) / 2
    return sides


def _slices(
    frame: pl.DataFrame,
    right: FloatColumn,
    lengths: Sequence[NDArray[Any]],
    settings: RewardAccuracy,
    mean: Callable[[FloatColumn, NDArray[Any]], Interval],
) -> dict[str, dict[str, Interval]]:
    found: dict[str, dict[str, Interval]] = {}
    if "source" in frame.columns and frame["source"].n_unique() > 1:
        found["source"] = _by_label(np.array(frame["source"].fill_null("(none)")), right, mean)
    relative = (lengths[0] - lengths[1]) / np.maximum(1, np.maximum(*lengths))
    names = bucket_names(settings.length_edges)
    at = np.array(names)[np.digitize(relative, settings.length_edges)]
    found["length"] = _by_label(at, right, mean, names)
    given = (frame["score_chosen"] - frame["score_rejected"]).abs().to_numpy()
    if np.isfinite(given).any():
        found["margin"] = _by_margin(given, right, settings.margin_slices, mean)
    aspects = {name: _by_aspect(frame, name, mean) for name in aspects_of(frame.columns, "score_chosen")}
    told = {name: interval for name, interval in aspects.items() if interval is not None}
    return {**found, "aspect": told} if told else found


def _by_label(
    labels: NDArray[Any],
    right: FloatColumn,
    mean: Callable[[FloatColumn, NDArray[Any]], Interval],
    order: Sequence[str] | None = None,
) -> dict[str, Interval]:
    names = [name for name in order if (labels == name).any()] if order else [str(one) for one in np.unique(labels)]
    return {name: mean(right, np.flatnonzero(labels == name)) for name in names}


def _by_margin(
    given: FloatColumn, right: FloatColumn, slices: int, mean: Callable[[FloatColumn, NDArray[Any]], Interval]
) -> dict[str, Interval]:
    """Slices of about equal size; pairs without given scores are in none."""
    edges = np.unique(np.nanquantile(given, np.linspace(0, 1, slices + 1)))
    found = {}
    for low, high in pairwise(edges):
        inside = (given >= low) & ((given < high) | ((high == edges[-1]) & (given == high)))
        if inside.any():
            found[f"{low:.3g} to {high:.3g}"] = mean(right, np.flatnonzero(inside))
    return found or {f"{edges[0]:.3g}": mean(right, np.flatnonzero(given == edges[0]))}


def _by_aspect(
    frame: pl.DataFrame, aspect: str, mean: Callable[[FloatColumn, NDArray[Any]], Interval]
) -> Interval | None:
    """Share of pairs that differ in an aspect whose better side in it scores higher."""
    ahead = (frame[f"score_chosen.{aspect}"] - frame[f"score_rejected.{aspect}"]).to_numpy()
    differ = np.flatnonzero(np.isfinite(ahead) & (ahead != 0))
    margin = (frame["now_chosen"] - frame["now_rejected"]).to_numpy()
    return mean(_sides(margin * np.sign(np.nan_to_num(ahead))), differ) if len(differ) else None


def _first(
    frame: pl.DataFrame,
    chosen_first: Mapping[str, bool] | None,
    mean: Callable[[FloatColumn, NDArray[Any]], Interval],
) -> Interval | None:
    if not chosen_first or any(name not in chosen_first for name in frame["pair_id"]):
        return None
    stood = np.array([float(chosen_first[name]) for name in frame["pair_id"]])
    return mean(stood, np.arange(len(stood)))


def _reliability(margin: FloatColumn, bins: int) -> Calibration:
    sure = 0.5 * (1 + np.tanh(0.5 * np.abs(margin)))
    return measure_calibration(sure, _sides(margin), bins=bins)


def _rows(table: Table, start: int, stop: int) -> Table:
    return Table(table.spec, table.frame.slice(start, stop - start), path=table.path)


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _known(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_known(inner) for inner in value]
    return None if isinstance(value, float) and np.isnan(value) else value
