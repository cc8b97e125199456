"""`condition`: say the goal in the prompt. Who wins was decided by `relabel`; this only writes text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl

from prefboost.chat import SayGoal
from prefboost.chat.goal_text import decimals_for
from prefboost.chat.template import Render, probe_template
from prefboost.errors import DataError, ModelError, Place
from prefboost.preferences.goal_texts import SIDES, goal_of, said_alike, text_numbers
from prefboost.preferences.scales.fit import choose_goal_scale
from prefboost.preferences.scales.identity import build_identity_scale, find_goal_scales
from prefboost.preferences.scales.kinds import FittedScale
from prefboost.preferences.views import SAID_ALIKE
from prefboost.tables import (
    GOAL_PAIRS,
    MESSAGE,
    ONE_WINNER,
    REJECTS,
    Step,
    Table,
    aspects_of,
    check_fact,
    reject_where,
)
from prefboost.tables.message_lists import insert_first, replace_contents

__all__ = ["condition", "resolve_place", "said_on", "with_room_for_goal"]

Resolved = Literal["system", "user", "after"]


def resolve_place(say: SayGoal, render: Render | None = None) -> tuple[Resolved, str]:
    """Where the goal will stand, and why.

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


def said_on(say: SayGoal, scales: Mapping[str, FittedScale], aspects: Sequence[str] = ()) -> SayGoal:
    """How a goal is said on the scales of a table.

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
    asked = [scales[name] for name in aspects if name in scales] or [scale]
    narrowest = min(each.values[-1] - each.values[0] for each in asked)
    return say.model_copy(update={"decimals": decimals_for(narrowest)})


def condition(table: Table, say: SayGoal | None = None, *, render: Render | None = None) -> Table:
    """Write each row's goal into its prompt. Both completions of a row share that one prompt.

    Args:
        table: GoalPairs. Rows without a goal (the plain control) keep their prompt as it is.
        say: wording, place, number format; the ends of the scale are the table's own (`said_on`, `find_goal_scales`).
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
    if table.spec is not GOAL_PAIRS:
        raise DataError(
            f"condition needs GoalPairs, found {table.spec.name}",
            remedy="call relabel first",
            place=Place(path=table.path),
        )
    frame, untold = _without_silent_ties(table, say)
    say = said_on(say, find_goal_scales(table), aspects)
    place, why = resolve_place(say, render)
    frame, rejects = with_room_for_goal(frame, place, stage="condition", path=table.path)
    texts, numbers = text_numbers(frame, say, {name.partition(".")[2]: name for name in _goals(frame)})
    frame, numbers, alike = _with_one_winner(frame, numbers, texts, _marks_ties(table), table.path)
    said = frame.with_columns(prompt=_placed(frame["prompt"], texts.gather(numbers), place))
    check_fact(said, ONE_WINNER, GOAL_PAIRS, path=table.path)
    rejects = pl.concat([untold, *([] if rejects is None else [rejects]), alike])
    step = Step(
        "condition",
        {**say.model_dump(), "place": place},
        rows_in=len(table),
        rows_out=said.height,
        rejected=dict(Counter(rejects["reason"].to_list())),
        notes={"place": place, "because": why},
    )
    scales = table.scales
    if not scales:
        scales = {"": build_identity_scale(say.low, say.high)}
    return table.derive(GOAL_PAIRS, said, step, rejects=rejects, scales=scales)


def with_room_for_goal(
    frame: pl.DataFrame, place: Resolved, *, stage: str, path: str | None
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Rows whose prompt can take a goal: in a system message every one, beside the user's text those with a user turn.

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


def _goals(frame: pl.DataFrame) -> list[str]:
    return ["goal", *[f"goal.{aspect}" for aspect in aspects_of(frame.schema, "goal")]]


def _marks_ties(table: Table) -> bool:
    """Whether the relabelling that made the table keeps one row of a tied pair."""
    relabelled = [step.settings for step in table.steps if step.verb == "relabel"]
    return bool(relabelled) and relabelled[-1].get("ties") == "mark"


def _relabelled(table: Table) -> Mapping[str, Any]:
    """Return the settings of the relabelling that made the table; of a control, those of the one that it follows."""
    last = next((step.settings for step in reversed(table.steps) if step.verb == "relabel"), {})
    return {**last, **(last.get("like") or {}), "kind": last.get("kind")}


def _without_silent_ties(table: Table, say: SayGoal) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drop or mark pairs of the controls whose two scores are said alike, as reward augmentation drops or marks them.

    `relabel` does so where it is given ``say``. A control has one view of a pair, so that nothing in its rows
    contradicts, but it would train on pairs that the method it is compared with leaves out.
    """
    nothing = pl.DataFrame(schema=REJECTS)
    how = _relabelled(table)
    if how["kind"] not in ("plain", "high_goal_only") or how.get("goals", "own") != "own":
        return table.frame, nothing
    aspects = tuple(how.get("aspects", ()))
    goals = [goal_of(side, aspects) for side in SIDES]
    said = said_alike(table.frame, said_on(say, find_goal_scales(table), aspects), *goals)
    scored = (pl.any_horizontal(pl.col(name).is_not_null() for name in goal.values()) for goal in goals)
    alike = said & table.frame.select(pl.all_horizontal(*scored, pl.col("view") != "tie").alias("alike")).to_series()
    if not alike.any():
        return table.frame, nothing
    if how["ties"] == "mark":
        first = table.frame["pair_id"].is_first_distinct()
        return _marked(table.frame, alike & first).filter(~alike | first), nothing
    return reject_where(
        table.frame, pl.lit(alike), stage="condition", reason=SAID_ALIKE, path=table.path,
        found=pl.format("{} and {}", *[next(iter(goal.values())) for goal in goals]),
    )  # fmt: skip


def _marked(frame: pl.DataFrame, tied: pl.Series) -> pl.DataFrame:
    """Name rows as the one row of a tie."""
    marks = {"view": pl.lit("tie"), "goal_pair_id": pl.col("pair_id") + "/tie"}
    return frame.with_columns(
        pl.when(tied).then(value).otherwise(pl.col(name)).alias(name) for name, value in marks.items()
    )


def _with_one_winner(
    frame: pl.DataFrame, numbers: pl.Series, texts: pl.Series, mark: bool, path: str | None
) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """The rows without those pairs of which both completions win under the same text, their texts' numbers, rejects."""
    nothing = pl.DataFrame(schema=REJECTS)
    if not frame["flipped"].any():
        return frame, numbers, nothing
    told = frame.select(pair=pl.col("pair_id").hash(0), view="view", flipped="flipped").with_columns(text=numbers)
    both = pl.col("flipped").n_unique().over("pair", "text") > 1
    alike = told.select(alike=both & pl.lit(texts.is_not_null().gather(numbers))).to_series()
    if not alike.any():
        return frame, numbers, nothing
    if mark:
        first = told.select(first=pl.struct("pair", "text").is_first_distinct() & (pl.col("view") == "chosen"))
        tied = alike & first["first"]
        frame = _marked(frame, tied)
        own = told.with_columns(tied=tied).select(pl.col("tied").any().over("pair", "text")).to_series()
        twins = alike & own & ~tied
        frame, numbers, alike = frame.filter(~twins), numbers.filter(~twins), (alike & ~own).filter(~twins)
    _, rejects = reject_where(
        frame, pl.lit(alike), stage="condition", reason=SAID_ALIKE, path=path,
        found=pl.format("{} and {}", "score_chosen", "score_rejected"),
    )  # fmt: skip
    return frame.filter(~alike), numbers.filter(~alike), rejects


def _placed(prompts: pl.Series, texts: pl.Series, place: Resolved) -> pl.Series:
    """The prompts with the texts in them; equals `prefboost.chat.place_goal` row by row (property-tested)."""
    rows = pl.DataFrame({"prompt": prompts, "text": texts})
    said = pl.col("text").is_not_null()
    if place == "system":
        led = pl.col("prompt").list.first().struct.field("role") == "system"
        extended, at = said & led.fill_null(False), pl.lit(0)
        own = pl.col("prompt").list.first().struct.field("content")
    else:
        roles = pl.col("prompt").list.eval(pl.element().struct.field("role") == "user")
        at = roles.list.arg_max() if place == "user" else roles.list.len() - 1 - roles.list.reverse().list.arg_max()
        extended, own = said, pl.col("prompt").list.get(at).struct.field("content")
    found = rows.select(extended=extended, at=at, added=said & ~extended)
    if found["extended"].any():
        parts = (own, pl.col("text")) if place == "after" else (pl.col("text"), own)
        contents = rows.select(pl.concat_str(*parts, separator="\n\n")).to_series()
        prompts = replace_contents(prompts, found["extended"], found["at"], contents)
    if not found["added"].any():
        return prompts
    system = pl.struct(role=pl.lit("system"), content=pl.col("text"), extra=pl.lit(None, dtype=pl.String))
    return insert_first(prompts, found["added"], rows.select(system.cast(MESSAGE)).to_series())
