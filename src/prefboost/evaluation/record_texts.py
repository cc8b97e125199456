"""Texts out of foreign records: read in every shape in use; what is no text is refused by its name, never printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefboost.engines.reasoning import answer_of
from prefboost.errors import DataError, Place

__all__ = ["answer_text", "answer_turns", "plain_text", "plain_turns"]

_HOLDERS = ("content", "answer", "text", "value")
"""Fields of an object that hold a turn's text: of Arena-Hard v0.1 and v2.0, and of parts of content."""


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
