"""Which model others are compared with: one of the run, or completions out of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prefboost.errors import SettingsError
from prefboost.evaluation.own_prompts import read_completions
from prefboost.evaluation.prepared import Completions

__all__ = ["baseline_of"]


def _said(file: Path) -> Completions:
    return read_completions(file)[1]


def baseline_of(
    named: str | None, models: Sequence[str], read: Callable[[Path], Completions] = _said
) -> tuple[str, Mapping[str, Completions]]:
    """The baseline's name, and its completions where they come out of a file.

    Args:
        named: name of a contestant, or a file with instruction and output; none: the first contestant.
        models: names of the contestants.
        read: a file of completions, by the uid of their prompts; none: files with instruction and output, whose
            prompts have their text as uid.

    Raises:
        SettingsError: it is neither, or would be compared with nothing but itself.
    """
    if named is not None and named not in models and Path(named).is_file():
        file = Path(named)
        if file.stem in models:
            raise SettingsError(
                f"two files have one name: {file.stem} is the baseline's and a model's", remedy="rename the file"
            )
        return file.stem, {file.stem: read(file)}
    if named is not None and named not in models:
        raise SettingsError(
            f"the baseline {named} is no file and no model of this run",
            remedy=f"name a file with instruction and output, or one of {', '.join(models) or 'no models'}",
        )
    if len(models) < 2:
        raise SettingsError(
            f"{', '.join(models) or 'nothing'} would be compared with itself alone",
            remedy="give a second model or goal, or a file of completions as baseline",
        )
    return (models[0] if named is None else named), {}
