"""``prefboost demo``: the main job on real input, on this machine, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.bars import open_progress
from prefboost.cli.options import Quiet
from prefboost.cli.printing import print_report

if TYPE_CHECKING:
    from prefboost.runs.demo import DemoReport

__all__ = ["demo_command"]


def demo_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and both policies.")] = Path(
        "demo-out"
    ),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Sample the training completions anew instead of using the shipped ones.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=1, help="Time limit in minutes (15); a slow machine uses fewer prompts."),
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. held_out=64")] = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train SmolLM2-135M to follow asked-for scores, beside plain DPO on the same budget; writes report.html."""
    from prefboost.cli.overrides import read_overrides
    from prefboost.runs.demo import Demo, run_demo

    flags = {"fresh": fresh, **({} if minutes is None else {"minutes": minutes})}
    settings = read_overrides(Demo, overrides or [], dict.fromkeys(Demo.model_fields, ""), flags)
    with open_progress(hidden=quiet) as progress:
        report = run_demo(out, settings, progress=progress)
    print_report(asdict(report), _list_report(report), as_json=as_json)


def _list_report(report: DemoReport) -> Iterator[str]:
    verdict = "The policy follows." if report.follows else "No visible effect."
    yield f"\n{verdict} ({report.seconds / 60:.1f} minutes)"
    for sentence in report.verdict:
        yield f"- {sentence}"
    if report.reduced:
        yield report.reduced
    yield f"\nreport: {report.report}"
