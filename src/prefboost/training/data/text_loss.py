"""Text of the data that training does not see: said in sentences, and an error above a share of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from prefboost.atomic import replace_atomically
from prefboost.chat.faithful import find_lost_part
from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import DataError, Place, PrefboostError, TemplateRefusal
from prefboost.training.optimisation import Optimisation

__all__ = [
    "REFUSED",
    "REJECTED_FILE",
    "UNFAITHFUL",
    "TextLoss",
    "UnfaithfulRendering",
    "describe_losses",
    "encoder_of",
    "refuse_losses",
    "refuse_unfaithful",
    "settle_losses",
    "write_rejected",
]

REJECTED_FILE = "train_rejects.parquet"
"""Rows that the chat template cannot render, in the run folder."""

REFUSED = "the chat template refuses the conversation"
UNFAITHFUL = "the chat template leaves out a part of a completion"

_UNFAITHFUL_REMEDY = (
    "give a chat template that writes calls and thoughts (chat_template: FILE.jinja), or leave such rows out"
)

_EVALUATED = "evaluation rows"

_SENTENCES = {
    "prompt": "the prompt is cut to max_prompt_length",
    "beginning of prompt": "the cut prompt loses its beginning, the start token and the first turn's header with it",
    "chosen": "the chosen completion is cut at max_length",
    "rejected": "the rejected completion is cut at max_length",
    "one token": "max_length leaves a single token of a completion",
    "end of turn of chosen": "the chosen completion was cut when it was generated, and gets no end of turn",
    "end of turn of rejected": "the rejected completion was cut when it was generated, and gets no end of turn",
    "no end of turn": "the chat template writes no token that ends a completion, so that stopping is not learned",
    "beyond positions": "the sequence is longer than the positions the model was made for",
    "lost message": "the chat template leaves a system or user message out of the prompt",
}
"""Kind of loss -> what it means for a row."""

_SERIOUS = {
    "beginning of prompt": "raise max_prompt_length, or leave long prompts out (select)",
    "one token": "raise max_length or lower max_prompt_length",
    "no end of turn": "give a chat template that ends assistant turns with the end token: chat_template: FILE.jinja",
    "beyond positions": "lower max_length, or take a model with a longer context",
    "lost message": "merge system messages into the user turn (system_messages: merge), or give another chat_template",
}
"""Kind of loss that is an error above a share of the rows -> what to do."""


class UnfaithfulRendering(TemplateRefusal):
    """A chat template writes a completion without a part of it."""


@dataclass
class TextLoss:
    """Text that is lost on the way from rows to tokens, counted.

    Args:
        shortened: what was cut or left out (keys as in `describe_losses`) -> rows.
        rejected: rows that cannot be rendered: row, id, reason, found.
        refusal: the first error of the chat template.
        sentences: what a user is told of all this, evaluation rows included (`settle_losses`).
    """

    shortened: dict[str, int] = field(default_factory=dict)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    refusal: TemplateRefusal | None = None
    sentences: list[str] = field(default_factory=list)

    def count(self, what: str, *, where: bool = True) -> None:
        """Count a row for one kind of loss."""
        if where:
            self.shortened[what] = self.shortened.get(what, 0) + 1

    def reject(self, row: Mapping[str, Any], reason: str, excerpt: str) -> None:
        """Keep what is known of a row that cannot be rendered."""
        name = next(
            (row[key] for key in ("goal_pair_id", "pair_id", "completion_id", "prompt_id") if row.get(key)), None
        )
        self.rejected.append({"row": row.get("row"), "id": name, "reason": reason, "found": excerpt[:200]})


class RenderedRows(Protocol):
    """Rows that were rendered: `prefboost.training.policy.tokenise.Tokenised` and its like for reward models."""

    @property
    def rows(self) -> int:
        """Rows that went in."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Reason -> rows that cannot be used."""

    @property
    def loss(self) -> TextLoss:
        """Text that the others lose."""


def settle_losses(trained: RenderedRows, evaluated: RenderedRows | None, share: float, folder: Path | None) -> None:
    """Write the rejected rows, say what text is lost (``trained.loss.sentences``), and refuse to train on too little.

    Args:
        trained: rows to train on.
        evaluated: rows to evaluate on, where they were given apart.
        share: of the rows that may lose text in one way; 1 allows everything.
        folder: run folder, which gets the rejected rows even where training is refused; None writes nothing.

    Raises:
        TemplateRefusal, DataError: see `refuse_losses`. Its notes are the sentences, and where the rows are.
    """
    sentences = describe_losses(trained.loss.shortened, trained.rows)
    # Evaluation rows are reported apart: losing them does not change what is learned.
    rejected = list(trained.loss.rejected)
    parts = [(trained, "rows")]
    if evaluated is not None:
        parts.append((evaluated, _EVALUATED))
        sentences += describe_losses(evaluated.loss.shortened, evaluated.rows, _EVALUATED)
        sentences += [
            f"{count:,} of {evaluated.rows:,} {_EVALUATED} are not used: {reason}"
            for reason, count in evaluated.dropped.items()
        ]
        rejected += [{"stage": "evaluate", **row} for row in evaluated.loss.rejected]
    trained.loss.sentences = sentences
    # Written before anything is refused: the file is what a user needs to mend the data.
    if folder is not None:
        write_rejected(rejected, folder)
    try:
        for part, what in parts:
            refuse_losses(part.loss, part.rows, share, what)
    except PrefboostError as error:
        for reason, count in trained.dropped.items():
            error.add_note(f"{count:,} of {trained.rows:,} rows are not used: {reason}")
        for sentence in sentences:
            error.add_note(f"text lost: {sentence}")
        if folder is not None and rejected:
            error.add_note(f"rows that cannot be rendered: {folder / REJECTED_FILE}")
        raise


def refuse_unfaithful(text: str, completion: Sequence[Mapping[str, Any]], side: str) -> None:
    """Refuse a completion that is rendered without a part of it.

    Args:
        text: what the template wrote behind the prompt.
        completion: its messages.
        side: its column.

    Raises:
        UnfaithfulRendering: a content, a call or a thought is not in the text.
    """
    part = find_lost_part(text, completion)
    if part is not None:
        raise UnfaithfulRendering(f"{side} is rendered without {part}", remedy=_UNFAITHFUL_REMEDY)


def describe_losses(shortened: Mapping[str, int], rows: int, what: str = "rows") -> list[str]:
    """Say what was cut or left out, a sentence for each kind.

    Args:
        shortened: kind -> rows.
        rows: all of them.
        what: they are called.
    """
    return [f"{count:,} of {rows:,} {what}: {_SENTENCES.get(kind, kind)}" for kind, count in shortened.items() if count]


def refuse_losses(loss: TextLoss, rows: int, share: float, what: str = "rows") -> None:
    """Refuse to train where too many rows lose text.

    Args:
        loss: what was counted.
        rows: all rows.
        share: of the rows that may lose text in one way; 1 allows everything.
        what: the rows are called.

    Raises:
        TemplateRefusal: the chat template refuses more rows; names the first.
        DataError: another kind of loss concerns more rows.
    """
    # A share of 1 is the user's word that all of it may be lost.
    if not rows or share >= 1:
        return
    if len(loss.rejected) > share * rows:
        first = loss.rejected[0]
        remedy = "give another chat_template, or leave such rows out"
        raise TemplateRefusal(
            f"{len(loss.rejected):,} of {rows:,} {what} cannot be rendered, more than max_loss_share {share:g} allows; "
            f"the first: {first['id']}: {first['reason']}: {first['found']}",
            remedy=remedy if loss.refusal is None else loss.refusal.remedy,
            place=Place(row=first["row"]),
        )
    for kind, remedy in _SERIOUS.items():
        count = loss.shortened.get(kind, 0)
        if count > share * rows:
            raise DataError(
                f"in {count:,} of {rows:,} {what} {_SENTENCES[kind]}: more than max_loss_share {share:g} allows",
                remedy=f"{remedy}; max_loss_share: 1 trains on them as they are",
            )


def write_rejected(rejected: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write the rows that cannot be rendered, with the columns of all rejects; none: an earlier file goes."""
    path = folder / REJECTED_FILE
    if not rejected:
        path.unlink(missing_ok=True)
        return
    names = {"stage": pa.string(), "path": pa.string(), "row": pa.int64(), "id": pa.string(), "reason": pa.string()}
    schema = pa.schema({**names, "found": pa.string()})
    with replace_atomically(path) as waiting:
        pq.write_table(pa.Table.from_pylist([{"stage": "train", **row} for row in rejected], schema=schema), waiting)


def encoder_of(tokenizer: Any, settings: Optimisation, begun: str | None = None) -> ChatEncoder:
    """Return the encoder of a training.

    Args:
        tokenizer: with the chat template of the training.
        settings: of the training.
        begun: the day on which its run began, YYYY-MM-DD; None: today. The settings' own day stands above it.

    Raises:
        ModelError: the tokenizer has no chat template.
    """
    # Templates that print today's date would give other tokens after a resume on another day.
    day = settings.template_day or begun
    return ChatEncoder(
        tokenizer,
        merge_system=settings.system_messages == "merge",
        day=date.today() if day is None else date.fromisoformat(day),
    )
