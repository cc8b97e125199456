"""Baseline of a comparison: a model of the run, or completions of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prefboost.errors import SettingsError
from prefboost.evaluation.protocols import Completions
from prefboost.evaluation.user_files import read_completions

__all__ = ["resolve_baseline"]


def resolve_baseline(
    baseline: str | None,
    models: Sequence[str],
    read: Callable[[Path], Completions] = lambda file: read_completions(file)[1],
) -> tuple[str, Mapping[str, Completions]]:
    """Return the baseline's name, and its completions where they come from a file.

    Args:
        baseline: name of a contestant, or a file with instruction and output; none: the first contestant.
        models: names of the contestants.
        read: reads a file of completions by the uid of their prompts; by default a file with instruction and output,
            whose prompts have their text as uid.

    Raises:
        SettingsError: it is neither, or would be compared only with itself.
    """
    if baseline is not None and baseline not in models and Path(baseline).is_file():
        file = Path(baseline)
        if file.stem in models:
            raise SettingsError(
                f"two files have one name: {file.stem} is the baseline's and a model's", remedy="rename the file"
            )
        return file.stem, {file.stem: read(file)}
    if baseline is not None and baseline not in models:
        raise SettingsError(
            f"the baseline {baseline} is neither a file nor a model of this run",
            remedy=f"name a file with instruction and output, or one of {', '.join(models) or 'no models'}",
        )
    # The baseline itself is not rated, so a single model would leave nothing to score.
    if len(models) < 2:
        raise SettingsError(
            f"{', '.join(models) or 'nothing'} would be compared only with itself",
            remedy="give a second model or goal, or a file of completions as baseline",
        )
    return (models[0] if baseline is None else baseline), {}
