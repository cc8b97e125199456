"""`condition`: say the goal in the prompt. Who wins was decided by `relabel`; this only writes text."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import polars as pl

from prefboost.chat import SayGoal, goal_text
from prefboost.chat.template import Render, probe_template
from prefboost.errors import DataError, ModelError, Place
from prefboost.preferences.goals import FittedScale, asked_scale
from prefboost.tables import GOAL_PAIRS, MESSAGE, Step, Table, aspects_of, reject_where
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


def said_on(say: SayGoal, scale: FittedScale | None) -> SayGoal:
    """How a goal is said on a scale: its ends are named where ``say`` names none of its own (other than 1 and 10)."""
    plain = SayGoal()
    if scale is None or (say.low, say.high) != (plain.low, plain.high) or scale.values[0] >= scale.values[-1]:
        return say
    return say.model_copy(update={"low": scale.values[0], "high": scale.values[-1]})


def condition(table: Table, say: SayGoal | None = None, *, render: Render | None = None) -> Table:
    """Write each row's goal into its prompt. Both completions of a row share that one prompt.

    Args:
        table: GoalPairs. Rows without a goal (the plain control) keep their prompt as it is.
        say: wording, place, number format; the ends of the scale are the table's own (`said_on`).
        render: the chat template of the model to train, for ``place: auto``.

    Returns:
        GoalPairs with conditioned prompts. Prompts without a user turn cannot take a goal there and are rejects.

    Raises:
        ModelError: see `resolve_place`.
    """
    aspects = aspects_of(table.frame.schema, "goal")
    say = said_on(say if say is not None else SayGoal(), asked_scale(table.scales, aspects))
    if table.spec is not GOAL_PAIRS:
        raise DataError(
            f"condition needs GoalPairs, found {table.spec.name}",
            remedy="call relabel first",
            place=Place(path=table.path),
        )
    place, why = resolve_place(say, render)
    frame, rejects = with_room_for_goal(table.frame, place, stage="condition", path=table.path)
    said = _with_prompts(frame, say, place)
    step = Step(
        "condition",
        {**say.model_dump(), "place": place},
        rows_in=len(table),
        rows_out=said.height,
        rejected={} if rejects is None else dict(rejects["reason"].value_counts().iter_rows()),
        notes={"place": place, "because": why},
    )
    scales = table.scales
    if not scales:
        scales = {"": FittedScale(kind="declared", knots=(say.low, say.high), values=(say.low, say.high))}
    return table.then(GOAL_PAIRS, said, step, rejects=rejects, scales=scales)


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


def _with_prompts(frame: pl.DataFrame, say: SayGoal, place: Resolved) -> pl.DataFrame:
    aspects = aspects_of(frame.schema, "goal")
    names = ["goal", *[f"goal.{aspect}" for aspect in aspects]]
    rounded = frame.select([_rounded(name, say.decimals) for name in names])
    asked = rounded.lazy().unique(maintain_order=True).collect()
    wordings = [_text(say, goal, tuple(zip(aspects, wanted, strict=True))) for goal, *wanted in asked.iter_rows()]
    said = asked.with_columns(text=pl.Series(wordings, dtype=pl.String))
    texts = rounded.join(said, on=names, how="left", nulls_equal=True, maintain_order="left")["text"]
    return frame.with_columns(prompt=_placed(frame["prompt"], texts, place))


def _rounded(name: str, decimals: int) -> pl.Expr:
    """`prefboost.chat.goal_text.round_number` of a column, by the same arithmetic."""
    size = (pl.col(name).abs() * 10**decimals + 0.5).floor() / 10**decimals
    return pl.when(pl.col(name) < 0).then(-size).otherwise(size).alias(name)


@lru_cache(maxsize=1 << 16)
def _text(say: SayGoal, goal: float | None, wanted: tuple[tuple[str, float | None], ...]) -> str | None:
    """The wording of one goal; scores repeat from batch to batch, so what was said once is remembered."""
    if goal is None and all(value is None for _, value in wanted):
        return None
    return goal_text(say, goal, dict(wanted))


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
