"""Figures printed with every judged set: does the judge agree with itself, and what sways it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from prefboost.errors import DataError, Place
from prefboost.statistics import (
    Bootstrap,
    Interval,
    LengthBias,
    bootstrap_mean,
    cohens_kappa,
    measure_agreement,
    measure_first_place_share,
    measure_length_bias,
)
from prefboost.statistics.bootstrap import USUAL
from prefboost.statistics.json_form import replace_nan
from prefboost.tables import VERDICTS, Table

__all__ = ["JudgeFigures", "judge_figures", "read_verdict_numbers"]

_TRUSTED = 0.7
"""Agreement between orders below which verdicts say little (evaluation practice since arXiv 2306.05685)."""

_FIRM = 0.5
"""Mean probability of all verdicts below which a judge mostly wants to say something else."""


@dataclass(frozen=True)
class JudgeFigures:
    """Figures of a judged set. Intervals draw prompts, not rows.

    Args:
        pairs: how many were judged in both orders.
        ties: share of verdicts that are ties.
        order_agreement: share of pairs whose two verdicts name the same side (a tie both times included).
        order_kappa: Cohen's, of the same; NaN where all verdicts are one and the same.
        first_wins: share of wins of the side shown first, ties half: 0.5 without position bias.
        length: how far verdicts, of both orders together, follow length in characters.
        with_labels: share of verdicts for the side that the data call chosen, ties half.
        label_kappa: Cohen's, between the verdict and the place of that side.
        label_mass: probability of all verdicts together, mean and least; None where verdicts were read in words.
    """

    pairs: int
    ties: float
    order_agreement: Interval
    order_kappa: float
    first_wins: Interval
    length: LengthBias
    with_labels: Interval
    label_kappa: float
    label_mass: tuple[float, float] | None = None

    def record(self) -> dict[str, Any]:
        """Build the JSON record: null for what is not known."""
        figures: dict[str, Any] = replace_nan(asdict(self))
        mass = figures.pop("label_mass")
        return figures if mass is None else {**figures, "label_mass": {"mean": mass[0], "least": mass[1]}}

    def lines(self) -> Iterator[str]:
        """Yield the printed lines."""
        longer_wins = "no pair differs in length" if self.length.longer_wins is None else str(self.length.longer_wins)
        yield f"pairs judged           {self.pairs:,} in both orders, {self.ties:.1%} ties"
        yield f"agreement of orders    {self.order_agreement}, kappa {self.order_kappa:.2f}"
        yield f"first place wins       {self.first_wins}"
        yield (
            f"longer side wins       {longer_wins}, correlation {self.length.correlation:.2f}, "
            f"{self.length.per_deviation:+.2f} a standard deviation"
        )
        yield f"agrees with labels     {self.with_labels}, kappa {self.label_kappa:.2f}"
        if self.label_mass is not None:
            mean, least = self.label_mass
            yield f"probability of verdicts {mean:.3f}, least {least:.3f}"
            if mean < _FIRM:
                yield f"note: below {_FIRM:.0%}, the judge would often say something else than a verdict"
        if self.order_agreement.estimate < _TRUSTED:
            yield f"note: below {_TRUSTED:.0%} agreement between orders, verdicts say more of the order than of merit"
        if self.first_wins.excludes(0.5):
            yield "note: the place in which a completion is shown sways this judge; both orders together cancel it"


def judge_figures(verdicts: Table, how: Bootstrap = USUAL) -> JudgeFigures:
    """Compute the figures of a judged set.

    Args:
        verdicts: Verdicts.
        how: resamples, level, seed of the intervals.

    Raises:
        DataError: the table holds no verdicts.
    """
    if verdicts.spec is not VERDICTS or not len(verdicts):
        raise DataError(
            f"figures of a judge need Verdicts, found {len(verdicts):,} rows of {verdicts.spec.name}",
            remedy="judge some pairs first",
            place=Place(path=verdicts.path),
        )
    frame = read_verdict_numbers(verdicts)
    by_side = frame.select("pair_id", "chosen_first", "prompt_id", "chosen_won", "longer").sort("pair_id")
    chosen_first, rejected_first = by_side.filter("chosen_first"), by_side.filter(~pl.col("chosen_first"))
    sides = (pl.Series(each["chosen_won"] * 2, dtype=pl.Int8).to_list() for each in (chosen_first, rejected_first))
    winners = tuple(sides)
    both = (chosen_first["chosen_won"].to_numpy(), rejected_first["chosen_won"].to_numpy())
    prompts, pair_prompts = frame["prompt_id"].to_numpy(), chosen_first["prompt_id"].to_numpy()
    masses = frame["label_mass"].drop_nulls().to_list() if "label_mass" in frame.columns else []
    return JudgeFigures(
        pairs=chosen_first.height,
        ties=float(np.mean(frame["won"].to_numpy() == 0.5)),
        order_agreement=measure_agreement(*winners, clusters=pair_prompts, how=how),
        order_kappa=cohens_kappa(*winners),
        first_wins=measure_first_place_share(frame["won"].to_numpy(), pairs=prompts, how=how),
        length=measure_length_bias(
            both[0] + both[1] - 1, chosen_first["longer"].to_numpy(), clusters=pair_prompts, how=how
        ),
        with_labels=bootstrap_mean(frame["chosen_won"].to_numpy(), clusters=prompts, how=how),
        label_kappa=cohens_kappa(frame["verdict"].to_list(), frame["place"].to_list()),
        label_mass=(sum(masses) / len(masses), min(masses)) if masses else None,
    )


def read_verdict_numbers(verdicts: Table) -> pl.DataFrame:
    """Read what figures need of verdicts as numbers: texts, and ids of both orders, would take most memory.

    Returns:
        ``pair_id`` and ``prompt_id`` as their places among the sorted ids; ``verdict`` and ``place`` of the chosen side
        (0 first, 1 tie, 2 second), ``chosen_first``, ``won`` and ``chosen_won`` (0..1), ``longer`` in characters, and
        ``label_mass`` where there is one.
    """
    codes = {"first": 0, "tie": 1, "second": 2}
    chosen_first, verdict = pl.col("shown_first") == "chosen", pl.col("verdict")
    won = verdict.replace_strict({"first": 1.0, "tie": 0.5, "second": 0.0}, return_dtype=pl.Float64)
    columns = {
        "chosen_first": chosen_first,
        "verdict": verdict.replace_strict(codes, return_dtype=pl.Int8),
        "place": pl.when(chosen_first).then(pl.lit(0, pl.Int8)).otherwise(pl.lit(2, pl.Int8)),
        "won": won,
        "chosen_won": pl.when(chosen_first).then(won).otherwise(1 - won),
        "longer": pl.col("length_first") - pl.col("length_second"),
    }
    ids = ("pair_id", "prompt_id")
    names = (*ids, "shown_first", "verdict", "length_first", "length_second", "label_mass")
    parts: list[pl.DataFrame] = []
    runs: dict[str, list[pl.DataFrame]] = {name: [] for name in ids}
    for frame in verdicts.read_frames([name for name in names if name in verdicts.schema]):
        parts.append(frame.select(**columns, **({"label_mass": "label_mass"} if "label_mass" in frame.columns else {})))
        for name in ids:
            # The verdicts on a pair follow each other, so that half of the ids need not wait.
            runs[name].append(frame[name].rle().struct.unnest())
    numbers = {}
    for name in ids:
        joined = pl.concat(runs.pop(name))
        numbers[name] = np.repeat(joined["value"].rank("dense").to_numpy(), joined["len"].to_numpy())
    return pl.concat(parts).rechunk().with_columns(**{name: pl.Series(each) for name, each in numbers.items()})
