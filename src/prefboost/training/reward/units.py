"""Preference pairs or scored completions to units of token ids: all texts of a prompt (or pair), each text once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from prefboost.chat.faithful import find_lost_part
from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import DataError, MissingScores, Place, TemplateRefusal
from prefboost.training.data.text_loss import REFUSED, UNFAITHFUL, TextLoss, UnfaithfulRendering, refuse_unfaithful

__all__ = ["RewardUnits", "Wanted", "reward_units"]

_SIDES = ("chosen", "rejected")
_ROWS_AT_ONCE = 512

TOO_LONG = "a conversation has more than max_length tokens"
EQUAL = "the two conversations have equal tokens"
NO_GAP = "a side of the pair has no score"
NO_LABEL = "none of the wanted scores is known"


@dataclass(frozen=True)
class Wanted:
    """What a loss needs of the data.

    Args:
        heads: what each head stands for: ``overall`` or an aspect.
        compares: pairs are needed; otherwise scores are.
        needs_gap: both sides of a pair must have a score.
        by_prompt: units are prompts; otherwise pairs.
        max_length: most tokens of a text.
        positions: most tokens that the model was made for; longer texts are counted.
    """

    heads: tuple[str, ...] = ("overall",)
    compares: bool = True
    needs_gap: bool = False
    by_prompt: bool = True
    max_length: int | None = None
    positions: int | None = None


@dataclass(frozen=True)
class RewardUnits:
    """Units as token ids.

    Args:
        units: one row a unit: unit_id, prompt_id, ``texts`` (token ids, different ones), ``chosen`` and ``rejected``
            (numbers of texts, one a pair), ``gap`` (score of chosen minus that of rejected), ``wins`` and ``weight``
            (of pairs, null where not said), ``length_delta`` and ``excess_length`` (hundreds of tokens; see
            `prefboost.losses.reward.RewardBatch`), ``labels`` (a score a head for every text; null where not rated),
            ``items`` (pairs, or texts where scores are wanted), ``ids``.
        rows: rows that went in.
        dropped: reason -> rows that are not in ``units``.
        loss: what the texts lose, and the rows that the chat template cannot render.
    """

    units: pa.Table
    rows: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    loss: TextLoss = field(default_factory=TextLoss)


@dataclass(frozen=True)
class _Pair:
    """Numbers of two texts of a unit, and what the data say of the pair."""

    chosen: int
    rejected: int
    gap: float | None
    wins: float | None
    weight: float | None
    length_delta: float


@dataclass
class _Unit:
    prompt_id: str
    texts: dict[tuple[int, ...], int] = field(default_factory=dict)
    labels: list[list[float | None]] = field(default_factory=list)
    pairs: list[_Pair] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def number_of(self, ids: Sequence[int], labels: list[float | None]) -> int:
        """Which text of the unit it is; a known text gets the scores that it lacked."""
        key = tuple(ids)
        if key not in self.texts:
            self.texts[key] = len(self.texts)
            self.labels.append(labels)
        at = self.texts[key]
        self.labels[at] = [new if old is None else old for old, new in zip(self.labels[at], labels, strict=True)]
        return at


@dataclass
class _Names:
    """Units of prompts: one id may stand for a question that is asked in several ways, each a unit of its own."""

    told: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, row: Mapping[str, Any]) -> str:
        """The id, with a number from the second way on."""
        ways = self.told.setdefault(row["prompt_id"], {})
        number = f"#{len(ways) + 1}" if ways else ""
        return ways.setdefault(repr(row["prompt"]), f"{row['prompt_id']}{number}")


def reward_units(rows: pa.Table, encoder: ChatEncoder, pad_id: int, wanted: Wanted) -> RewardUnits:
    """Token ids of everything that a reward model is trained on.

    Args:
        rows: PreferencePairs, or (where scores are wanted) ScoredCompletions.
        encoder: of the model's tokenizer.
        pad_id: the model's padding token, which ends no text.
        wanted: what the loss needs.

    Returns:
        the units; rows that cannot be used are counted. Rows that lead to equal tokens are one text. Rows whose
        conversation the chat template refuses, or whose completion it does not write whole, cannot be used.

    Raises:
        DataError: a column is missing.
        MissingScores: scores are wanted and there are none.
    """
    sides = _checked_sides(rows, wanted)
    units: dict[str, _Unit] = {}
    names = _Names()
    dropped: Counter[str] = Counter()
    loss = TextLoss()
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            labels = [_labels(row, side, wanted.heads) for side in sides]
            try:
                texts = _texts(row, sides, encoder, pad_id, loss)
                reason = _unusable(texts, labels, wanted)
            except TemplateRefusal as error:
                texts, reason = [], UNFAITHFUL if isinstance(error, UnfaithfulRendering) else REFUSED
                loss.refusal = loss.refusal or error
                loss.reject(row, reason, error.found)
            if reason:
                dropped[reason] += 1
                continue
            longest = max(map(len, texts))
            loss.count("beyond positions", where=wanted.positions is not None and longest > wanted.positions)
            key = names.of(row) if wanted.by_prompt else row.get("pair_id") or row["prompt_id"]
            unit = units.setdefault(key, _Unit(row["prompt_id"]))
            numbers = [unit.number_of(ids, own) for ids, own in zip(texts, labels, strict=True)]
            unit.ids.append(row.get("pair_id") or row.get("completion_id") or row["prompt_id"])
            if len(numbers) == 2:
                length_delta = (len(texts[0]) - len(texts[1])) / 100
                said = (_gap(row), row.get("chosen_wins"), row.get("pair_weight"), length_delta)
                unit.pairs.append(_Pair(numbers[0], numbers[1], *said))
    return RewardUnits(_as_table(units, wanted), rows.num_rows, dict(dropped), loss)


def _checked_sides(rows: pa.Table, wanted: Wanted) -> tuple[str, ...]:
    """The columns with completions."""
    names = set(rows.column_names)
    is_pairs = set(_SIDES) <= names
    if not is_pairs and (wanted.compares or "completion" not in names):
        raise DataError(
            f"a reward model is trained on preference pairs{'' if wanted.compares else ' or scored completions'}, "
            f"found columns {', '.join(rows.column_names) or 'none'}",
            remedy="make pairs of scored completions with prefboost.pair, or write loss: regression",
            place=Place(column="chosen"),
        )
    sides = _SIDES if is_pairs else ("completion",)
    columns = [_score_column(side, head) for head in wanted.heads for side in sides]
    known = any(name in names and rows[name].null_count < rows.num_rows for name in columns)
    if (wanted.needs_gap or not wanted.compares) and rows.num_rows and not known:
        raise MissingScores(
            f"the loss uses scores, and none of the columns {', '.join(columns)} has any",
            remedy="score the completions first (prefboost score), or write loss: bradley_terry",
            place=Place(column=columns[0]),
        )
    return sides


def _score_column(side: str, head: str) -> str:
    family = "score" if side == "completion" else f"score_{side}"
    return family if head == "overall" else f"{family}.{head}"


def _texts(
    row: Mapping[str, Any], sides: Sequence[str], encoder: ChatEncoder, pad_id: int, loss: TextLoss
) -> list[list[int]]:
    """Encode the conversations of a row.

    Raises:
        TemplateRefusal: the template refuses one, or does not write a completion whole.
    """
    from prefboost.engines.models.reward_model import ids_of_text

    prompt = encoder.renderable_prompt(row["prompt"], row[sides[0]])
    prompt_text = encoder.render_prompt(prompt)
    texts = [encoder.render_conversation(prompt, row[side]) for side in sides]
    for side, text in zip(sides, texts, strict=True):
        refuse_unfaithful(text.removeprefix(prompt_text), row[side], side)
    loss.count("lost message", where=find_lost_part(prompt_text, prompt, ("system", "user")) is not None)
    return [ids_of_text(encoder, text, pad_id) for text in texts]


def _labels(row: Mapping[str, Any], side: str, heads: Sequence[str]) -> list[float | None]:
    return [row.get(_score_column(side, head)) for head in heads]


def _gap(row: Mapping[str, Any]) -> float | None:
    chosen, rejected = row.get("score_chosen"), row.get("score_rejected")
    return None if chosen is None or rejected is None else float(chosen - rejected)


def _unusable(texts: Sequence[list[int]], labels: Sequence[list[float | None]], wanted: Wanted) -> str | None:
    if wanted.max_length and max(map(len, texts)) > wanted.max_length:
        return TOO_LONG
    if wanted.compares and texts[0] == texts[1]:
        return EQUAL
    if wanted.needs_gap and any(own[0] is None for own in labels):
        return NO_GAP
    if not wanted.compares and all(label is None for own in labels for label in own):
        return NO_LABEL
    return None


def _as_table(units: Mapping[str, _Unit], wanted: Wanted) -> pa.Table:
    made = list(units.values())
    texts = [[np.asarray(ids, dtype=np.int32) for ids in unit.texts] for unit in made]
    number, numbers, real = pa.list_(pa.int32()), pa.list_(pa.list_(pa.int32())), pa.list_(pa.float64())
    return pa.table(
        {
            "unit_id": pa.array(list(units), pa.string()),
            "prompt_id": pa.array([unit.prompt_id for unit in made], pa.string()),
            "texts": pa.array(texts, numbers),
            **{name: _of_pairs(made, name, number) for name in ("chosen", "rejected")},
            **{name: _of_pairs(made, name, real) for name in ("gap", "wins", "weight", "length_delta")},
            "excess_length": pa.array([_beyond(unit) for unit in made], real),
            "labels": pa.array([unit.labels for unit in made], pa.list_(pa.list_(pa.float64()))),
            "items": pa.array([len(unit.pairs) if wanted.compares else len(unit.texts) for unit in made], pa.int64()),
            "ids": pa.array([unit.ids for unit in made], pa.list_(pa.string())),
        }
    )


def _beyond(unit: _Unit) -> list[float]:
    """Hundreds of tokens of every text beyond the mean of the unit's: texts of a prompt share what stands before."""
    lengths = [len(ids) / 100 for ids in unit.texts]
    mean = sum(lengths) / len(lengths)
    return [length - mean for length in lengths]


def _of_pairs(units: Sequence[_Unit], name: str, kind: pa.DataType) -> pa.Array:
    return pa.array([[getattr(pair, name) for pair in unit.pairs] for unit in units], kind)
