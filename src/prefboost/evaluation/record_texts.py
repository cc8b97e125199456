"""Texts out of foreign records: read in every shape in use; what is no text is refused by its name, never printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from prefboost.engines.reasoning import answer_of
from prefboost.errors import DataError, Place

__all__ = ["answer_text", "answer_turns", "plain_text", "plain_turns", "read_each"]

R = TypeVar("R")
T = TypeVar("T")

_NAMED = 5
"""Faulty records that a message names."""

_HOLDERS = ("content", "answer", "text", "value")
"""Fields of an object that hold a turn's text: of Arena-Hard v0.1 and v2.0, and of parts of content."""


def read_each(records: Iterable[R], read: Callable[[int, R], T], path: str) -> list[T]:
    """Read every record, so that one message names all that cannot be read.

    Args:
        records: of a file.
        read: number of a record, from 0, and the record -> what it says; raises DataError.
        path: of the file.

    Raises:
        DataError: some cannot be read: the first few by row and reason, and how many there are.
    """
    read_records, faults, count = [], list[DataError](), 0
    for at, record in enumerate(records):
        count += 1
        try:
            read_records.append(read(at, record))
        except DataError as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        rows = [f"row {fault.place.row if fault.place else '?'}: {fault.found}" for fault in faults[:_NAMED]]
        more = [f"and {len(faults) - _NAMED:,} more"] if len(faults) > _NAMED else []
        raise DataError(
            f"{len(faults):,} of {count:,} records cannot be read: {'; '.join([*rows, *more])}",
            remedy=faults[0].remedy,
            place=Place(path),
        )
    return read_records


def plain_text(value: Any, name: str, place: Place) -> str:
    """A value that must be text.

    Args:
        value: of a record.
        name: where it stands in the record, for the message.
        place: of the record.

    Raises:
        DataError: it is anything else; null, numbers and objects are no text, however they print.
    """
    if isinstance(value, str):
        return value
    shown = "null" if value is None else f"{type(value).__name__} {str(value)[:60]}"
    raise DataError(
        f"{name} is no text: found {shown}",
        remedy="write the text there, or take the record out of the file: what is missing is counted as missing",
        place=place,
    )


def answer_text(value: Any, name: str, place: Place) -> str:
    """What a model said in a turn, without its thoughts.

    Args:
        value: text; an object that holds it as content, answer or text; or a list of parts, joined.
        name: where it stands in the record, for the message.
        place: of the record.

    Raises:
        DataError: there is no text in it.
    """
    return answer_of(_inner_text(value, name, place))


def plain_turns(value: Any, name: str, place: Place) -> tuple[str, ...]:
    """Turns of a user, or references: a list of texts, or of objects that hold them.

    Raises:
        DataError: it is no list, is empty, or a turn is no text.
    """
    if not isinstance(value, list) or not value:
        found = "nothing" if value in (None, []) else f"{type(value).__name__} {str(value)[:60]}"
        raise DataError(
            f"{name} holds no turns: found {found}", remedy="give a list with one text for each turn", place=place
        )
    return tuple(_inner_text(turn, f"{name}[{at}]", place) for at, turn in enumerate(value))


def answer_turns(value: Any, name: str, place: Place) -> tuple[str, ...]:
    """What a model said, turn by turn, without its thoughts; see `plain_turns`."""
    return tuple(answer_of(turn) for turn in plain_turns(value, name, place))


def _inner_text(value: Any, name: str, place: Place) -> str:
    if isinstance(value, Mapping):
        held = next((key for key in _HOLDERS if key in value), None)
        if held is not None:
            return _inner_text(value[held], f"{name}.{held}", place)
    if isinstance(value, list) and value:
        # Parts of thoughts hold no text field; parts of images make the whole unreadable by text.
        parts = [part for part in value if not (isinstance(part, Mapping) and "thinking" in part)]
        return "".join(_inner_text(part, f"{name}[{at}]", place) for at, part in enumerate(parts))
    return plain_text(value, name, place)
