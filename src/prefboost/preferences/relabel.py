"""`relabel`: who wins under a goal (arXiv 2410.08067, section 3).

With R(x, y, g) = -(g - r(x, y))^2 the completion whose score is nearer to the goal wins. So a pair scored (r_w, r_l) is
two goal pairs: under g = r_w the chosen completion wins, under g = r_l the rejected one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import polars as pl
from pydantic import Field

from prefboost.errors import DataError, MissingScores, Place
from prefboost.preferences.draw import seeded_share
from prefboost.settings import Settings, kind_of
from prefboost.tables import GOAL_PAIRS, PREFERENCE_PAIRS, REJECTS, Step, Table, aspects_of, reject_where
from prefboost.tables.message_lists import take_rows

__all__ = ["RELABELLINGS", "HighGoalOnly", "Plain", "Relabelling", "RewardAugmented", "relabel"]

NO_SCORES_REMEDY = (
    "score the completions first: with a reward model, a judge, or implicit rewards beta * log(pi / pi_ref) of a "
    "policy trained on these pairs (implicit-reward augmentation, arXiv 2410.08067)"
)

_SWAP = {"chosen": "rejected", "rejected": "chosen"}


class Relabelling(Protocol):
    """How preference pairs become goal pairs."""

    def views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Goal pairs (columns of GoalPairs) and rejects."""


class RewardAugmented(Settings):
    """Both goals of every pair: the chosen completion wins under its score, the rejected one under its own."""

    kind: Literal["reward_augmented"] = Field("reward_augmented", description="The relabelling's name in recipes.")
    ties: Literal["drop", "mark"] = Field(
        "drop", description="Equal scores give one goal two answers: drop the pair, or keep one row with view tie."
    )
    contradictions: Literal["drop", "swap"] = Field(
        "drop", description="Pairs whose rejected completion has the higher score: drop (as published) or swap them."
    )
    fraction: float = Field(
        1.0, gt=0, le=1, description="Share of the prompts that is augmented; 0.5 is half-RA, as many rows as pairs."
    )
    goals: Literal["own", "grid", "top"] = Field(
        "own", description="own: r_w and r_l; grid: the scores of grid; top: the highest score of the scale alone."
    )
    grid: tuple[float, ...] = Field((), description="The goals asked for where goals is grid.")
    top: float = Field(10.0, description="The goal asked for where goals is top: r_max of the scale.")
    aspects: tuple[str, ...] = Field((), description="Aspects that form a goal vector; none: the overall score alone.")
    weights: Mapping[str, float] = Field(
        default_factory=dict, description="Weight of an aspect in the distance; 1 where not named."
    )
    seed: int = Field(42, ge=0, description="Seed that picks the augmented prompts.")

    def views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """See `Relabelling`."""
        if self.fraction < 1:
            pairs = pairs.filter(seeded_share(self.seed, "prompt_id") < self.fraction)
        if self.aspects:
            return self._aspect_views(pairs, path)
        pairs, rejects = self._consistent(pairs, path)
        if self.goals != "own":
            asked = [self.top] if self.goals == "top" else list(self.grid)
            if not asked:
                raise DataError("goals is grid and the grid is empty", remedy="write grid: [1, 4, 7, 10]")
            parts = [_under_goal(pairs, goal, self.goals) for goal in asked]
            skipped = [aside for _, aside in parts if not aside.is_empty()]
            return _interleave([kept for kept, _ in parts]), pl.concat([rejects, *skipped])
        tied = pairs["score_chosen"] == pairs["score_rejected"]
        marked = _view(pairs.filter(tied), "tie", flipped=False) if self.ties == "mark" else None
        if self.ties == "drop":
            pairs, ties = reject_where(
                pairs,
                pl.col("score_chosen") == pl.col("score_rejected"),
                stage="relabel",
                reason="both completions have the same score, so one goal would have two winners",
                path=path,
                found=pl.col("score_chosen"),
            )
            rejects = pl.concat([rejects, ties])
        else:
            pairs = pairs.filter(~tied)
        views = [_view(pairs, "chosen", flipped=False), _view(pairs, "rejected", flipped=True)]
        both = _interleave(views)
        return (both if marked is None else pl.concat([both, marked.select(both.columns)])), rejects

    def _consistent(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        pairs, unscored = reject_where(
            pairs,
            pl.col("score_chosen").is_null() | pl.col("score_rejected").is_null(),
            stage="relabel",
            reason="a completion of the pair has no score",
            path=path,
        )
        wrong = pl.col("score_chosen") < pl.col("score_rejected")
        if self.contradictions == "swap":
            if not pairs.select(wrong.any()).item():
                return pairs, unscored
            return pl.concat([pairs.filter(~wrong), _swapped(pairs.filter(wrong)).select(pairs.columns)]), unscored
        pairs, against = reject_where(
            pairs,
            wrong,
            stage="relabel",
            reason="the label contradicts the scores: rejected is scored above chosen",
            path=path,
            found=pl.format("{} < {}", "score_chosen", "score_rejected"),
        )
        return pairs, pl.concat([unscored, against])

    def _aspect_views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Goal vectors: the distance is the weighted mean over aspects that both sides have."""
        known = set(aspects_of(pairs.schema, "score_chosen")) & set(aspects_of(pairs.schema, "score_rejected"))
        missing = [name for name in self.aspects if name not in known]
        if missing:
            raise DataError(
                f"no aspect {', '.join(missing)}; found {', '.join(sorted(known)) or 'none'}",
                remedy="name aspects of the data, or none to use the overall score",
                place=Place(path=path, column=f"score.{missing[0]}"),
            )
        pairs, masked = reject_where(
            pairs,
            pl.all_horizontal(_gap(aspect).is_null() for aspect in self.aspects),
            stage="relabel",
            reason="no aspect is rated on both sides",
            path=path,
        )
        apart = _distance(self.aspects, self.weights)
        pairs = pairs.with_columns(apart=apart)
        pairs, ties = reject_where(
            pairs,
            pl.col("apart") == 0,
            stage="relabel",
            reason="both completions have the same score, so one goal would have two winners",
            path=path,
        )
        views = []
        for view, flipped in (("chosen", False), ("rejected", True)):
            goals = {f"goal.{aspect}": pl.col(f"score_{view}.{aspect}") for aspect in self.aspects}
            shown = pairs.with_columns(**goals, distance_chosen=pl.lit(0.0), distance_rejected="apart")
            turned = _swapped(shown) if flipped else shown
            views.append(_name_view(turned, view, flipped).with_columns(goal=pl.lit(None, dtype=pl.Float64)))
        return _interleave(views), pl.concat([masked, ties])


class HighGoalOnly(Settings):
    """Control: the chosen completion's score is shown as the goal, and nothing is ever flipped."""

    kind: Literal["high_goal_only"] = Field("high_goal_only", description="The relabelling's name in recipes.")
    repeat: int = Field(1, ge=1, description="Copies of every pair; 2 gives as many rows as reward augmentation.")

    def views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """See `Relabelling`."""
        pairs, rejects = RewardAugmented()._consistent(pairs, path)
        copies = [_view(pairs, "chosen", flipped=False, copy=copy) for copy in range(self.repeat)]
        return _interleave(copies), rejects


class Plain(Settings):
    """Control: the pairs as they are, without a goal: plain preference training through the same path."""

    kind: Literal["plain"] = Field("plain", description="The relabelling's name in recipes.")
    repeat: int = Field(1, ge=1, description="Copies of every pair; 2 gives as many rows as reward augmentation.")

    def views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """See `Relabelling`."""
        nothing = {name: pl.lit(None, dtype=pl.Float64) for name in ("goal", "distance_chosen", "distance_rejected")}
        copies = [
            _name_view(pairs, "plain", flipped=False, copy=copy).with_columns(**nothing) for copy in range(self.repeat)
        ]
        return _interleave(copies), pl.DataFrame(schema=REJECTS)


RELABELLINGS: dict[str, type[Settings]] = {
    "reward_augmented": RewardAugmented,
    "high_goal_only": HighGoalOnly,
    "plain": Plain,
}
"""Built-in relabellings by kind."""


def relabel(table: Table, how: Relabelling | None = None) -> Table:
    """Decide who wins under which goal.

    Args:
        table: PreferencePairs with scores (`Plain` needs none).
        how: the relabelling; default `RewardAugmented`.

    Returns:
        GoalPairs: the views of a pair stand next to each other and share ``pair_id``; what gives no goal pair is
        counted in the rejects, with its reason.

    Raises:
        MissingScores: the pairs are binary (no scores); the message names the remedy.
        DataError: the table is of another kind, or an aspect is unknown.
        BrokenFact: a relabelling of someone else's breaks "the chosen completion is at least as near the goal".
    """
    how = how if how is not None else RewardAugmented()
    if table.spec is not PREFERENCE_PAIRS:
        raise DataError(
            f"relabel needs PreferencePairs, found {table.spec.name}",
            remedy="call pair first",
            place=Place(path=table.path),
        )
    if len(table) and not isinstance(how, Plain):
        unscored = ["score_chosen"] if table.frame["score_chosen"].null_count() == len(table) else []
        wanted = [f"score_chosen.{name}" for name in getattr(how, "aspects", ())]
        if unscored and not any(name in table.frame.columns for name in wanted):
            raise MissingScores(
                f"the {len(table):,} pairs have no scores, so they have no goals",
                remedy=NO_SCORES_REMEDY,
                place=Place(path=table.path, column="score_chosen"),
            )
    views, rejects = how.views(table.frame, table.path)
    notes: dict[str, object] = {"pairs_used": views["pair_id"].n_unique()}
    left_out = len(table) - rejects["id"].n_unique() - views["pair_id"].n_unique()
    if left_out > 0:
        notes["pairs_left_out_by_fraction"] = left_out
    settings = how.model_dump() if isinstance(how, Settings) else {}
    step = Step(
        "relabel",
        {"kind": kind_of(how), **settings},
        rows_in=len(table),
        rows_out=views.height,
        rejected=dict(rejects["reason"].value_counts().sort("reason").iter_rows()),
        notes=notes,
    )
    return table.then(GOAL_PAIRS, views, step, rejects=rejects)


def _swapped(pairs: pl.DataFrame) -> pl.DataFrame:
    """Chosen and rejected change places, with their scores; distances stay those of chosen and rejected."""
    names = {"chosen": "rejected", "rejected": "chosen"}
    for column in pairs.columns:
        for side, other in _SWAP.items():
            if column == f"score_{side}" or column.startswith(f"score_{side}."):
                names[column] = column.replace(side, other, 1)
    return pairs.rename(names)


def _name_view(pairs: pl.DataFrame, view: str, flipped: bool, *, copy: int = 0, tag: str = "") -> pl.DataFrame:
    suffix = f"/{view}{tag}" + (f"/{copy}" if copy else "")
    return pairs.with_columns(
        goal_pair_id=pl.col("pair_id") + suffix, view=pl.lit(view), flipped=pl.lit(flipped, dtype=pl.Boolean)
    )


def _view(pairs: pl.DataFrame, view: str, *, flipped: bool, copy: int = 0) -> pl.DataFrame:
    """One view under the winner's own score: its distance is 0, the other's is the gap of the scores."""
    turned = _swapped(pairs) if flipped else pairs
    gap = (pl.col("score_chosen") - pl.col("score_rejected")).abs()
    return _name_view(turned, view, flipped, copy=copy).with_columns(
        goal=pl.col("score_chosen"), distance_chosen=pl.lit(0.0), distance_rejected=gap
    )


def _under_goal(pairs: pl.DataFrame, goal: float, view: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Any goal: the completion nearer to it wins; equidistant pairs are set aside."""
    to_chosen, to_rejected = ((pl.col(f"score_{side}") - goal).abs() for side in ("chosen", "rejected"))
    pairs, equal = reject_where(
        pairs,
        to_chosen == to_rejected,
        stage="relabel",
        reason=f"both completions are equally far from goal {goal:g}",
        path=None,
        found=pl.format("{} and {}", "score_chosen", "score_rejected"),
    )
    measured = pairs.with_columns(distance_chosen=to_chosen, distance_rejected=to_rejected, goal=pl.lit(float(goal)))
    nearer = pl.col("distance_chosen") < pl.col("distance_rejected")
    stays, turns = measured.filter(nearer), measured.filter(~nearer)
    crossed = {"distance_chosen": "distance_rejected", "distance_rejected": "distance_chosen"}
    turned = _swapped(turns).rename(crossed)
    named = [_name_view(part, view, flipped, tag=f"-{goal:g}") for part, flipped in ((stays, False), (turned, True))]
    return pl.concat([named[0], named[1].select(named[0].columns)]), equal


def _gap(aspect: str) -> pl.Expr:
    return (pl.col(f"score_chosen.{aspect}") - pl.col(f"score_rejected.{aspect}")).abs()


def _distance(aspects: Sequence[str], weights: Mapping[str, float]) -> pl.Expr:
    """Weighted mean of |difference| over the aspects that both sides have, renormalised."""
    rated = {aspect: _gap(aspect).is_not_null() for aspect in aspects}
    total = pl.sum_horizontal(_gap(aspect).fill_null(0) * weights.get(aspect, 1.0) for aspect in aspects)
    weight = pl.sum_horizontal(rated[aspect].cast(pl.Float64) * weights.get(aspect, 1.0) for aspect in aspects)
    return total / weight


def _interleave(views: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All views of a pair next to each other, pairs in their order of first appearance."""
    columns = views[0].columns
    stacked = pl.concat([view.select(columns) for view in views])
    sizes = {view.height for view in views}
    if len(views) == 1:
        return stacked
    if len(sizes) == 1 and all((view["pair_id"] == views[0]["pair_id"]).all() for view in views[1:]):
        rows, count = views[0].height, len(views)
        order = (pl.int_range(rows * count, eager=True) % count) * rows + pl.int_range(
            rows * count, eager=True
        ) // count
        return take_rows(stacked, order)
    return take_rows(stacked, stacked["pair_id"].rank("dense").arg_sort())
