"""`relabel`: who wins under a goal (arXiv 2410.08067, section 3).

With R(x, y, g) = -(g - r(x, y))^2 the completion whose score is nearer to the goal wins. So a pair scored (r_w, r_l) is
two goal pairs: under g = r_w the chosen completion wins, under g = r_l the rejected one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol

import polars as pl
import polars.selectors as cs
from pydantic import Field, model_validator

from prefboost.chat import SayGoal
from prefboost.chat.goal_text import round_number
from prefboost.errors import DataError, MissingScores, Place, SettingsError
from prefboost.preferences.condition import fit_wording_to_scales
from prefboost.preferences.draw import draw_share
from prefboost.preferences.goal_texts import SIDES, find_equal_wordings, name_goal_columns, write_goal_texts
from prefboost.preferences.scales.fit import build_identity_scale, find_goal_scales
from prefboost.preferences.scales.kinds import FittedScale
from prefboost.preferences.scales.missing_marks import reject_marks
from prefboost.preferences.scales.score_range import PUBLISHED
from prefboost.preferences.score_hint import suggest_score_column
from prefboost.preferences.views import (
    average_weighted,
    build_goal_view,
    build_own_view,
    build_own_views,
    contradicts_scores,
    distance,
    gap,
    has_equal_scores,
    interleave,
    name_view,
    require_scores,
    restore_pairs,
    settle_contradictions,
    settle_ties,
    swap_sides,
)
from prefboost.settings import Settings, dump_with_kind
from prefboost.tables import (
    GOAL_PAIRS,
    PREFERENCE_PAIRS,
    REJECTS,
    Step,
    Table,
    aspects_of,
    count_reasons,
    refuse_other_tables,
    reject_where,
)

__all__ = ["RELABELLINGS", "HighGoalOnly", "Plain", "Relabelling", "RewardAugmented", "relabel"]

NO_SCORES_REMEDY = (
    "score the completions first: with a reward model (prefboost score FILE kind=reward_model model=...), or with "
    "implicit rewards beta * log(pi / pi_ref) of a policy trained on these pairs (implicit-reward augmentation, "
    "arXiv 2410.08067: prefboost score FILE kind=implicit policy=... reference=... scale=percentile)"
)


class Relabelling(Protocol):
    """A rule that turns preference pairs into goal pairs."""

    def views(self, pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Build goal pairs (columns of GoalPairs) and rejects."""


class RewardAugmented(Settings):
    """Both goals of every pair: the chosen completion wins under its score, the rejected one under its own."""

    kind: Literal["reward_augmented"] = Field("reward_augmented", description="The relabelling's name in recipes.")
    ties: Literal["drop", "mark"] = Field(
        "drop",
        description="Scores that are equal, or said in the same words, give one goal two answers: drop the pair, or "
        "keep one row with view tie; of scored completions, pair.ties: keep lets equal ones come so far.",
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

    def views(
        self, pairs: pl.DataFrame, path: str | None, say: SayGoal | None = None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Build both goal pairs of every pair (see `Relabelling`); with ``say``, goals of the same text tie."""
        if self.fraction < 1:
            pairs = pairs.filter(draw_share(self.seed, "prompt_id") < self.fraction)
        if self.aspects:
            return self._build_aspect_views(pairs, path, say)
        pairs, rejects = require_scores(pairs, path, self.contradictions)
        if self.goals != "own":
            goals = self.fixed_goals
            if say is not None:
                # The policy reads the numbers that prompts print, so they decide who is nearer.
                goals = tuple(round_number(goal, say.digits) for goal in goals)
                frame = pl.DataFrame({"goal": goals}, schema={"goal": pl.Float64})
                again = write_goal_texts(frame, say, {"": "goal"}).is_first_distinct().not_().arg_true()
                if len(again):
                    raise SettingsError(
                        f"relabel.grid: the goal {self.fixed_goals[again[0]]:.12g} has the same text as an earlier one",
                        remedy="leave one of the two out, or print goals with more decimals: condition.decimals=4",
                    )
            parts = [build_goal_view(pairs, goal, self.goals, path) for goal in goals]
            skipped = [aside for _, aside in parts if not aside.is_empty()]
            return interleave(pairs, [views for views, _ in parts]), pl.concat([rejects, *skipped])
        views, ties = _settle_equal_scores(build_own_views(pairs), pairs, self.ties, path, say)
        return interleave(pairs, views), pl.concat([rejects, ties])

    @property
    def fixed_goals(self) -> tuple[float, ...]:
        """The goals that are asked for whatever the scores of a pair: those of the grid, or the top."""
        top = PUBLISHED[1] if self.top is None else self.top
        return {"own": (), "grid": self.grid, "top": (top,)}[self.goals]

    def _build_aspect_views(
        self, pairs: pl.DataFrame, path: str | None, say: SayGoal | None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Build both views under goal vectors g; scores s are sum_a w_a abs(g_a - s_a) / sum_a w_a away from g."""
        rated = set(aspects_of(pairs.schema, "score_chosen")) & set(aspects_of(pairs.schema, "score_rejected"))
        missing = [name for name in self.aspects if name not in rated]
        if missing:
            raise DataError(
                f"no aspect {', '.join(missing)}; found {', '.join(sorted(rated)) or 'none'}",
                remedy="name aspects of the data, or none to use the overall score",
                place=Place(path=path, column=f"score.{missing[0]}"),
            )
        pairs, masked = reject_where(
            pairs,
            pl.all_horizontal(gap(aspect).is_null() for aspect in self.aspects),
            stage="relabel",
            reason="no aspect is rated on both sides",
            path=path,
        )
        pairs, opposed = settle_contradictions(
            pairs, average_weighted(self.aspects, self.weights, gap) < 0, path, self.contradictions
        )
        pairs = pairs.with_columns(apart=distance(self.aspects, self.weights))
        views = []
        for view, flipped in (("chosen", False), ("rejected", True)):
            goals = {f"goal.{aspect}": pl.col(f"score_{view}.{aspect}") for aspect in self.aspects}
            under_goal = pairs.with_columns(**goals, distance_chosen=pl.lit(0.0), distance_rejected="apart")
            turned = swap_sides(under_goal) if flipped else under_goal
            views.append(name_view(turned, view, flipped).with_columns(goal=pl.lit(None, dtype=pl.Float64)))
        alike = (
            None
            if say is None
            else find_equal_wordings(pairs, say, *(name_goal_columns(side, self.aspects) for side in SIDES))
        )
        views, ties = settle_ties(views, self.ties, path, (pairs["apart"] == 0).fill_null(False), alike)
        return interleave(pairs, views), pl.concat([masked, opposed, ties])


def _settle_equal_scores(
    views: Sequence[pl.DataFrame], pairs: pl.DataFrame, ties: str, path: str | None, say: SayGoal | None
) -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """Reject or mark the pairs of equal scores, and, where the wording is known, of goals with the same text."""
    scored = pairs["score_chosen"].is_not_null() & pairs["score_rejected"].is_not_null()
    alike = None if say is None else find_equal_wordings(pairs, say, *map(name_goal_columns, SIDES)) & scored
    same = pairs.select(has_equal_scores()).to_series()
    return settle_ties(views, ties, path, same, alike, shown_scores=pl.col("score_chosen"))


class _Control(Settings):
    """The part that the controls share: they drop the pairs that reward augmentation drops, to be comparable."""

    repeat: int = Field(1, ge=1, description="Copies of every pair; 2 gives as many rows as reward augmentation.")
    ties: Literal["drop", "mark"] = Field(
        "drop", description="As in reward augmentation, so that both train on the same pairs; a marked tie is one row."
    )
    contradictions: Literal["drop", "swap", "keep"] = Field(
        "drop", description="As in reward augmentation, so that both train on the same pairs; binary pairs always stay."
    )
    like: RewardAugmented | None = Field(
        None,
        description="A reward augmentation whose pairs are taken, exactly: its fraction, aspects, goals, ties and "
        "contradictions say which; needed where its pairs are not told by these settings alone.",
    )

    def _build_chosen_views(
        self, pairs: pl.DataFrame, path: str | None, say: SayGoal | None
    ) -> tuple[list[pl.DataFrame], pl.DataFrame]:
        """Build each pair under the goal of its chosen completion, never flipped, ``repeat`` times."""
        if self.like is None:
            pairs, rejects = require_scores(pairs, path, self.contradictions)
            copies = [build_own_view(pairs, "chosen", flipped=False, copy=copy) for copy in range(self.repeat)]
            chosen, ties = _settle_equal_scores(copies, pairs, self.ties, path, say)
            return chosen, pl.concat([rejects, ties])
        views, rejects = self.like.views(pairs, path, say)
        used = restore_pairs(views, pairs.columns)
        marked = used["pair_id"].is_in(views.filter(pl.col("view") == "tie")["pair_id"].implode())
        copies = [build_own_view(used, "chosen", flipped=False, copy=copy) for copy in range(self.repeat)]
        if self.like.aspects:
            goals = {f"goal.{aspect}": pl.col(f"score_chosen.{aspect}") for aspect in self.like.aspects}
            goals |= {"goal": pl.lit(None, dtype=pl.Float64), "distance_chosen": pl.lit(0.0)}
            apart = distance(self.like.aspects, self.like.weights)
            copies = [copy.with_columns(**goals, distance_rejected=apart) for copy in copies]
        chosen, _ = settle_ties(copies, "mark", path, marked)
        return chosen, rejects.filter(pl.col("id").is_in(used["pair_id"].implode()).not_())


class HighGoalOnly(_Control):
    """Control: the chosen completion's score is shown as the goal, and nothing is ever flipped."""

    kind: Literal["high_goal_only"] = Field("high_goal_only", description="The relabelling's name in recipes.")

    def views(
        self, pairs: pl.DataFrame, path: str | None, say: SayGoal | None = None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Build the pairs under the chosen completion's score (see `Relabelling`); ties as in reward augmentation."""
        chosen, rejects = self._build_chosen_views(pairs, path, say)
        return interleave(chosen[0], chosen), rejects


class Plain(_Control):
    """Control: the pairs as they are, without a goal: plain preference training through the same path."""

    kind: Literal["plain"] = Field("plain", description="The relabelling's name in recipes.")
    unscored: Literal["keep", "drop"] = Field(
        "keep",
        description="Pairs in which a completion has no finite score: keep them (binary data have none), or drop them, "
        "as reward augmentation of the same data has to.",
    )

    def views(
        self, pairs: pl.DataFrame, path: str | None, say: SayGoal | None = None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Build the pairs without a goal (see `Relabelling`); ties as in reward augmentation."""
        nothing = {name: pl.lit(None, dtype=pl.Float64) for name in ("goal", "distance_chosen", "distance_rejected")}
        if self.like is not None:
            chosen, rejects = self._build_chosen_views(pairs, path, say)
            # The view chosen becomes plain; a marked tie keeps its name.
            names = {
                "view": pl.col("view").str.replace("^chosen$", "plain"),
                "goal_pair_id": pl.col("goal_pair_id").str.replace(r"/chosen(/\d+)?$", "/plain${1}"),
            }
            bare = [view.drop(cs.starts_with("goal.")).with_columns(**names, **nothing) for view in chosen]
            return interleave(bare[0], bare), rejects
        if self.unscored == "drop":
            pairs, rejects = require_scores(pairs, path, self.contradictions)
        else:
            pairs, rejects = settle_contradictions(pairs, contradicts_scores(), path, self.contradictions)
        copies = [
            name_view(pairs, "plain", flipped=False, copy=copy).with_columns(**nothing) for copy in range(self.repeat)
        ]
        chosen, ties = _settle_equal_scores(copies, pairs, self.ties, path, say)
        return interleave(pairs, chosen), pl.concat([rejects, ties])


RELABELLINGS: dict[str, type[Settings]] = {
    "reward_augmented": RewardAugmented,
    "high_goal_only": HighGoalOnly,
    "plain": Plain,
}
"""Built-in relabellings by kind."""


def relabel(table: Table, how: Relabelling | None = None, *, say: SayGoal | None = None) -> Table:
    """Decide who wins under which goal.

    Args:
        table: PreferencePairs with scores (`Plain` needs none).
        how: the relabelling; default `RewardAugmented`.
        say: how `condition` will say the goals. Goals are printed rounded, so that two different scores can read alike:
            with ``say`` such pairs are ties here, for the controls too; without, `condition` finds them in the prompts.

    Returns:
        GoalPairs: the views of a pair stand next to each other and share ``pair_id``; what gives no goal pair is
        counted in the rejects, with its reason.

    Raises:
        MissingScores: the pairs are binary (no scores); the message names the remedy.
        DataError: the table is of another kind, or an aspect is unknown.
        SettingsError: a goal of the grid lies outside the table's scale, or is said in the same words as another.
        BrokenFact: a relabelling of someone else's breaks "the chosen completion is at least as near the goal".
    """
    how = how if how is not None else RewardAugmented()
    refuse_other_tables(table, PREFERENCE_PAIRS, task="relabel", remedy="call pair first")
    like = how.like if isinstance(how, _Control) else None
    aspects = tuple(getattr(like or how, "aspects", ()))
    rated = {f"score_chosen.{name}" for name in aspects} & set(table.frame.columns)
    binary = not rated and table.frame["score_chosen"].null_count() == len(table)
    if len(table) and binary and (like is not None or not isinstance(how, Plain)):
        raise MissingScores(
            f"the {len(table):,} pairs have no scores, so they have no goals",
            remedy=suggest_score_column(table) + NO_SCORES_REMEDY,
            place=Place(path=table.path, column="score_chosen"),
        )
    rows, marked = len(table), pl.DataFrame(schema=REJECTS)
    # Of a table that went through a scale, the scale has rejected marks in the place of a score.
    own_scale = None if table.scales else find_goal_scales(table).get("")
    if own_scale is not None and own_scale.missing:
        sides = ("score_chosen", "score_rejected")
        frame, marked = reject_marks(table.frame, sides, own_scale.missing, stage="relabel", path=table.path)
        table = replace(table, frame=frame)
    if "" in table.scales:
        how = _fit_goals(how, table.scales[""])
    scales = dict(table.scales)
    if say is not None and isinstance(how, RewardAugmented | _Control):
        # `condition` has to say goals on this scale: the pairs that are left need not show the same ends.
        scales = find_goal_scales(table) or {"": build_identity_scale(say.low, say.high)}
        views, rejects = how.views(table.frame, table.path, fit_wording_to_scales(say, scales, aspects))
    else:
        views, rejects = how.views(table.frame, table.path)
    notes: dict[str, object] = {"pairs_used": views["pair_id"].n_unique()}
    rejects = pl.concat([marked, rejects])
    if (left_out := rows - rejects["id"].n_unique() - views["pair_id"].n_unique()) > 0:
        notes["pairs_left_out_by_fraction"] = left_out
    step = Step(
        "relabel",
        dump_with_kind(how),
        rows_in=rows,
        rows_out=views.height,
        rejected=count_reasons(rejects),
        notes=notes,
    )
    return table.derive(GOAL_PAIRS, views, step, rejects=rejects, scales=scales)


def _fit_goals(how: Relabelling, scale: FittedScale) -> Relabelling:
    """Fill in the scale's top where the top is asked for without a number, and refuse goals outside the scale.

    Raises:
        SettingsError: no completion can reach a goal, so that every pair would only learn which of its two is nearer to
            an end.
    """
    if isinstance(how, _Control) and how.like is not None:
        return how.model_copy(update={"like": _fit_goals(how.like, scale)})
    if not isinstance(how, RewardAugmented):
        return how
    if how.goals == "top" and how.top is None:
        how = how.model_copy(update={"top": scale.top})
    low, high = scale.values[0], scale.values[-1]
    outside = [goal for goal in how.fixed_goals if not low <= goal <= high]
    if outside:
        word = "top" if how.goals == "top" else "grid"
        raise SettingsError(
            f"relabel.{word} asks for {', '.join(f'{goal:g}' for goal in outside)}, but the scale of these scores goes "
            f"from {low:g} to {high:g}",
            remedy=f"choose goals between {low:g} and {high:g}, or map the scores to another scale: "
            "scale={kind: min_max, low: 1, high: 10}",
        )
    return how
