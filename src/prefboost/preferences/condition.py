"""`condition`: say the goal in the prompt. Who wins was decided by `relabel`; this only writes text."""

from __future__ import annotations

from typing import Literal

import polars as pl

from prefboost.chat import SayGoal, goal_text
from prefboost.chat.template import Render, probe_template
from prefboost.errors import DataError, ModelError, Place
from prefboost.preferences.goals import FittedScale
from prefboost.tables import GOAL_PAIRS, MESSAGE, Step, Table, aspects_of, reject_where

__all__ = ["condition", "resolve_place"]

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


def condition(table: Table, say: SayGoal | None = None, *, render: Render | None = None) -> Table:
    """Write each row's goal into its prompt. Both completions of a row share that one prompt.

    Args:
        table: GoalPairs. Rows without a goal (the plain control) keep their prompt as it is.
        say: wording, place, number format.
        render: the chat template of the model to train, for ``place: auto``.

    Returns:
        GoalPairs with conditioned prompts. Prompts without a user turn cannot take a goal there and are rejects.

    Raises:
        ModelError: see `resolve_place`.
    """
    say = say if say is not None else SayGoal()
    if table.spec is not GOAL_PAIRS:
        raise DataError(
            f"condition needs GoalPairs, found {table.spec.name}",
            remedy="call relabel first",
            place=Place(path=table.path),
        )
    place, why = resolve_place(say, render)
    frame = table.frame
    rejects = None
    if place != "system":
        frame, rejects = reject_where(
            frame,
            ~pl.col("prompt").list.eval(pl.element().struct.field("role") == "user").list.any(),
            stage="condition",
            reason="the prompt has no user turn to say the goal in",
            path=table.path,
        )
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


def _with_prompts(frame: pl.DataFrame, say: SayGoal, place: Resolved) -> pl.DataFrame:
    aspects = aspects_of(frame.schema, "goal")
    names = ["goal", *[f"goal.{aspect}" for aspect in aspects]]
    keys = [pl.col(name).round(say.decimals) for name in names]
    asked = frame.lazy().select(keys).unique(maintain_order=True).collect()
    texts = [_text(row, aspects, say) for row in asked.iter_rows(named=True)]
    said = asked.with_columns(text=pl.Series(texts, dtype=pl.String))
    rounded = frame.select(keys)
    column = rounded.join(said, on=names, how="left", nulls_equal=True, maintain_order="left")["text"]
    return frame.with_columns(column.alias("_text")).with_columns(prompt=_placed(place)).drop("_text")


def _text(row: dict[str, float | None], aspects: list[str], say: SayGoal) -> str | None:
    wanted = {aspect: row[f"goal.{aspect}"] for aspect in aspects}
    if row["goal"] is None and all(value is None for value in wanted.values()):
        return None
    return goal_text(say, row["goal"], wanted)


def _message(role: pl.Expr | str, content: pl.Expr, extra: pl.Expr | None = None) -> pl.Expr:
    named = pl.lit(role) if isinstance(role, str) else role
    kept = pl.lit(None, dtype=pl.String) if extra is None else extra
    return pl.struct(role=named, content=content, extra=kept).cast(MESSAGE)


def _rewritten(at: pl.Expr, content: pl.Expr) -> pl.Expr:
    """The prompt with the content of message ``at`` replaced: what is before it, the message, what is after it."""
    old = pl.col("prompt").list.get(at)
    new = _message(old.struct.field("role"), content, old.struct.field("extra"))
    before = pl.col("prompt").list.slice(0, at)
    after = pl.col("prompt").list.slice(at + 1)
    return pl.concat_list(before, pl.concat_list(new), after)


def _placed(place: Resolved) -> pl.Expr:
    """The prompt with ``_text`` in it; equals `prefboost.chat.place_goal` row by row (property-tested)."""
    text = pl.col("_text")
    roles = pl.col("prompt").list.eval(pl.element().struct.field("role") == "user")
    if place == "system":
        own = pl.col("prompt").list.first()
        has_system = own.struct.field("role") == "system"
        zero = pl.lit(0, dtype=pl.Int64)
        extended = _rewritten(zero, pl.concat_str(text, own.struct.field("content"), separator="\n\n"))
        added = pl.concat_list(pl.concat_list(_message("system", text)), pl.col("prompt"))
        placed = pl.when(has_system).then(extended).otherwise(added)
    else:
        positions = (
            roles.list.arg_max() if place == "user" else roles.list.len() - 1 - roles.list.reverse().list.arg_max()
        )
        at = positions.cast(pl.Int64)
        own = pl.col("prompt").list.get(at).struct.field("content")
        parts = (text, own) if place == "user" else (own, text)
        placed = _rewritten(at, pl.concat_str(*parts, separator="\n\n"))
    return pl.when(text.is_null()).then(pl.col("prompt")).otherwise(placed)
