"""What ``prefboost inspect`` shows of synthetic pairs, of one file or of several side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefboost.runs.synthesize.audit import Auditing
    from prefboost.statistics import Interval
    from prefboost.synthesis.audit import Audit

__all__ = ["audits", "audits_json", "print_audits", "split_overrides"]

_ASKED = ("judge", "embedder", "pairs", "seed")


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str], Auditing | None]:
    """Overrides of columns, further files, and what is asked about synthetic pairs (None where nothing is).

    Raises:
        SettingsError: a setting of the audit is wrong.
    """
    from prefboost.cli.synthesize import with_models
    from prefboost.recipes.documents import Document
    from prefboost.recipes.validate import overridden
    from prefboost.runs.synthesize.audit import Auditing

    files = [text for text in overrides if "=" not in text and not text.startswith("columns.")]
    asked = [text for text in overrides if text.partition("=")[0].partition(".")[0] in _ASKED and "=" in text]
    own = [text for text in overrides if text not in files and text not in asked]
    if not asked:
        return own, files, None
    written = [with_models(text) for text in asked]
    judged = any(text.startswith("judge.") for text in written)
    if judged and not any(text.startswith("judge.kind") for text in written):
        written.insert(0, "judge.kind=llm")
    return own, files, overridden(Auditing, Document({}), written)


def audits(files: Sequence[str], settings: Auditing | None, *, optional: bool = False) -> dict[str, Audit]:
    """File -> what was found.

    Args:
        files: paths.
        settings: judge and embedding model.
        optional: leave out files that are not synthetic instead of refusing them.
    """
    from prefboost.runs.synthesize.audit import Auditing, audit_file, is_synthetic

    chosen = [file for file in files if not optional or is_synthetic(file)]
    return {file: audit_file(file, settings or Auditing()) for file in chosen}


def audits_json(found: Mapping[str, Audit]) -> dict[str, Any]:
    """As JSON takes them: null for what is not known; nothing where there are none."""
    return {"synthetic": {file: _known(asdict(each)) for file, each in found.items()}} if found else {}


def print_audits(found: Mapping[str, Audit]) -> None:
    """A column a file, a row a measure."""
    if not found:
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("synthetic pairs", *(escape(each.method) for each in found.values()), box=None, pad_edge=False)
    columns = [_cells(each) for each in found.values()]
    for name in columns[0]:
        cells = [column[name] for column in columns]
        if any(cell != "–" for cell in cells):
            table.add_row(name, *cells)
    console = Console()
    console.print(table)
    several = len(found) > 1
    for each in found.values():
        proposed = each.pairs + sum(each.rejected.values())
        for reason, count in each.rejected.items():
            name = f"{each.method}: " if several else ""
            console.print(f"{name}{count:,} ({count / proposed:.1%}) set aside: {escape(reason)}")


def _cells(one: Audit) -> dict[str, str]:
    proposed = one.pairs + sum(one.rejected.values())
    noise = one.noise
    aspects = ", ".join(f"{name} {count:,}" for name, count in one.aspects.items())
    return {
        "pairs": f"{one.pairs:,}",
        "kept of proposed": f"{one.pairs / proposed:.0%}",
        "label noise": "–" if noise is None else _share(noise.noise),
        "order changes verdict": "–" if noise is None else _share(noise.order_flips),
        "judged by": "–" if noise is None else noise.judge,
        "certainty of labels": _number(one.soft),
        "chosen is longer": _share(one.longer),
        "chosen / rejected length": _number(one.length_ratio),
        "chosen is the second": _share(one.second),
        "edit distance": _number(one.edit_distance),
        "distinct-1": _number(one.distinct_1),
        "distinct-2": _number(one.distinct_2),
        "embedding spread": _number(one.spread),
        "aspects": aspects or "–",
        "evenness of aspects": _number(one.aspect_evenness),
        "calls a kept pair": _number(one.requests),
        "tokens a kept pair": "–" if math.isnan(one.tokens) else f"{one.tokens:,.0f}",
        "dollars a kept pair": f"{one.dollars:.5f}" if one.dollars > 0 else "–",
    }


def _share(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"{interval.estimate:.1%}"
    return f"{interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _known(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
