"""Synthetic pairs in ``prefboost inspect``: one file, or several side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prefboost.cli.printing import list_rejected
from prefboost.statistics.json_form import replace_nan

if TYPE_CHECKING:
    from prefboost.runs.synthesize.audit import Auditing
    from prefboost.statistics import Interval
    from prefboost.synthesis.audit import Audit

__all__ = ["audit_files", "print_audits", "read_audit", "record_audits"]

_SETTINGS = ("judge", "embedder", "pairs", "seed")
"""Names of settings of an audit; other overrides are about the source."""


def read_audit(overrides: Sequence[str]) -> tuple[list[str], list[str], Auditing | None]:
    """Read the settings of an audit of synthetic pairs.

    Returns:
        overrides about the source, further files, and the settings; None where no override is about an audit.

    Raises:
        SettingsError: a setting of the audit is wrong.
    """
    from prefboost.cli.overrides import expand_model, read_overrides, split_overrides
    from prefboost.runs.synthesize.audit import Auditing

    files = [text for text in overrides if "=" not in text and not text.startswith("columns.")]
    settings, others = split_overrides([text for text in overrides if text not in files], _SETTINGS)
    if not settings:
        return others, files, None
    placed = [expand_model(text) for text in settings]
    # A judge without a kind is a language model, as in synthesize.
    judged = any(text.startswith("judge.") for text in placed)
    if judged and not any(text.startswith("judge.kind") for text in placed):
        placed.insert(0, "judge.kind=llm")
    return others, files, read_overrides(Auditing, placed)


def audit_files(files: Sequence[str], settings: Auditing | None, *, optional: bool = False) -> dict[str, Audit]:
    """Audit files of synthetic pairs.

    Args:
        files: paths.
        settings: judge and embedding model.
        optional: leave out files that are not synthetic instead of refusing them.
    """
    from prefboost.runs.synthesize.audit import Auditing, audit_file, is_synthetic

    chosen = [file for file in files if not optional or is_synthetic(file)]
    return {file: audit_file(file, settings or Auditing()) for file in chosen}


def record_audits(audits: Mapping[str, Audit]) -> dict[str, Any]:
    """Return audits as JSON values, null for unknown numbers; nothing where there are no audits."""
    records = {file: replace_nan(asdict(audit)) for file, audit in audits.items()}
    return {"synthetic": records} if records else {}


def print_audits(audits: Mapping[str, Audit]) -> None:
    """Print a table with a column per file and a row per measure."""
    if not audits:
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("synthetic pairs", *(escape(audit.method) for audit in audits.values()), box=None, pad_edge=False)
    columns = [_format_cells(audit) for audit in audits.values()]
    for name in columns[0]:
        cells = [column[name] for column in columns]
        if any(cell != "–" for cell in cells):
            table.add_row(name, *cells)
    console = Console()
    console.print(table)
    for audit in audits.values():
        proposed = audit.pairs + sum(audit.rejected.values())
        method = f"{audit.method}: " if len(audits) > 1 else ""
        for line in list_rejected(audit.rejected, total=proposed, indent=method):
            console.print(escape(line))


def _format_cells(audit: Audit) -> dict[str, str]:
    proposed = audit.pairs + sum(audit.rejected.values())
    noise = audit.noise
    aspects = ", ".join(f"{name} {count:,}" for name, count in audit.aspects.items())
    return {
        "pairs": f"{audit.pairs:,}",
        "kept of proposed": f"{audit.pairs / proposed:.0%}",
        "label noise": "–" if noise is None else _format_share(noise.noise),
        "order changes verdict": "–" if noise is None else _format_share(noise.order_flips),
        "judged by": "–" if noise is None else noise.judge,
        "certainty of labels": _format_number(audit.soft),
        "chosen is longer": _format_share(audit.longer),
        "chosen / rejected length": _format_number(audit.length_ratio),
        "chosen is the second": _format_share(audit.second),
        "edit distance": _format_number(audit.edit_distance),
        "distinct-1": _format_number(audit.distinct_1),
        "distinct-2": _format_number(audit.distinct_2),
        "embedding spread": _format_number(audit.spread),
        "aspects": aspects or "–",
        "evenness of aspects": _format_number(audit.aspect_evenness),
        "calls per kept pair": _format_number(audit.requests),
        "tokens per kept pair": "–" if math.isnan(audit.tokens) else f"{audit.tokens:,.0f}",
        "dollars per kept pair": f"{audit.dollars:.5f}" if audit.dollars > 0 else "–",
    }


def _format_share(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"{interval.estimate:.1%}"
    return f"{interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _format_number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"
