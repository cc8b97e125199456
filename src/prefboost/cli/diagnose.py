"""``prefboost diagnose``: what a training did to a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.options import Quiet, StoreFolder
from prefboost.cli.report import print_report
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from prefboost.diagnosis.unlearning import DiagnoseUnlearning

__all__ = ["diagnose_command"]


def diagnose_command(
    diagnosis: Annotated[str, typer.Argument(metavar="WHAT", help="unlearning")],
    source: Annotated[str, typer.Argument(metavar="IN", help="Scored pairs or completions: a file, folder or hub id.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Checkpoints in the order of training, and key=value: start=MODEL goal=own scores=[4,7]"),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .json file to write.")] = Path("unlearning.json"),
    store: StoreFolder = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure what a training did to a policy.

    unlearning: the change of the log-prob of every completion, by side and score, from the start model to each
    checkpoint; and whether chosen completions became less likely too (likelihood displacement). A goal-conditioned
    policy is asked as it was trained, for each completion's own score. OUT.store keeps log-probs: the same command
    resumes after an interruption, and a further checkpoint costs only itself.
    """
    from prefboost.cli.score import show_stages
    from prefboost.runs.diagnose.unlearning import diagnose_unlearning
    from prefboost.sources import read

    if diagnosis != "unlearning":
        raise SettingsError(f"there is no diagnosis {diagnosis!r}", remedy="write prefboost diagnose unlearning IN ...")
    settings = _read_unlearning(arguments or [])
    with show_stages(hidden=quiet) as tell:
        report = diagnose_unlearning(read(source), settings, out, store=store, progress=tell)
    print_report({"out": str(out), **report.record()}, [f"written: {out}", *report.lines()], as_json=as_json)


def _read_unlearning(arguments: list[str]) -> DiagnoseUnlearning:
    """Read settings from checkpoints and ``key=value``.

    Raises:
        SettingsError: no checkpoint is named, or one line for every wrong setting.
    """
    from prefboost.cli.overrides import read_overrides
    from prefboost.diagnosis.unlearning import DiagnoseUnlearning

    models = [text for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    if not models and not any(text.startswith("models") for text in overrides):
        raise SettingsError("no checkpoint is named", remedy="write prefboost diagnose unlearning IN MODEL start=MODEL")
    return read_overrides(DiagnoseUnlearning, overrides, base={"models": models} if models else None)
