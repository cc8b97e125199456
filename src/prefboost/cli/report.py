"""``prefboost report``: one page on runs, evaluations, reproductions and diagnoses."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from prefboost.cli.bars import show_work
from prefboost.cli.options import Quiet
from prefboost.cli.printing import print_report

__all__ = ["report_command"]


def report_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders of train, run, evaluate, reproduce or demo, and .json files of diagnose.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .html file to write.")] = Path("report.html"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Write the page again while a run goes on; end when it ends.")
    ] = False,
    every: Annotated[int, typer.Option("--every", min=1, help="Seconds between two pages with --watch.")] = 10,
    samples: Annotated[int, typer.Option("--samples", min=0, help="Rows whose texts are on the page.")] = 300,
    diagnose: Annotated[
        bool,
        typer.Option(
            "--diagnose", help="Measure first what the trainings of plain runs unlearned (loads their models)."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is on the page as JSON.")] = False,
) -> None:
    """Write one page that needs nothing outside of itself: verdict, figures, samples, data card, cost, settings.

    Several runs are drawn into the same figures. Parts without data are left out, and named at the end with the command
    that makes them. Diagnoses (.json) that lie in a run folder are read with it; --diagnose puts one there for every
    training that has none: the change of log-prob by score, on 100 rows of its pairs.
    """
    from prefboost.runs.report.report import report
    from prefboost.runs.report.report import watch as watch_runs

    if diagnose:
        from prefboost.runs.report.diagnoses import diagnose_trainings

        with show_work(hidden=quiet) as tell:
            diagnose_trainings(runs, tell)
    written = watch_runs(runs, out, every_s=every, samples=samples) if watch else report(runs, out, samples=samples)
    print_report(asdict(written), written.lines(), as_json=as_json)
