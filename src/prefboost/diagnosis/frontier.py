"""The frontier of score against KL: which training buys more score for the same distance from the start model.

A policy that moved further usually scores higher, until it over-optimises (arXiv 2210.10760), so that scores of two
trainings are comparable at equal KL alone. Between the points of an arm (its checkpoints, betas, learning rates) the
score is interpolated linearly in KL; beyond its last point nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import Field

from prefboost.errors import DataError, SettingsError
from prefboost.settings import Settings
from prefboost.statistics import Bootstrap, Interval
from prefboost.statistics.bootstrap import USUAL, expand_percentiles
from prefboost.statistics.json_form import replace_nan

__all__ = ["CompareFrontiers", "EqualKlLead", "FrontierReport", "PolicyPoint", "PointFigures", "measure_frontier"]

_SHARES = (0.25, 0.5, 0.75)
"""Places in the range of KL that two arms share at which they are compared, where none are named."""

_STEPS = 41
"""KLs over which the lead is averaged: the curves have corners at a handful of points, so that more change nothing."""

Array = np.ndarray
Curves = tuple[Array, Array]
"""KL and score of K points: in the data [K, 1], or in B resamples [K, B]; NaN where no seed of a point was drawn."""


class CompareFrontiers(Settings):
    """Settings of `measure_frontier`."""

    at: tuple[float, ...] = Field(
        (), description="KLs in nats at which arms are compared; none: a quarter, half and three quarters of the range "
        "that two arms share."
    )  # fmt: skip
    against: str | None = Field(None, description="The arm that the others are compared with; none: the first.")


@dataclass(frozen=True)
class PolicyPoint:
    """One trained policy.

    Args:
        arm: the way of training; points of one arm lie on one curve.
        setting: what tells the points of an arm apart: steps, beta, learning rate; equal over seeds.
        seed: of the training.
        scores: prompt_id -> mean score of its completions.
        kls: prompt_id -> estimated KL to the start model, nats per completion.
    """

    arm: str
    setting: str
    seed: int
    scores: Mapping[str, float]
    kls: Mapping[str, float]


@dataclass(frozen=True)
class PointFigures:
    """Figures of a point, over its seeds.

    Args:
        arm, setting: see `PolicyPoint`.
        seeds: trainings.
        kl: mean, nats per completion.
        score: mean.
    """

    arm: str
    setting: str
    seeds: int
    kl: Interval
    score: Interval


@dataclass(frozen=True)
class EqualKlLead:
    """Comparison of two arms at equal KL.

    Args:
        arm, against: their names.
        low, high: range of KL that both reach, nats; NaN where there is none.
        average: mean lead of ``arm`` over that range, points of score; None without a range.
        at: KL -> score of ``arm``, score of ``against``, lead; those KLs alone that both reach.
        decided: more than one training of each, so that the intervals hold the seed.
    """

    arm: str
    against: str
    low: float
    high: float
    average: Interval | None
    at: Mapping[float, tuple[Interval, Interval, Interval]]
    decided: bool

    def name_verdict(self, lead: Interval) -> str:
        """Say in a word what a lead shows: ahead, behind, or undecided."""
        if not self.decided:
            return "undecided (one seed)"
        return ("ahead" if lead.estimate > 0 else "behind") if lead.excludes(0.0) else "undecided"

    def lines(self) -> Iterator[str]:
        """Yield the comparison, line by line."""
        if self.average is None:
            yield f"{self.arm} and {self.against} reach no common KL: no comparison"
            return
        yield f"{self.arm} less {self.against} at equal KL:"
        for kl, (ours, theirs, lead) in self.at.items():
            scores = f"{ours.estimate:.2f} less {theirs.estimate:.2f}"
            yield f"  at {kl:g} nats: {scores}, {lead.format(signed=True)}: {self.name_verdict(lead)}"
        mean = f"{self.average.format(signed=True)}: {self.name_verdict(self.average)}"
        yield f"  on average from {self.low:.2g} to {self.high:.2g} nats: {mean}"


@dataclass(frozen=True)
class FrontierReport:
    """Report of `measure_frontier`.

    Args:
        points: figures of every point, arm by arm, in rising KL.
        start: mean score of the start model; None where it was not measured.
        leads: every other arm against one.
        prompts: that all points have.
        left_out: prompts that some point lacks.
        seeds: trainings of an arm at most.
    """

    points: tuple[PointFigures, ...]
    start: Interval | None
    leads: tuple[EqualKlLead, ...]
    prompts: int
    left_out: int
    seeds: int

    def record(self) -> dict[str, Any]:
        """Return the JSON form; unknown ends of intervals are null."""
        values: dict[str, Any] = replace_nan(asdict(self))
        for lead, each in zip(values["leads"], self.leads, strict=True):
            lead["verdict"] = None if each.average is None else each.name_verdict(each.average)
        return values

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        over = f"{self.seeds} seeds and {self.prompts:,} prompts" if self.seeds > 1 else f"{self.prompts:,} prompts"
        yield f"score against KL to the start model; 95 % intervals over {over}"
        width = max(len(f"{point.arm}, {point.setting}") for point in self.points)
        if self.start is not None:
            yield f"  {'start model':<{width}}  score {self.start.format()}"
        for point in self.points:
            name = f"{point.arm}, {point.setting}"
            seeds = "" if self.seeds == 1 else f"  ({point.seeds} seeds)"
            yield f"  {name:<{width}}  KL {point.kl.format()} nats, score {point.score.format()}{seeds}"
        for lead in self.leads:
            yield from lead.lines()
        if self.seeds == 1:
            yield "one training per setting: the intervals do not hold what another seed would change"
        if self.left_out:
            yield f"{self.left_out:,} prompts left out: not every policy has a score and a KL there"


def measure_frontier(
    points: Sequence[PolicyPoint],
    start: Mapping[str, float] | None = None,
    settings: CompareFrontiers | None = None,
    how: Bootstrap = USUAL,
) -> FrontierReport:
    """Measure score against KL of several arms, and compare them at equal KL.

    Intervals draw prompts, the same for all arms, and where an arm was trained more than once seeds as well, each
    independently of the other (`prefboost.statistics.bootstrap_crossed`); KL, score and the interpolation between
    them are computed anew in every resample.

    Args:
        points: of all arms; those of one arm that differ in the seed alone have one ``setting``.
        start: prompt_id -> score of the start model, the point of KL 0 that all arms share; None: it is not known.
        settings: where, and against which arm.
        how: resamples, level, seed.

    Raises:
        DataError: there are no points, or no prompt that all of them have.
        SettingsError: the arm to compare with is not among them.
    """
    settings = settings or CompareFrontiers()
    sample = _Sample.draw(points, start, how)
    origin = None if start is None else sample.average_rows(np.array([start[prompt] for prompt in sample.prompts]))
    arms = {point.arm: None for point in points}
    if settings.against is not None and settings.against not in arms:
        raise SettingsError(f"there is no arm {settings.against!r}", remedy=f"one of: {', '.join(arms)}")
    base = settings.against or next(iter(arms))
    grouped: dict[str, dict[str, list[PolicyPoint]]] = {arm: {} for arm in arms}
    for point in points:
        grouped[point.arm].setdefault(point.setting, []).append(point)
    figures: list[PointFigures] = []
    curves: dict[str, tuple[Curves, Curves]] = {}
    for arm, by_setting in grouped.items():
        kls, scores = [], []
        for setting, each in by_setting.items():
            kls.append(sample.average(each, "kls"))
            scores.append(sample.average(each, "scores"))
            intervals = (sample.build_interval(*part, len(each)) for part in (kls[-1], scores[-1]))
            figures.append(PointFigures(arm, setting, len(each), *intervals))
        if origin is not None:
            # The start model is the point of every curve at which nothing has been trained.
            # Without any training of the arm a resample has no curve, and so no such point either.
            has_none = np.isnan([draws for _, draws in kls]).all(0)
            kls.append((0.0, np.where(has_none, np.nan, 0.0)))
            scores.append(origin)
        in_data = (np.array([[estimate] for estimate, _ in each]) for each in (kls, scores))
        resampled = (np.array([draws for _, draws in each]) for each in (kls, scores))
        curves[arm] = (next(in_data), next(in_data)), (next(resampled), next(resampled))
    seeds = {arm: len({point.seed for point in points if point.arm == arm}) for arm in arms}
    leads = [
        _compare((arm, base), curves, settings.at, sample, trained=min(seeds[arm], seeds[base]))
        for arm in arms
        if arm != base
    ]
    order = sorted(figures, key=lambda each: ([*arms].index(each.arm), each.kl.estimate))
    first = None if origin is None else sample.build_interval(*origin, 1)
    return FrontierReport(tuple(order), first, tuple(leads), len(sample.prompts), sample.left_out, max(seeds.values()))


@dataclass(frozen=True)
class _Sample:
    """The prompts that all points have, and B resamples of prompts and seeds.

    Args:
        prompts: P ids.
        left_out: prompts that some point lacks.
        seeds: all seeds of any point.
        prompt_counts: [B, P], how often a resample has a prompt.
        seed_counts: seed -> [B]; ones where there is one seed, of which nothing can be drawn.
        how: of the bootstrap.
    """

    prompts: Sequence[str]
    left_out: int
    seeds: Sequence[int]
    prompt_counts: Array
    seed_counts: Mapping[int, Array]
    how: Bootstrap = field(default=USUAL)

    @classmethod
    def draw(cls, points: Sequence[PolicyPoint], start: Mapping[str, float] | None, how: Bootstrap) -> _Sample:
        """Draw the resamples."""
        parts = [{*point.scores} & {*point.kls} for point in points] + ([] if start is None else [{*start}])
        prompts = sorted(set.intersection(*parts)) if points else []
        if not prompts:
            raise DataError(
                "no prompt has a score and a KL for every policy",
                remedy="score completions of the same held-out prompts for all of them",
            )
        rng, count = np.random.default_rng(how.seed), len(prompts)
        prompt_counts = rng.multinomial(count, np.full(count, 1 / count), size=how.resamples)
        seeds = sorted({point.seed for point in points})
        drawn = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=how.resamples)
        return cls(
            prompts,
            len(set.union(*parts)) - count,
            seeds,
            prompt_counts.astype(float),
            dict(zip(seeds, drawn.T, strict=True)),
            how,
        )

    def average_rows(self, values: Array) -> tuple[float, Array]:
        """Average values of all prompts [P]: in the data, and in every resample [B]."""
        return float(values.mean()), self.prompt_counts @ values / len(self.prompts)

    def average(self, points: Sequence[PolicyPoint], name: str) -> tuple[float, Array]:
        """Average a measure over the seeds of a setting; NaN where a resample has none of them."""
        rows = [
            self.average_rows(np.array([getattr(point, name)[prompt] for prompt in self.prompts])) for point in points
        ]
        weights = np.array([self.seed_counts[point.seed] for point in points], dtype=float)
        total = weights.sum(0)
        means = np.array([resampled for _, resampled in rows])
        # Settings that were tried with one seed are absent from the resamples without it.
        resampled = np.divide((weights * means).sum(0), total, out=np.full(len(total), np.nan), where=total > 0)
        return float(np.mean([mean for mean, _ in rows])), resampled

    def build_interval(self, estimate: float, resampled: Array, trained: int) -> Interval:
        """Build the interval of a figure that rests on so many trainings."""
        # Few seeds, not many prompts, make percentiles too narrow; a single one cannot be drawn from.
        clusters = trained if len(self.seeds) > 1 and trained > 1 else len(self.prompts)
        low, high = expand_percentiles(resampled, clusters, self.how.level)
        return Interval(estimate, low, high, self.how.level, rows=trained * len(self.prompts), clusters=clusters)


def _compare(
    pair: tuple[str, str],
    curves: Mapping[str, tuple[Curves, Curves]],
    at: Sequence[float],
    sample: _Sample,
    *,
    trained: int,
) -> EqualKlLead:
    """Compare two arms over the KLs that both reach; each has at least ``trained`` seeds."""
    arm, base = pair
    decided = trained > 1
    reached = [curves[name][0][0] for name in (arm, base)]
    low, high = max(kls.min() for kls in reached), min(kls.max() for kls in reached)
    if not low < high:
        return EqualKlLead(arm, base, float("nan"), float("nan"), None, {}, decided)
    # Two digits: a KL that was chosen for being round is compared with as little rounding as any.
    chosen = at or [float(f"{low + (high - low) * share:.2g}") for share in _SHARES]

    def measure(read: Callable[[Curves], Array]) -> tuple[Interval, Interval, Interval]:
        ours, theirs = ([read(part) for part in curves[name]] for name in (arm, base))
        parts = (ours, theirs, [first - second for first, second in zip(ours, theirs, strict=True)])
        intervals = [sample.build_interval(float(data[0]), resampled, trained) for data, resampled in parts]
        return intervals[0], intervals[1], intervals[2]

    grid = np.linspace(low, high, _STEPS)
    return EqualKlLead(
        arm,
        base,
        float(low),
        float(high),
        measure(lambda part: _interpolate(part, grid).mean(0))[2],
        {
            float(kl): measure(lambda part, kl=kl: _interpolate(part, np.array([kl]))[0])  # type: ignore[misc]
            for kl in chosen
            if low <= kl <= high
        },
        decided,
    )


def _interpolate(curves: Curves, kls: Array) -> Array:
    """Interpolate the score at some KLs [T]: [T, B]."""
    columns = []
    for kl, score in zip(*(part.T for part in curves), strict=True):
        present = ~np.isnan(kl)
        order = np.argsort(kl[present], kind="stable")
        # The last point of a resample may lie a little below the one of the data: its score is held there.
        columns.append(np.interp(kls, kl[present][order], score[present][order]) if order.size else kls * np.nan)
    return np.array(columns).T
