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

__all__ = ["RewardUnits", "LossNeeds", "build_reward_units"]

_SIDES = ("chosen", "rejected")
_ROWS_AT_ONCE = 512

TOO_LONG = "a conversation has more than max_length tokens"
EQUAL = "the two conversations have equal tokens"
NO_GAP = "a side of the pair has no score"
NEGATIVE_GAP = "chosen has the lower score, and a loss that the gap weights would reward what it should punish"
NO_LABEL = "none of the wanted scores is known"


@dataclass(frozen=True)
class LossNeeds:
    """The columns and limits that a loss needs.

    Args:
        heads: what each head stands for: ``overall`` or an aspect.
        compares: pairs are needed; otherwise scores are.
        needs_gap: both sides of a pair must have a score.
        gap_weights: the gap multiplies the loss, so that it must not be negative.
        by_prompt: units are prompts; otherwise pairs.
        max_length: most tokens of a text.
        positions: most tokens that the model was made for; longer texts are counted.
    """

    heads: tuple[str, ...] = ("overall",)
    compares: bool = True
    needs_gap: bool = False
    gap_weights: bool = False
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
        """Number a text within the unit; an earlier equal text gets the scores that it lacked."""
        # Texts are told apart by tokens, not by words: what the model sees once is computed once.
        key = tuple(ids)
        if key not in self.texts:
            self.texts[key] = len(self.texts)
            self.labels.append(labels)
        at = self.texts[key]
        # The same text may come from several rows, of which one has the score that another lacks.
        self.labels[at] = [new if old is None else old for old, new in zip(self.labels[at], labels, strict=True)]
        return at


@dataclass
class _Names:
    """Units of prompts: one id may stand for a question that is asked in several ways, each a unit of its own."""

    told: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, row: Mapping[str, Any]) -> str:
        """Name a prompt by its id, with a number from the second way of asking on."""
        ways = self.told.setdefault(row["prompt_id"], {})
        number = f"#{len(ways) + 1}" if ways else ""
        return ways.setdefault(repr(row["prompt"]), f"{row['prompt_id']}{number}")


def build_reward_units(rows: pa.Table, encoder: ChatEncoder, pad_id: int, needs: LossNeeds) -> RewardUnits:
    """Tokenise everything that a reward model is trained on.

    Args:
        rows: PreferencePairs, or (where scores are wanted) ScoredCompletions.
        encoder: of the model's tokenizer.
        pad_id: the model's padding token, which ends no text.
        needs: what the loss needs.

    Returns:
        the units; rows that cannot be used are counted. Rows that lead to equal tokens are one text. Rows whose
        conversation the chat template refuses, or whose completion it does not write whole, cannot be used.

    Raises:
        DataError: a column is missing.
        MissingScores: scores are wanted and there are none.
    """
    sides = _choose_sides(rows, needs)
    units: dict[str, _Unit] = {}
    names = _Names()
    dropped: Counter[str] = Counter()
    loss = TextLoss()
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            labels = [[row.get(_score_column(side, head)) for head in needs.heads] for side in sides]
            try:
                texts = _encode_texts(row, sides, encoder, pad_id, loss)
                reason = _find_fault(texts, labels, _subtract_scores(row), needs)
            except TemplateRefusal as error:
                texts, reason = [], UNFAITHFUL if isinstance(error, UnfaithfulRendering) else REFUSED
                loss.refusal = loss.refusal or error
                loss.reject(row, reason, error.message)
            if reason:
                dropped[reason] += 1
                continue
            longest = max(map(len, texts))
            loss.count("beyond positions", where=needs.positions is not None and longest > needs.positions)
            # Pairs of one prompt share completions: as one unit each is computed once per step.
            key = names.of(row) if needs.by_prompt else row.get("pair_id") or row["prompt_id"]
            unit = units.setdefault(key, _Unit(row["prompt_id"]))
            numbers = [unit.number_of(ids, text_labels) for ids, text_labels in zip(texts, labels, strict=True)]
            unit.ids.append(row.get("pair_id") or row.get("completion_id") or row["prompt_id"])
            if len(numbers) == 2:
                length_delta = (len(texts[0]) - len(texts[1])) / 100
                facts = (_subtract_scores(row), row.get("chosen_wins"), row.get("pair_weight"), length_delta)
                unit.pairs.append(_Pair(numbers[0], numbers[1], *facts))
    return RewardUnits(_build_table(units, needs), rows.num_rows, dict(dropped), loss)


def _choose_sides(rows: pa.Table, needs: LossNeeds) -> tuple[str, ...]:
    """Choose the columns with completions."""
    names = set(rows.column_names)
    is_pairs = set(_SIDES) <= names
    if not is_pairs and (needs.compares or "completion" not in names):
        raise DataError(
            f"a reward model needs preference pairs{'' if needs.compares else ' or scored completions'}, "
            f"found columns {', '.join(rows.column_names) or 'none'}",
            remedy="make pairs of scored completions with prefboost.pair, or write loss: regression",
            place=Place(column="chosen"),
        )
    sides = _SIDES if is_pairs else ("completion",)
    columns = [_score_column(side, head) for head in needs.heads for side in sides]
    any_scores = any(name in names and rows[name].null_count < rows.num_rows for name in columns)
    if (needs.needs_gap or not needs.compares) and rows.num_rows and not any_scores:
        raise MissingScores(
            f"the loss uses scores, and none of the columns {', '.join(columns)} has any",
            remedy="score the completions first (prefboost score), or write loss: bradley_terry",
            place=Place(column=columns[0]),
        )
    return sides


def _score_column(side: str, head: str) -> str:
    family = "score" if side == "completion" else f"score_{side}"
    return family if head == "overall" else f"{family}.{head}"


def _encode_texts(
    row: Mapping[str, Any], sides: Sequence[str], encoder: ChatEncoder, pad_id: int, loss: TextLoss
) -> list[list[int]]:
    """Encode the conversations of a row.

    Raises:
        TemplateRefusal: the template refuses one, or does not write a completion whole.
    """
    from prefboost.engines.models.reward_model import ids_of_text

    prompt = encoder.renderable_prompt(row["prompt"], row[sides[0]])
    # Rendered once for all sides; the completions must follow it literally, which is checked below.
    prompt_text = encoder.render_prompt(prompt)
    texts = [encoder.render_conversation(prompt, row[side]) for side in sides]
    for side, text in zip(sides, texts, strict=True):
        refuse_unfaithful(text.removeprefix(prompt_text), row[side], side)
    loss.count("lost message", where=find_lost_part(prompt_text, prompt, ("system", "user")) is not None)
    return [ids_of_text(encoder, text, pad_id) for text in texts]


def _subtract_scores(row: Mapping[str, Any]) -> float | None:
    chosen, rejected = row.get("score_chosen"), row.get("score_rejected")
    return None if chosen is None or rejected is None else float(chosen - rejected)


def _find_fault(
    texts: Sequence[list[int]], labels: Sequence[list[float | None]], gap: float | None, needs: LossNeeds
) -> str | None:
    if needs.max_length and max(map(len, texts)) > needs.max_length:
        return TOO_LONG
    # Equal tokens give equal rewards: the loss is constant and the pair teaches nothing.
    if needs.compares and texts[0] == texts[1]:
        return EQUAL
    if needs.needs_gap and any(text_labels[0] is None for text_labels in labels):
        return NO_GAP
    # The loss of such a pair would be negative, and fall without bound as the model agrees with its label less.
    if needs.gap_weights and gap is not None and gap < 0:
        return NEGATIVE_GAP
    if not needs.compares and all(label is None for text_labels in labels for label in text_labels):
        return NO_LABEL
    return None


def _build_table(units: Mapping[str, _Unit], needs: LossNeeds) -> pa.Table:
    rows = list(units.values())
    texts = [[np.asarray(ids, dtype=np.int32) for ids in unit.texts] for unit in rows]
    # Texts in hundreds of tokens beyond their unit's mean: long prompts, which they share, are no sign of quality.
    excess_lengths = []
    for unit in rows:
        lengths = [len(ids) / 100 for ids in unit.texts]
        mean = sum(lengths) / len(lengths)
        excess_lengths.append([length - mean for length in lengths])
    number, numbers, real = pa.list_(pa.int32()), pa.list_(pa.list_(pa.int32())), pa.list_(pa.float64())
    return pa.table(
        {
            "unit_id": pa.array(list(units), pa.string()),
            "prompt_id": pa.array([unit.prompt_id for unit in rows], pa.string()),
            "texts": pa.array(texts, numbers),
            **{name: _gather_pairs(rows, name, number) for name in ("chosen", "rejected")},
            **{name: _gather_pairs(rows, name, real) for name in ("gap", "wins", "weight", "length_delta")},
            "excess_length": pa.array(excess_lengths, real),
            "labels": pa.array([unit.labels for unit in rows], pa.list_(pa.list_(pa.float64()))),
            "items": pa.array([len(unit.pairs) if needs.compares else len(unit.texts) for unit in rows], pa.int64()),
            "ids": pa.array([unit.ids for unit in rows], pa.list_(pa.string())),
        }
    )


def _gather_pairs(units: Sequence[_Unit], name: str, kind: pa.DataType) -> pa.Array:
    return pa.array([[getattr(pair, name) for pair in unit.pairs] for unit in units], kind)
