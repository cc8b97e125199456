"""Texts of foreign records: every shape in use is read; a value that is no text is refused by name, never printed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from prefboost.engines.reasoning import answer_of
from prefboost.errors import DataError, Place, UnreadData

__all__ = ["read_answer", "read_answer_turns", "read_each", "require_text", "require_turns"]

Record = TypeVar("Record")
Content = TypeVar("Content")

_NAMED = 5
"""Faulty records that a message names."""

_TEXT_FIELDS = ("content", "answer", "text", "value")
"""Fields of an object that hold the text of a turn: in Arena-Hard v0.1 and v2.0, and in parts of content."""


def read_each(
    records: Iterable[Record], read: Callable[[int, Record], Content], path: str, *, reject: bool = False
) -> list[Content]:
    """Read every record, so that one message names all that cannot be read.

    Args:
        records: records of a file.
        read: (number of a record from 0, record) -> its content; raises DataError.
        path: path of the file.
        reject: leave such records out with a warning (`UnreadData`), unless none can be read.

    Raises:
        DataError: some cannot be read, or all of them; the message has the first few by row and reason, and their
            number.
    """
    contents, faults = [], list[DataError]()
    for at, record in enumerate(records):
        try:
            contents.append(read(at, record))
        except DataError as fault:
            faults.append(fault)
    rows = [f"row {fault.place.row if fault.place else '?'}: {fault.message}" for fault in faults[:_NAMED]]
    rest = [f"and {len(faults) - _NAMED:,} more"] if len(faults) > _NAMED else []
    count = f"{len(faults):,} of {len(faults) + len(contents):,} records"
    if faults and contents and reject:
        warnings.warn(
            f"{path}: {count} are rejected, and their prompts count as missing: {'; '.join([*rows, *rest])}",
            UnreadData,
            stacklevel=2,
        )
    elif len(faults) == 1:
        raise faults[0]
    elif faults:
        raise DataError(
            f"{count} cannot be read: {'; '.join([*rows, *rest])}", remedy=faults[0].remedy, place=Place(path)
        )
    return contents


def require_text(value: Any, name: str, place: Place) -> str:
    """Return a value that must be text.

    Args:
        value: value of a record.
        name: its place in the record, for the message.
        place: place of the record.

    Raises:
        DataError: it is anything else; null, numbers and objects are no text, however they print.
    """
    if isinstance(value, str):
        return value
    description = "null" if value is None else f"{type(value).__name__} {str(value)[:60]}"
    raise DataError(
        f"{name} is not text: found {description}",
        remedy="write the text there, or remove the record from the file: it is then counted as missing",
        place=place,
    )


def read_answer(value: Any, name: str, place: Place) -> str:
    """Return the answer of a turn, without the model's thoughts.

    Args:
        value: text; an object that holds it as content, answer or text; or a list of parts, joined.
        name: its place in the record, for the message.
        place: place of the record.

    Raises:
        DataError: there is no text in it.
    """
    return answer_of(_read_inner_text(value, name, place))


def require_turns(value: Any, name: str, place: Place) -> tuple[str, ...]:
    """Return turns of a user, or references: a list of texts, or of objects that hold them.

    Raises:
        DataError: it is no list, is empty, or a turn is no text.
    """
    if not isinstance(value, list) or not value:
        description = "nothing" if value in (None, []) else f"{type(value).__name__} {str(value)[:60]}"
        raise DataError(
            f"{name} holds no turns: found {description}", remedy="give a list with one text for each turn", place=place
        )
    return tuple(_read_inner_text(turn, f"{name}[{at}]", place) for at, turn in enumerate(value))


def read_answer_turns(value: Any, name: str, place: Place) -> tuple[str, ...]:
    """Return a model's answers, turn by turn, without its thoughts; see `require_turns`."""
    return tuple(answer_of(turn) for turn in require_turns(value, name, place))


def _read_inner_text(value: Any, name: str, place: Place) -> str:
    if isinstance(value, Mapping):
        field = next((key for key in _TEXT_FIELDS if key in value), None)
        if field is not None:
            return _read_inner_text(value[field], f"{name}.{field}", place)
    if isinstance(value, list) and value:
        # Parts of thoughts hold no text field; parts of images make the whole unreadable by text.
        parts = [part for part in value if not (isinstance(part, Mapping) and "thinking" in part)]
        return "".join(_read_inner_text(part, f"{name}[{at}]", place) for at, part in enumerate(parts))
    return require_text(value, name, place)
