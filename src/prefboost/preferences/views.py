"""The parts of relabellings: which pairs can be used, and goal pairs of one view of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from prefboost.tables import REJECTS, reject_where
from prefboost.tables.message_lists import take_rows

__all__ = [
    "contradicts_scores",
    "SAID_ALIKE",
    "settle_contradictions",
    "restore_pairs",
    "require_scores",
    "distance",
    "gap",
    "interleave",
    "name_goal",
    "name_view",
    "build_own_view",
    "build_own_views",
    "map_other_side",
    "swap_sides",
    "has_equal_scores",
    "build_goal_view",
    "average_weighted",
    "settle_ties",
]

SAID_ALIKE = "the goals of both completions have the same text, so one goal would have two winners"
"""Reason of ties between scores that differ by less than the wording prints."""

_SWAP = {"chosen": "rejected", "rejected": "chosen"}


def has_equal_scores() -> pl.Expr:
    """Tell whether both scores are known and equal; never null."""
    return (pl.col("score_chosen") == pl.col("score_rejected")).fill_null(False)


def contradicts_scores() -> pl.Expr:
    """Tell whether the label contradicts the scores; null where one is unknown."""
    return pl.col("score_chosen") < pl.col("score_rejected")


def require_scores(pairs: pl.DataFrame, path: str | None, contradictions: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reject pairs without two finite scores; settle those whose scores contradict the label."""
    sides = [pl.col("score_chosen"), pl.col("score_rejected")]
    pairs, unscored = reject_where(
        pairs,
        pl.any_horizontal(side.is_null() for side in sides),
        stage="relabel",
        reason="a completion of the pair has no score",
        path=path,
    )
    pairs, odd = reject_where(
        pairs,
        ~pl.all_horizontal(side.is_finite() for side in sides),
        stage="relabel",
        reason="a score of the pair is not a finite number",
        path=path,
        value=pl.format("{} and {}", *sides),
    )
    pairs, opposed = settle_contradictions(pairs, contradicts_scores(), path, contradictions)
    return pairs, pl.concat([unscored, odd, opposed])


def settle_contradictions(
    pairs: pl.DataFrame, wrong: pl.Expr, path: str | None, contradictions: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keep, swap or drop pairs whose label contradicts their scores; a null in ``wrong`` is no contradiction."""
    # Evaluated once: the expression would be computed again for every column that is swapped.
    mask = pairs.select(wrong.fill_null(False).alias("wrong")).to_series()
    if contradictions == "keep" or not mask.any():
        return pairs, pl.DataFrame(schema=REJECTS)
    if contradictions == "swap":
        exchanged = pairs.with_columns(
            pl.when(mask).then(pl.col(other)).otherwise(pl.col(name)).alias(name)
            for name, other in map_other_side(pairs.columns).items()
        )
        return exchanged, pl.DataFrame(schema=REJECTS)
    return reject_where(
        pairs,
        wrong,
        stage="relabel",
        reason="the label contradicts the scores: rejected is scored above chosen",
        path=path,
        value=pl.format("{} < {}", "score_chosen", "score_rejected"),
    )


def settle_ties(
    views: Sequence[pl.DataFrame],
    ties: str,
    path: str | None,
    same: pl.Series,
    alike: pl.Series | None = None,
    shown_scores: pl.Expr | None = None,
) -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """Reject tied pairs, or mark them: a marked pair keeps its first view alone, under the name tie.

    Args:
        views: frames of the same pairs in the same order.
        ties: drop or mark.
        path: for the rejects.
        same: whether both completions of a row have the same score.
        alike: whether the goals of both are said in the same words; None where that is not known yet.
        shown_scores: what a reject shows of a pair whose scores are the same.

    Returns:
        views, and rejects.
    """
    equal = same if alike is None else same | alike
    if not equal.any():
        return list(views), pl.DataFrame(schema=REJECTS)
    first, *others = views
    if ties == "mark":
        marks = {"view": pl.lit("tie"), "goal_pair_id": pl.col("pair_id") + "/tie"}
        tie_mask = pl.lit(equal)
        named = (pl.when(tie_mask).then(mark).otherwise(pl.col(name)).alias(name) for name, mark in marks.items())
        return [first.with_columns(named), *[view.filter(~equal) for view in others]], pl.DataFrame(schema=REJECTS)
    bare = first.drop("goal_pair_id")  # so that a reject is known by the pair's id
    scores = None if shown_scores is None else pl.format("{} and {}", "score_chosen", "score_rejected")
    _, exact = reject_where(
        bare,
        pl.lit(same),
        stage="relabel",
        reason="both completions have the same score, so one goal would have two winners",
        path=path,
        value=shown_scores,
    )
    _, printed = reject_where(bare, pl.lit(equal & ~same), stage="relabel", reason=SAID_ALIKE, path=path, value=scores)
    return [view.filter(~equal) for view in views], pl.concat([exact, printed])


def build_own_views(pairs: pl.DataFrame) -> list[pl.DataFrame]:
    """Build both views of a pair: under the chosen completion's score, and flipped under the rejected one's."""
    return [build_own_view(pairs, "chosen", flipped=False), build_own_view(pairs, "rejected", flipped=True)]


def map_other_side(columns: Sequence[str]) -> dict[str, str]:
    """Map every column of one side to the column of the other side."""
    names = dict(_SWAP)
    for column in columns:
        for side, other in _SWAP.items():
            if column in (f"score_{side}", f"finish_{side}") or column.startswith(f"score_{side}."):
                names[column] = column.replace(side, other, 1)
    return names


def swap_sides(pairs: pl.DataFrame) -> pl.DataFrame:
    """Swap chosen and rejected, with their scores; distances stay those of chosen and rejected."""
    return pairs.rename(map_other_side(pairs.columns))


def name_view(pairs: pl.DataFrame, view: str, flipped: bool, *, copy: int = 0, tag: str = "") -> pl.DataFrame:
    """Name the view: add ``view``, ``flipped`` and a ``goal_pair_id`` unique to it."""
    suffix = f"/{view}{tag}" + (f"/{copy}" if copy else "")
    return pairs.with_columns(
        goal_pair_id=pl.col("pair_id") + suffix, view=pl.lit(view), flipped=pl.lit(flipped, dtype=pl.Boolean)
    )


def build_own_view(pairs: pl.DataFrame, view: str, *, flipped: bool, copy: int = 0) -> pl.DataFrame:
    """Build one view under the winner's own score: its distance is 0, the other's is the gap of the scores."""
    turned = swap_sides(pairs) if flipped else pairs
    apart = (pl.col("score_chosen") - pl.col("score_rejected")).abs()
    return name_view(turned, view, flipped, copy=copy).with_columns(
        goal=pl.col("score_chosen"), distance_chosen=pl.lit(0.0), distance_rejected=apart
    )


def name_goal(goal: float) -> str:
    """Write a goal so that no two goals have one name: as short as ``:g`` where that reads back as the same number."""
    short = f"{goal:g}"
    return short if float(short) == goal else repr(float(goal))


def build_goal_view(pairs: pl.DataFrame, goal: float, view: str, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Build the view under a given goal g: the completion with the smaller abs(score - g) wins; ties are rejected."""
    to_chosen, to_rejected = ((pl.col(f"score_{side}") - goal).abs() for side in ("chosen", "rejected"))
    pairs, equal = reject_where(
        pairs,
        to_chosen == to_rejected,
        stage="relabel",
        reason=f"both completions are equally far from goal {name_goal(goal)}",
        path=path,
        value=pl.format("{} and {}", "score_chosen", "score_rejected"),
    )
    measured = pairs.with_columns(distance_chosen=to_chosen, distance_rejected=to_rejected, goal=pl.lit(float(goal)))
    nearer = pl.col("distance_chosen") < pl.col("distance_rejected")
    stays, turns = measured.filter(nearer), measured.filter(~nearer)
    # swap_sides() leaves distances where they are; here they were measured before the swap, so they swap too.
    crossed = {"distance_chosen": "distance_rejected", "distance_rejected": "distance_chosen"}
    turned = swap_sides(turns).rename(crossed)
    named = [
        name_view(part, view, flipped, tag=f"-{name_goal(goal)}") for part, flipped in ((stays, False), (turned, True))
    ]
    return pl.concat([named[0], named[1].select(named[0].columns)]), equal


def gap(aspect: str) -> pl.Expr:
    """Subtract the rejected completion's score from the chosen one's; null where one is missing."""
    return pl.col(f"score_chosen.{aspect}") - pl.col(f"score_rejected.{aspect}")


def average_weighted(aspects: Sequence[str], weights: Mapping[str, float], value: Callable[[str], pl.Expr]) -> pl.Expr:
    """Average a value over the aspects that both sides have, with weights renormalised to those."""
    total = pl.sum_horizontal(value(aspect).fill_null(0) * weights.get(aspect, 1.0) for aspect in aspects)
    rated = (gap(aspect).is_not_null().cast(pl.Float64) * weights.get(aspect, 1.0) for aspect in aspects)
    return total / pl.sum_horizontal(rated)


def distance(aspects: Sequence[str], weights: Mapping[str, float]) -> pl.Expr:
    """Compute the weighted mean distance of the two score vectors: sum_a w_a abs(s_a - t_a) / sum_a w_a."""
    return average_weighted(aspects, weights, lambda aspect: gap(aspect).abs())


def interleave(pairs: pl.DataFrame, views: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put all views of a pair next to each other, in the order of the views; pairs in the order they came in."""
    columns = views[0].columns
    stacked = pl.concat([view.select(columns) for view in views])
    if all(view["pair_id"].equals(pairs["pair_id"]) for view in views):
        if len(views) == 1:
            return stacked
        # Stacked views lie at view * rows + pair; row i of the result is view i % count of pair i // count.
        rows, count = pairs.height, len(views)
        place = np.arange(rows * count)
        return take_rows(stacked, place % count * rows + place // count)
    # Some view lacks some pairs (ties, rejects), so the pairs' order is looked up instead of computed.
    came = pairs.lazy().select("pair_id").with_row_index("came").unique("pair_id", keep="first").collect()
    at = stacked.select("pair_id").join(came, on="pair_id", how="left", maintain_order="left")["came"]
    return take_rows(stacked, np.argsort(at.to_numpy(), kind="stable"))


def restore_pairs(views: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Restore the pairs that goal pairs were made of, once each and as their label has them.

    Args:
        views: goal pairs; of each pair, the first is taken.
        columns: those of the pairs.
    """
    first = views.unique("pair_id", keep="first", maintain_order=True)
    straight = first.with_columns(
        pl.when("flipped").then(pl.col(other)).otherwise(pl.col(name)).alias(name)
        for name, other in map_other_side(first.columns).items()
    )
    return straight.select(columns)
