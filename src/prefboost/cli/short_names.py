"""Settings that stand alone on the command line: ``key=value`` under the branch that ``key`` belongs to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from prefboost.errors import SettingsError

__all__ = ["name_of", "placed", "unknown"]


def name_of(override: str) -> str:
    """What stands before the first dot or equals sign."""
    return override.partition("=")[0].partition(".")[0].strip()


def placed(overrides: Iterable[str], homes: Mapping[str, str]) -> list[str]:
    """Overrides with the whole path of every key.

    Args:
        overrides: ``key=value`` or ``key.deeper=value``.
        homes: the names that may stand alone, each with what comes before it (``"train."``; empty at the top).

    Raises:
        SettingsError: an override is not written so, or its name is none of these.
    """
    written = []
    for text in overrides:
        if "=" not in text or name_of(text) not in homes:
            raise unknown(text, homes)
        written.append(homes[name_of(text)] + text)
    return written


def unknown(override: str, known: Iterable[str]) -> SettingsError:
    """The error of an override that none of the known names begins; names the nearest of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name_of(override), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return SettingsError(
        f"override {override!r}: {name_of(override)} is not a setting here{hint}",
        remedy=f"write key=value; settings here: {', '.join(names)}",
    )
