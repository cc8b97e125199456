"""The exception tree. Everything prefboost raises on purpose is one of these.

    PrefboostError                  exit code 2, shown as one message without a traceback
    ├── SettingsError               a recipe or setting is wrong: file:line, key, hint
    ├── DataError                   the data are wrong: file, row, column
    │   ├── UnreadableFile          the bytes are not what the name promises (truncated gzip, not Parquet, ...)
    │   ├── UnknownShape            no known shape of preference data fits the columns
    │   ├── MissingScores           scores are needed and absent: the message names the remedy
    │   └── BrokenFact              a table breaks one of its declared facts
    ├── ModelError                  a model, tokenizer or chat template cannot do what is asked
    │   └── TemplateRefusal         a chat template cannot render one conversation, others it may
    ├── MissingExtra                an optional dependency is not installed
    └── RunError                    a run folder or output cannot be used or continued

`UnreadData` and `UnreachableGoal` are warnings. A message says where (file:line, row, column), what was found, and
what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = [
    "BrokenFact",
    "DataError",
    "MissingExtra",
    "MissingScores",
    "ModelError",
    "Place",
    "PrefboostError",
    "RunError",
    "SettingsError",
    "TemplateRefusal",
    "UnknownShape",
    "UnreachableGoal",
    "UnreadData",
    "UnreadableFile",
    "require_extra",
    "suggest_name",
]


@dataclass(frozen=True)
class Place:
    """Place of a fault. ``line`` counts from 1 (text files), ``row`` from 0 (records)."""

    path: str | None = None
    line: int | None = None
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        head = self.path or ""
        if self.line is not None:
            head += f":{self.line}"
        parts = [head] if head else []
        if self.row is not None:
            parts.append(f"row {self.row}")
        if self.column is not None:
            parts.append(f"column {self.column!r}")
        return ", ".join(parts)


class PrefboostError(Exception):
    """Base of every deliberate error. ``exit_code`` is what the command line returns.

    Args:
        message: what is wrong, with the value that was found.
        remedy: what to do about it.
        place: where it stands.
    """

    exit_code = 2

    def __init__(self, message: str, *, remedy: str = "", place: Place | None = None) -> None:
        self.message = message
        self.remedy = remedy
        self.place = place
        where = f"{place}: " if place is not None and str(place) else ""
        super().__init__(f"{where}{message}" + (f"\n  -> {remedy}" if remedy else ""))


class SettingsError(PrefboostError):
    """A recipe or setting is wrong."""


class DataError(PrefboostError):
    """The data are wrong."""


class UnreadableFile(DataError):
    """A file's bytes are not what its name promises."""


class UnknownShape(DataError):
    """No known shape of preference data fits the columns."""


class MissingScores(DataError):
    """Scores are needed and absent."""


class BrokenFact(DataError):
    """A table breaks one of its declared facts."""


class UnreadData(UserWarning):
    """Part of the data is not read, since nothing asked for it: a warning, which the command line prints."""


class UnreachableGoal(UserWarning):
    """A goal lies outside the scale that the model was trained on: a warning, which the command line prints."""


class ModelError(PrefboostError):
    """A model, tokenizer or chat template cannot do what is asked."""


class TemplateRefusal(ModelError):
    """A chat template cannot render one conversation."""


class MissingExtra(PrefboostError):
    """An optional dependency is not installed.

    Args:
        library: the module that could not be imported.
        extra: the extra of prefboost that brings it; empty: prefboost itself needs it.
    """

    def __init__(self, library: str, extra: str) -> None:
        package = f'"prefboost[{extra}]"' if extra else "prefboost"
        super().__init__(f"{library} is not installed", remedy=f"pip install {package}")


@contextmanager
def require_extra(library: str, extra: str) -> Iterator[None]:
    """Say which extra brings a library, where its import in the body of ``with`` fails.

    Raises:
        MissingExtra: the library is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(library, extra) from error


class RunError(PrefboostError):
    """A run folder or an output cannot be used or continued."""


def suggest_name(name: object, choices: Iterable[str], form: str = "; did you mean {}?") -> str:
    """Return the choice whose spelling is nearest to a name, in a sentence; nothing where none is near."""
    import difflib  # on the way to an error only: every command loads this module

    near = difflib.get_close_matches(str(name or ""), choices, n=1)
    return form.format(near[0]) if near else ""
