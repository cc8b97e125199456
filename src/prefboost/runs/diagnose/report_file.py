"""The file of a diagnosis: JSON, guarded like every output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefboost.atomic import write_atomically
from prefboost.errors import DataError
from prefboost.sources.writers.outputs import list_output_files, refuse_foreign, refuse_inputs

__all__ = ["guard_report", "write_report"]

_MARK = "diagnosis"
"""Key by which a report of `diagnose` is known."""


def guard_report(out: str | Path, data: Sequence[Any], others: Sequence[Any] = ()) -> None:
    """Refuse a report that would overwrite an input, or a file that `diagnose` did not write.

    Raises:
        DataError: the file is not named .json.
        RunError: see above.
    """
    target = Path(out)
    if target.suffix != ".json":
        raise DataError(f"the report is JSON, found {target.name}", remedy="name a file that ends in .json")
    refuse_inputs(list_output_files(target, ".store"), data, others)
    try:
        is_report = _MARK in json.loads(target.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        is_report = False
    if not is_report:
        refuse_foreign([target], [], "diagnose")


def write_report(out: str | Path, diagnosis: str, record: Mapping[str, Any]) -> None:
    """Write a report, with the name of its diagnosis."""
    text = json.dumps({_MARK: diagnosis, **record}, indent=2, ensure_ascii=False)
    write_atomically(Path(out), text + "\n")
