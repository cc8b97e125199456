"""`condition`: write the goal into the prompt. `relabel` has decided who wins; this only writes text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl

from prefboost.chat import SayGoal
from prefboost.chat.goal_text import decimals_for
from prefboost.chat.template import Render, probe_template
from prefboost.errors import ModelError
from prefboost.preferences.goal_texts import SIDES, find_equal_wordings, name_goal_columns, number_goal_texts
from prefboost.preferences.scales.fit import build_identity_scale, choose_goal_scale, find_goal_scales
from prefboost.preferences.scales.kinds import FittedScale
from prefboost.preferences.views import SAID_ALIKE
from prefboost.tables import (
    GOAL_PAIRS,
    MESSAGE,
    ONE_WINNER,
    REJECTS,
    Table,
    aspects_of,
    check_fact,
    refuse_other_tables,
    reject_where,
)
from prefboost.tables.message_lists import insert_first, replace_contents

__all__ = ["condition", "resolve_place", "fit_wording_to_scales", "reject_without_user_turn"]

Resolved = Literal["system", "user", "after"]


def resolve_place(say: SayGoal, render: Render | None = None) -> tuple[Resolved, str]:
    """Resolve where the goal stands, and say why.

    Args:
        say: ``place`` may be ``auto``.
        render: the chat template to probe; none: ``auto`` is ``system``.

    Raises:
        ModelError: the place asked for is ``system`` and the template has no such role, or the template gives the two
            sides of a pair different prompts.
    """
    if render is None:
        if say.place == "auto":
            return "system", "no tokenizer was given, so the goal stands in the system message"
        return say.place, "as set"
    probe = probe_template(render)
    if not probe.same_prompt:
        raise ModelError(
            "the chat template renders the prompt differently in front of different completions",
            remedy="use another chat template: the two sides of a pair must share the prompt's tokens",
        )
    if say.place == "auto":
        return probe.place, f"the template's system role is {probe.system_role}"
    if say.place == "system" and probe.system_role in ("dropped", "refused"):
        raise ModelError(
            f"place is system, but the chat template's system role is {probe.system_role}: the goal would be lost",
            remedy="set condition.place to user, after or auto",
        )
    return say.place, "as set"


def fit_wording_to_scales(say: SayGoal, scales: Mapping[str, FittedScale], aspects: Sequence[str] = ()) -> SayGoal:
    """Set the ends and decimals of a wording to the scales of a table.

    Args:
        say: its ends of the scale stay where they are others than 1 and 10, and its decimals where it sets them.
        scales: aspect -> scale, "" is the overall score's; none leaves ``say`` as it is.
        aspects: those that goals are made of.

    Returns:
        ``say`` with the ends of the scale, and with decimals that tell goals apart on the narrowest of the scales.
    """
    scale = choose_goal_scale(scales, aspects)
    if scale is None or scale.values[0] >= scale.values[-1]:
        return say
    plain = SayGoal()
    if (say.low, say.high) == (plain.low, plain.high):
        say = say.model_copy(update={"low": scale.values[0], "high": scale.values[-1]})
    if say.decimals is not None:
        return say
    # Decimals must tell goals apart on the narrowest scale, such as that of an aspect from 0 to 1.
    spans = [scales[name] for name in aspects if name in scales] or [scale]
    narrowest = min(each.values[-1] - each.values[0] for each in spans)
    return say.model_copy(update={"decimals": decimals_for(narrowest)})


def condition(table: Table, say: SayGoal | None = None, *, render: Render | None = None) -> Table:
    """Write each row's goal into its prompt. Both completions of a row share that one prompt.

    Args:
        table: GoalPairs. Rows without a goal (the plain control) keep their prompt as it is.
        say: wording, place, number format; the scale's ends are the table's own (`find_goal_scales`).
        render: the chat template of the model to train, for ``place: auto``.

    Returns:
        GoalPairs with conditioned prompts. Prompts without a user turn cannot take a goal there and are rejects; so are
        pairs of which both completions would win under the same words (or one row of each is marked as a tie, where
        `relabel` marks ties), in the controls too.

    Raises:
        ModelError: see `resolve_place`.
        BrokenFact: both completions of a pair win under the same prompt, since a relabelling gave a row no goal.
    """
    aspects = aspects_of(table.frame.schema, "goal")
    say = say if say is not None else SayGoal()
    refuse_other_tables(table, GOAL_PAIRS, task="condition", remedy="call relabel first")
    # A relabelling that marks ties keeps one row of a tied pair.
    relabelling = next((step.settings for step in reversed(table.steps) if step.verb == "relabel"), {})
    marks_ties = relabelling.get("ties") == "mark"
    frame, silent = _settle_silent_ties(table, relabelling, say)
    say = fit_wording_to_scales(say, find_goal_scales(table), aspects)
    place, why = resolve_place(say, render)
    frame, rejects = reject_without_user_turn(frame, place, stage="condition", path=table.path)
    texts, numbers = number_goal_texts(frame, say, {name.partition(".")[2]: name for name in _list_goal_columns(frame)})
    frame, numbers, alike = _settle_two_winners(frame, numbers, texts, marks_ties, table.path)
    conditioned = frame.with_columns(prompt=_place_texts(frame["prompt"], texts.gather(numbers), place))
    check_fact(conditioned, ONE_WINNER, GOAL_PAIRS, path=table.path)
    rejects = pl.concat([silent, *([] if rejects is None else [rejects]), alike])
    step = table.build_step(
        "condition", {**say.model_dump(), "place": place}, conditioned, rejects, {"place": place, "because": why}
    )
    scales = table.scales
    if not scales:
        scales = {"": build_identity_scale(say.low, say.high)}
    return table.derive(GOAL_PAIRS, conditioned, step, rejects=rejects, scales=scales)


def reject_without_user_turn(
    frame: pl.DataFrame, place: Resolved, *, stage: str, path: str | None
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Reject rows whose prompt has no user turn, where the goal is to stand in one.

    Args:
        frame: with ``prompt``.
        place: where the goal is to stand.
        stage: who asks, for the rejects.
        path: where the rows came from, for the rejects.

    Returns:
        the rows that are left, and the rejects; None where every prompt has room.
    """
    if place == "system":
        return frame, None
    return reject_where(
        frame,
        ~pl.col("prompt").list.eval(pl.element().struct.field("role") == "user").list.any(),
        stage=stage,
        reason="the prompt has no user turn to say the goal in",
        path=path,
    )


def _list_goal_columns(frame: pl.DataFrame) -> list[str]:
    return ["goal", *[f"goal.{aspect}" for aspect in aspects_of(frame.schema, "goal")]]


def _settle_silent_ties(
    table: Table, relabelling: Mapping[str, Any], say: SayGoal
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drop or mark pairs of the controls whose two scores are said alike, as reward augmentation drops or marks them.

    `relabel` does so where it is given ``say``. A control has one view of a pair, so that nothing in its rows
    contradicts, but it would train on pairs that the method it is compared with leaves out.
    """
    nothing = pl.DataFrame(schema=REJECTS)
    # Of a control, the settings of the relabelling that it follows count.
    how = {**relabelling, **(relabelling.get("like") or {}), "kind": relabelling.get("kind")}
    # Under a grid or the top, both completions face the same goal, and their own scores are not printed.
    if how["kind"] not in ("plain", "high_goal_only") or how.get("goals", "own") != "own":
        return table.frame, nothing
    aspects = tuple(how.get("aspects", ()))
    goals = [name_goal_columns(side, aspects) for side in SIDES]
    equal = find_equal_wordings(table.frame, fit_wording_to_scales(say, find_goal_scales(table), aspects), *goals)
    scored = (pl.any_horizontal(pl.col(name).is_not_null() for name in goal.values()) for goal in goals)
    alike = equal & table.frame.select(pl.all_horizontal(*scored, pl.col("view") != "tie").alias("alike")).to_series()
    if not alike.any():
        return table.frame, nothing
    if how["ties"] == "mark":
        first = table.frame["pair_id"].is_first_distinct()
        return _mark_ties(table.frame, alike & first).filter(~alike | first), nothing
    return reject_where(
        table.frame, pl.lit(alike), stage="condition", reason=SAID_ALIKE, path=table.path,
        value=pl.format("{} and {}", *[next(iter(goal.values())) for goal in goals]),
    )  # fmt: skip


def _mark_ties(frame: pl.DataFrame, tied: pl.Series) -> pl.DataFrame:
    """Name rows as the one row of a tie."""
    marks = {"view": pl.lit("tie"), "goal_pair_id": pl.col("pair_id") + "/tie"}
    return frame.with_columns(
        pl.when(tied).then(value).otherwise(pl.col(name)).alias(name) for name, value in marks.items()
    )


def _settle_two_winners(
    frame: pl.DataFrame, numbers: pl.Series, texts: pl.Series, mark: bool, path: str | None
) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """Reject or mark the pairs of which both completions win under the same text."""
    nothing = pl.DataFrame(schema=REJECTS)
    if not frame["flipped"].any():
        return frame, numbers, nothing
    rows = frame.select(pair=pl.col("pair_id").hash(0), view="view", flipped="flipped").with_columns(text=numbers)
    if rows.select((pl.col("pair") ^ pl.col("text").hash(1)).n_unique() == pl.len()).item():
        return frame, numbers, nothing  # no two rows of a pair have the same text, as is usual
    # Rows are compared by the number of their text, which is cheaper than by the text.
    both = pl.col("flipped").n_unique().over("pair", "text") > 1
    alike = rows.select(alike=both & pl.lit(texts.is_not_null().gather(numbers))).to_series()
    if not alike.any():
        return frame, numbers, nothing
    if mark:
        first = rows.select(first=pl.struct("pair", "text").is_first_distinct() & (pl.col("view") == "chosen"))
        tied = alike & first["first"]
        frame = _mark_ties(frame, tied)
        winner = rows.with_columns(tied=tied).select(pl.col("tied").any().over("pair", "text")).to_series()
        # The twin of a marked row goes without a reject: its pair is still there, once.
        twins = alike & winner & ~tied
        frame, numbers, alike = frame.filter(~twins), numbers.filter(~twins), (alike & ~winner).filter(~twins)
    _, rejects = reject_where(
        frame, pl.lit(alike), stage="condition", reason=SAID_ALIKE, path=path,
        value=pl.format("{} and {}", "score_chosen", "score_rejected"),
    )  # fmt: skip
    return frame.filter(~alike), numbers.filter(~alike), rejects


def _place_texts(prompts: pl.Series, texts: pl.Series, place: Resolved) -> pl.Series:
    """Write the texts into the prompts; equals `prefboost.chat.place_goal` row by row (property-tested)."""
    # Only the message that changes is rebuilt; the rest of a conversation is not copied.
    rows = pl.DataFrame({"prompt": prompts, "text": texts})
    has_goal = pl.col("text").is_not_null()
    if place == "system":
        has_system = pl.col("prompt").list.first().struct.field("role") == "system"
        extended, at = has_goal & has_system.fill_null(False), pl.lit(0)
        content = pl.col("prompt").list.first().struct.field("content")
    else:
        roles = pl.col("prompt").list.eval(pl.element().struct.field("role") == "user")
        at = roles.list.arg_max() if place == "user" else roles.list.len() - 1 - roles.list.reverse().list.arg_max()
        extended, content = has_goal, pl.col("prompt").list.get(at).struct.field("content")
    places = rows.select(extended=extended, at=at, added=has_goal & ~extended)
    if places["extended"].any():
        parts = (content, pl.col("text")) if place == "after" else (pl.col("text"), content)
        contents = rows.select(pl.concat_str(*parts, separator="\n\n")).to_series()
        prompts = replace_contents(prompts, places["extended"], places["at"], contents)
    if not places["added"].any():
        return prompts
    system = pl.struct(role=pl.lit("system"), content=pl.col("text"), extra=pl.lit(None, dtype=pl.String))
    return insert_first(prompts, places["added"], rows.select(system.cast(MESSAGE)).to_series())
