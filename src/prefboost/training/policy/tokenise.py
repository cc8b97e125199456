"""Goal pairs to token ids, a unit (all views of one pair) at a time, with every lost or shortened row counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from prefboost.chat import SayGoal
from prefboost.chat.faithful import find_lost_part
from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import DataError, Place, TemplateRefusal
from prefboost.training.data.row_goals import render_row_goal
from prefboost.training.data.text_loss import REFUSED, UNFAITHFUL, TextLoss, UnfaithfulRendering, refuse_unfaithful
from prefboost.training.policy.one_winner import Winners

__all__ = ["NUMBERS", "TokenLimits", "Tokenised", "tokenise"]

NUMBERS = ("score_chosen", "score_rejected", "goal", "distance_chosen", "distance_rejected")
"""Numbers that travel with every view to the loss and the log; null where the data have none."""

_REQUIRED = ("pair_id", "prompt_id", "prompt", "chosen", "rejected")
_TOKEN_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class TokenLimits:
    """The most tokens of prompts and completions.

    Args:
        max_length: most tokens of prompt and completion together; None is no limit.
        max_prompt_length: most tokens of a prompt.
        ends_cut: whether a completion that generation cut gets the token that ends a turn.
        positions: most tokens that the model was made for; longer sequences are counted, not cut.
    """

    max_length: int | None
    max_prompt_length: int | None
    ends_cut: bool = False
    positions: int | None = None


@dataclass(frozen=True)
class _Encoding:
    """The rules by which one view becomes token ids.

    Args:
        encoder: of the policy's tokenizer.
        limits: the most tokens.
        goal: the goal's text in the view's prompt; None where none is said.
    """

    encoder: ChatEncoder
    limits: TokenLimits
    goal: str | None


@dataclass(frozen=True)
class Tokenised:
    """Units as token ids.

    Args:
        units: one row a unit: unit_id, prompt_id, and lists with one item a view: view, prompt_ids, chosen_ids,
            rejected_ids and the ``NUMBERS``.
        rows: rows that went in.
        dropped: reason -> rows that are not in ``units``.
        loss: what was cut or left out, and the rows that the chat template cannot render.
    """

    units: pa.Table
    rows: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    loss: TextLoss = field(default_factory=TextLoss)

    @property
    def shortened(self) -> Mapping[str, int]:
        """What was cut or left out -> rows."""
        return self.loss.shortened

    @property
    def views(self) -> int:
        """Rows that are trained on."""
        return self.rows - sum(self.dropped.values())

    def refuse_empty(self) -> None:
        """Refuse to train on no pairs.

        Raises:
            DataError: no unit is left; says how many rows were dropped for which reason.
        """
        if self.units.num_rows:
            return
        reasons = "; ".join(f"{count:,} because {reason}" for reason, count in self.dropped.items())
        raise DataError(
            f"there is no pair to train on: of {self.rows:,} rows {sum(self.dropped.values()):,} were dropped"
            + (f", {reasons}" if reasons else ""),
            remedy="if completions did not fit, raise max_length or lower max_prompt_length; otherwise give more data",
        )


def tokenise(
    pairs: pa.Table, encoder: ChatEncoder, limits: TokenLimits, *, say: SayGoal | None = None, by_unit: bool = True
) -> Tokenised:
    """Tokenise every goal pair.

    Args:
        pairs: GoalPairs, conditioned: the goal already stands in the prompt.
        encoder: of the policy's tokenizer.
        limits: too long prompts lose tokens from the left. Where the goal's text would be lost, what stands from the
            beginning to the end of that text is kept instead, if it fits. Too long completions lose their end.
        say: how the goal was said; needed to find its text in too long prompts.
        by_unit: False makes each row a unit of its own (for experiments).

    Returns:
        the units. A completion that generation cut (``finish_chosen`` or ``finish_rejected`` is "length") has no end of
        turn, unless the limits say so. If one view of a unit cannot be used, the whole unit is dropped. Rows whose
        conversation the chat template refuses, or whose completion it does not write whole, cannot be used.

    Raises:
        DataError: a column is missing.
        BrokenFact: both completions of a pair win under the same rendered prompt.
    """
    for name in _REQUIRED:
        if name not in pairs.column_names:
            raise DataError(
                f"training needs a column {name!r}, found {', '.join(pairs.column_names) or 'none'}",
                remedy="make goal pairs with pair, relabel and condition (prefboost augment does all three)",
                place=Place(column=name),
            )
    units: dict[str, list[dict[str, Any]]] = {}
    bad: dict[str, str] = {}
    loss, winners = TextLoss(), Winners()
    # One pass in batches: rows as Python objects take many times the memory of their columns.
    for number, row in enumerate(_iterate_rows(pairs)):
        unit_id = row["pair_id"] if by_unit else row.get("goal_pair_id") or f"{row['pair_id']}/{row.get('view')}"
        try:
            # A template without system messages may get them merged into the user turn, if the settings say so.
            prompt = encoder.renderable_prompt(row["prompt"], row["chosen"])
            prompt_text = encoder.render_prompt(prompt)
            winners.add(number, row, prompt_text)
            how = _Encoding(encoder, limits, None if say is None else render_row_goal(row, say))
            view = _encode({**row, "prompt": prompt}, prompt_text, how, loss)
            reason = _find_fault(view)
        except TemplateRefusal as error:
            view, reason = _NO_TOKENS, UNFAITHFUL if isinstance(error, UnfaithfulRendering) else REFUSED
            loss.refusal = loss.refusal or error
            loss.reject(row, reason, error.message)
        # Unusable views are kept until the end: their unit is dropped as a whole, whenever its other views come.
        # Ids as arrays, which take a ninth of the memory of lists; a vocabulary fits into 32 bits.
        arrays = {name: np.asarray(view[name], dtype=np.int32) for name in _TOKEN_COLUMNS}
        units.setdefault(unit_id, []).append(view | arrays)
        if reason:
            bad.setdefault(unit_id, reason)
    # After the loop, so that the message can count all conflicts and name the first rows.
    winners.refuse_conflicts()
    dropped: Counter[str] = Counter()
    # The views of a pair balance each other: each completion wins under its own goal.
    for unit_id, reason in bad.items():
        dropped[reason] += len(units.pop(unit_id))
    return Tokenised(_build_table(units), pairs.num_rows, dict(dropped), loss)


def _iterate_rows(pairs: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in pairs.to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from batch.to_pylist()


def _encode(row: Mapping[str, Any], prompt_text: str, how: _Encoding, loss: TextLoss) -> dict[str, Any]:
    """Encode one view, whose prompt is rendered.

    Raises:
        TemplateRefusal: the template refuses the conversation.
        UnfaithfulRendering: it does not write a completion whole.
    """
    encoder, prompt = how.encoder, row["prompt"]
    # Encoded once for both sides, so that they share these tokens in the stream.
    prompt_ids = encoder.encode([prompt_text])[0]
    sides: dict[str, list[int]] = {}
    open_ends = 0
    for side in ("chosen", "rejected"):
        # A completion that generation cut in mid-sentence must not teach the model to stop there.
        ended = how.limits.ends_cut or row.get(f"finish_{side}") != "length"
        whole_text = encoder.render_conversation(prompt, row[side], ended=ended)
        # Tokenised together with the prompt: alone, a tokenizer may split the border otherwise.
        sides[side] = encoder.completion_ids(prompt_text, prompt_ids, whole_text)
        refuse_unfaithful(whole_text[len(prompt_text) :], row[side], side)
        open_ends += ended and not encoder.ends_turn(sides[side])
        loss.count(f"end of turn of {side}", where=not ended)
    loss.count("no end of turn", where=open_ends > 0)
    loss.count("lost message", where=find_lost_part(prompt_text, prompt, ("system", "user")) is not None)
    return {
        "prompt_id": row["prompt_id"],
        "view": row.get("view") or "plain",
        **_cut_to_limits(prompt_text, prompt_ids, sides, how, loss),
        **{name: row.get(name) for name in NUMBERS},
    }


def _cut_to_limits(
    prompt_text: str,
    prompt_ids: list[int],
    sides: Mapping[str, list[int]],
    how: _Encoding,
    loss: TextLoss,
) -> dict[str, list[int]]:
    """Cut what is too long, and count it."""
    limits = how.limits
    if limits.max_prompt_length and len(prompt_ids) > limits.max_prompt_length:
        whole, limit = prompt_ids, limits.max_prompt_length
        prompt_ids = whole[-limit:]
        start = prompt_text.find(how.goal) if how.goal else -1
        if how.goal and start >= 0:
            # Token counts of text prefixes; off by one at most where a token spans the border.
            before = len(how.encoder.encode([prompt_text[:start]])[0])
            head = len(how.encoder.encode([prompt_text[: start + len(how.goal)]])[0])
            # Everything up to the goal's end stays, then as many of the last tokens as fit: only where a plain cut
            # would lose the goal, and the part up to it fits at all.
            if before < len(whole) - limit and head < limit:
                prompt_ids = whole[:head] + whole[len(whole) - (limit - head) :]
        loss.count("prompt")
        # Without the goal's beginning to keep, the cut is a plain suffix, and the first turn's header is gone.
        loss.count("beginning of prompt", where=prompt_ids == whole[-len(prompt_ids) :])
    # Both completions get the same room, so that truncation favours neither side.
    room = max(0, limits.max_length - len(prompt_ids)) if limits.max_length else None
    cut = {side: ids[:room] for side, ids in sides.items()}
    for side, ids in sides.items():
        loss.count(side, where=len(cut[side]) < len(ids))
    loss.count("one token", where=any(len(cut[side]) == 1 < len(ids) for side, ids in sides.items()))
    longest = len(prompt_ids) + max(map(len, cut.values()))
    loss.count("beyond positions", where=limits.positions is not None and longest > limits.positions)
    return {"prompt_ids": prompt_ids, **{f"{side}_ids": ids for side, ids in cut.items()}}


def _find_fault(view: Mapping[str, Any]) -> str | None:
    if not view["prompt_ids"]:
        return "the prompt has no tokens"
    if not view["chosen_ids"] or not view["rejected_ids"]:
        return "a completion has no tokens within max_length"
    if view["chosen_ids"] == view["rejected_ids"]:
        return "the two completions are equal within max_length"
    return None


_NO_TOKENS: dict[str, Any] = {
    "prompt_id": None,
    "view": None,
    **dict.fromkeys(_TOKEN_COLUMNS, ()),
    **dict.fromkeys(NUMBERS),
}
"""A view that cannot be rendered; its unit is dropped."""

_LISTS: dict[str, pa.DataType] = {
    "view": pa.list_(pa.string()),
    **{name: pa.list_(pa.list_(pa.int32())) for name in _TOKEN_COLUMNS},
    **{name: pa.list_(pa.float64()) for name in NUMBERS},
}


def _build_table(units: Mapping[str, Sequence[Mapping[str, Any]]]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "unit_id": pa.array(list(units), pa.string()),
        "prompt_id": pa.array([views[0]["prompt_id"] for views in units.values()], pa.string()),
    }
    for name, dtype in _LISTS.items():
        columns[name] = pa.array([[view[name] for view in views] for views in units.values()], dtype)
    return pa.table(columns)
