"""`relabel`: who wins under a goal (arXiv 2410.08067, section 3).

With R(x, y, g) = -(g - r(x, y))^2 the completion whose score is nearer to the goal wins. So a pair scored (r_w, r_l) is
two goal pairs: under g = r_w the chosen completion wins, under g = r_l the rejected one does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from prefboost.errors import DataError, MissingScores, Place
from prefboost.preferences.draw import seeded_share
from prefboost.preferences.goals import PUBLISHED
from prefboost.settings import Settings, kind_of
from prefboost.tables import GOAL_PAIRS, PREFERENCE_PAIRS, REJECTS, Step, Table, aspects_of, reject_where
from prefboost.tables.message_lists import take_rows

__all__ = ["RELABELLINGS", "HighGoalOnly", "Plain", "Relabelling", "RewardAugmented", "relabel"]

NO_SCORES_REMEDY = (
    "score the completions first: with a reward model (prefboost score FILE kind=reward_model model=...), or with "
    "implicit rewards beta * log(pi / pi_ref) of a policy trained on these pairs (implicit-reward augmentation, "
    "arXiv 2410.08067: prefboost score FILE kind=implicit policy=... reference=... scale=percentile)"
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
    contradictions: Literal["drop", "swap", "keep"] = Field(
        "drop", description="Pairs whose rejected completion is scored higher: drop (as published), swap or keep them."
    )
    fraction: float = Field(
        1.0, gt=0, le=1, description="Share of the prompts that is augmented; 0.5 is half-RA, as many rows as pairs."
    )
    goals: Literal["own", "grid", "top"] = Field(
        "own", description="own: r_w and r_l; grid: the scores of grid; top: the highest score of the scale alone."
    )
    grid: tuple[float, ...] = Field((), description="The goals asked for where goals is grid.")
    top: float | None = Field(
        None, description="The goal asked for where goals is top; none is r_max of the data's scale, or 10 without one."
    )
    aspects: tuple[str, ...] = Field((), description="Aspects that form a goal vector; none: the overall score alone.")
    weights: Mapping[str, float] = Field(
        default_factory=dict, description="Weight of an aspect in the distance, above 0; 1 where not named."
    )
    seed: int = Field(42, ge=0, description="Seed that picks the augmented prompts.")

    @model_validator(mode="after")
    def _agrees(self) -> RewardAugmented:
        if (self.goals == "grid") != bool(self.grid):
            raise ValueError("goals: grid and a list of goals go together, e.g. goals: grid, grid: [1, 4, 7, 10]")
        if len(set(self.grid)) < len(self.grid):
            raise ValueError(f"a goal stands twice in grid: {self.grid}")
        if self.aspects and self.goals != "own":
            raise ValueError(f"goals: {self.goals} asks for one number, so it cannot be used with aspects")
        wrong = [f"{name}: {weight:g}" for name, weight in self.weights.items() if weight <= 0]
        wrong += [f"{name} is not among aspects" for name in self.weights if name not in self.aspects]
        if wrong:
            raise ValueError(f"weights are above 0 and of aspects that are asked for, found {', '.join(wrong)}")
        return self

    def views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """See `Relabelling`."""
        if self.fraction < 1:
            pairs = pairs.filter(seeded_share(self.seed, "prompt_id") < self.fraction)
        if self.aspects:
            return self._aspect_views(pairs, path)
        pairs, rejects = _consistent(pairs, path, self.contradictions)
        if self.goals != "own":
            asked = [PUBLISHED[1] if self.top is None else self.top] if self.goals == "top" else list(self.grid)
            parts = [_under_goal(pairs, goal, self.goals, path) for goal in asked]
            skipped = [aside for _, aside in parts if not aside.is_empty()]
            return _interleave(pairs, [kept for kept, _ in parts]), pl.concat([rejects, *skipped])
        kept, ties = _without_ties(_own_views(pairs), _tied(), self.ties, path, found=pl.col("score_chosen"))
        return _interleave(pairs, kept), pl.concat([rejects, ties])

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
        pairs, against = _agreeing(pairs, _weighted(self.aspects, self.weights, _gap) < 0, path, self.contradictions)
        pairs = pairs.with_columns(apart=_distance(self.aspects, self.weights))
        views = []
        for view, flipped in (("chosen", False), ("rejected", True)):
            goals = {f"goal.{aspect}": pl.col(f"score_{view}.{aspect}") for aspect in self.aspects}
            shown = pairs.with_columns(**goals, distance_chosen=pl.lit(0.0), distance_rejected="apart")
            turned = _swapped(shown) if flipped else shown
            views.append(_name_view(turned, view, flipped).with_columns(goal=pl.lit(None, dtype=pl.Float64)))
        kept, ties = _without_ties(views, pl.col("apart") == 0, self.ties, path)
        return _interleave(pairs, kept), pl.concat([masked, against, ties])


class _Control(Settings):
    """What the controls share: the pairs that reward augmentation drops are dropped, so that a comparison is fair."""

    repeat: int = Field(1, ge=1, description="Copies of every pair; 2 gives as many rows as reward augmentation.")
    ties: Literal["drop", "mark"] = Field(
        "drop", description="As in reward augmentation, so that both train on the same pairs; a marked tie is one row."
    )
    contradictions: Literal["drop", "swap", "keep"] = Field(
        "drop", description="As in reward augmentation, so that both train on the same pairs; binary pairs always stay."
    )


class HighGoalOnly(_Control):
    """Control: the chosen completion's score is shown as the goal, and nothing is ever flipped."""

    kind: Literal["high_goal_only"] = Field("high_goal_only", description="The relabelling's name in recipes.")

    def views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """See `Relabelling`."""
        pairs, rejects = _consistent(pairs, path, self.contradictions)
        copies = [_view(pairs, "chosen", flipped=False, copy=copy) for copy in range(self.repeat)]
        kept, ties = _without_ties(copies, _tied(), self.ties, path, found=pl.col("score_chosen"))
        return _interleave(pairs, kept), pl.concat([rejects, ties])


class Plain(_Control):
    """Control: the pairs as they are, without a goal: plain preference training through the same path."""

    kind: Literal["plain"] = Field("plain", description="The relabelling's name in recipes.")
    unscored: Literal["keep", "drop"] = Field(
        "keep",
        description="Pairs in which a completion has no finite score: keep them (binary data have none), or drop them, "
        "as reward augmentation of the same data has to.",
    )

    def views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """See `Relabelling`."""
        if self.unscored == "drop":
            pairs, rejects = _consistent(pairs, path, self.contradictions)
        else:
            pairs, rejects = _agreeing(pairs, _against(), path, self.contradictions)
        nothing = {name: pl.lit(None, dtype=pl.Float64) for name in ("goal", "distance_chosen", "distance_rejected")}
        copies = [
            _name_view(pairs, "plain", flipped=False, copy=copy).with_columns(**nothing) for copy in range(self.repeat)
        ]
        kept, ties = _without_ties(copies, _tied(), self.ties, path, found=pl.col("score_chosen"))
        return _interleave(pairs, kept), pl.concat([rejects, ties])


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
    if isinstance(how, RewardAugmented) and how.goals == "top" and how.top is None and "" in table.scales:
        how = how.model_copy(update={"top": table.scales[""].top})
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


def _tied() -> pl.Expr:
    """Whether both scores are known and equal; never null."""
    return (pl.col("score_chosen") == pl.col("score_rejected")).fill_null(False)


def _against() -> pl.Expr:
    return pl.col("score_chosen") < pl.col("score_rejected")


def _consistent(pairs: pl.DataFrame, path: str | None, contradictions: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs with two finite scores that agree with the label, and rejects."""
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
        found=pl.format("{} and {}", *sides),
    )
    pairs, against = _agreeing(pairs, _against(), path, contradictions)
    return pairs, pl.concat([unscored, odd, against])


def _agreeing(
    pairs: pl.DataFrame, wrong: pl.Expr, path: str | None, contradictions: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What becomes of pairs whose label contradicts their scores; a null in ``wrong`` is no contradiction."""
    mask = pairs.select(wrong.fill_null(False).alias("wrong")).to_series()
    if contradictions == "keep" or not mask.any():
        return pairs, pl.DataFrame(schema=REJECTS)
    if contradictions == "swap":
        exchanged = pairs.with_columns(
            pl.when(mask).then(pl.col(other)).otherwise(pl.col(name)).alias(name)
            for name, other in _renaming(pairs.columns).items()
        )
        return exchanged, pl.DataFrame(schema=REJECTS)
    return reject_where(
        pairs,
        wrong,
        stage="relabel",
        reason="the label contradicts the scores: rejected is scored above chosen",
        path=path,
        found=pl.format("{} < {}", "score_chosen", "score_rejected"),
    )


def _without_ties(
    views: Sequence[pl.DataFrame], tied: pl.Expr, ties: str, path: str | None, found: pl.Expr | None = None
) -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """Views of untied pairs; a tied pair is a reject, or keeps its first view alone, under the name tie."""
    first, *others = views
    if ties == "mark":
        marks = {"view": pl.lit("tie"), "goal_pair_id": pl.col("pair_id") + "/tie"}
        named = (pl.when(tied).then(mark).otherwise(pl.col(name)).alias(name) for name, mark in marks.items())
        return [first.with_columns(named), *[view.filter(~tied) for view in others]], pl.DataFrame(schema=REJECTS)
    _, rejects = reject_where(
        first.drop("goal_pair_id"),  # so that a reject is known by the pair's id
        tied,
        stage="relabel",
        reason="both completions have the same score, so one goal would have two winners",
        path=path,
        found=found,
    )
    return [view.filter(~tied) for view in views] if rejects.height else list(views), rejects


def _own_views(pairs: pl.DataFrame) -> list[pl.DataFrame]:
    return [_view(pairs, "chosen", flipped=False), _view(pairs, "rejected", flipped=True)]


def _renaming(columns: Sequence[str]) -> dict[str, str]:
    """Every column of one side -> the column of the other side."""
    names = dict(_SWAP)
    for column in columns:
        for side, other in _SWAP.items():
            if column in (f"score_{side}", f"finish_{side}") or column.startswith(f"score_{side}."):
                names[column] = column.replace(side, other, 1)
    return names


def _swapped(pairs: pl.DataFrame) -> pl.DataFrame:
    """Chosen and rejected change places, with their scores; distances stay those of chosen and rejected."""
    return pairs.rename(_renaming(pairs.columns))


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


def _under_goal(pairs: pl.DataFrame, goal: float, view: str, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Any goal: the completion nearer to it wins; equidistant pairs are set aside."""
    to_chosen, to_rejected = ((pl.col(f"score_{side}") - goal).abs() for side in ("chosen", "rejected"))
    pairs, equal = reject_where(
        pairs,
        to_chosen == to_rejected,
        stage="relabel",
        reason=f"both completions are equally far from goal {goal:g}",
        path=path,
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
    return pl.col(f"score_chosen.{aspect}") - pl.col(f"score_rejected.{aspect}")


def _weighted(aspects: Sequence[str], weights: Mapping[str, float], value: Callable[[str], pl.Expr]) -> pl.Expr:
    """Weighted mean of a value over the aspects that both sides have, renormalised."""
    total = pl.sum_horizontal(value(aspect).fill_null(0) * weights.get(aspect, 1.0) for aspect in aspects)
    rated = (_gap(aspect).is_not_null().cast(pl.Float64) * weights.get(aspect, 1.0) for aspect in aspects)
    return total / pl.sum_horizontal(rated)


def _distance(aspects: Sequence[str], weights: Mapping[str, float]) -> pl.Expr:
    return _weighted(aspects, weights, lambda aspect: _gap(aspect).abs())


def _interleave(pairs: pl.DataFrame, views: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All views of a pair next to each other, in the order of the views; pairs in the order they came in."""
    columns = views[0].columns
    stacked = pl.concat([view.select(columns) for view in views])
    if all(view["pair_id"].equals(pairs["pair_id"]) for view in views):
        if len(views) == 1:
            return stacked
        rows, count = pairs.height, len(views)
        place = np.arange(rows * count)
        return take_rows(stacked, place % count * rows + place // count)
    came = pairs.lazy().select("pair_id").with_row_index("came").unique("pair_id", keep="first").collect()
    at = stacked.select("pair_id").join(came, on="pair_id", how="left", maintain_order="left")["came"]
    return take_rows(stacked, np.argsort(at.to_numpy(), kind="stable"))
