"""``prefboost diagnose``: what a training did to a policy, and how it follows goals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.options import Quiet, StoreFolder
from prefboost.cli.printing import print_report
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from prefboost.diagnosis.controllability import ControllabilityReport
    from prefboost.diagnosis.unlearning import UnlearningReport

__all__ = ["diagnose_command"]


def diagnose_command(
    diagnosis: Annotated[str, typer.Argument(metavar="WHAT", help="unlearning or controllability")],
    source: Annotated[str, typer.Argument(metavar="IN", help="Scored pairs or completions: a file, folder or hub id.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]... [KEY=VALUE]...",
            help="unlearning: checkpoints in the order of training, start=MODEL goal=own scores=[4,7]; "
            "controllability: data_top=9 validation=0.5",
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The .json file to write; default: WHAT.json.")
    ] = None,
    store: StoreFolder = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure what a training did to a policy (unlearning), and how it follows goals (controllability).

    unlearning: the change of the log-prob of every completion, by side and score, from the start model to each
    checkpoint; and whether chosen completions became less likely too (likelihood displacement). A goal-conditioned
    policy is asked as it was trained, for each completion's own score. OUT.store keeps log-probs: the same command
    resumes after an interruption, and a further checkpoint costs only itself.

    controllability: achieved against requested scores, of scored completions that were generated for several goals:
    slope, rank correlation, calibration error, the part that goes with length, and the best goal by validation prompts.
    """
    target = out or Path(f"{diagnosis}.json")
    if diagnosis == "unlearning":
        report: UnlearningReport | ControllabilityReport = _diagnose_unlearning(
            source, arguments or [], target, store, quiet=quiet
        )
    elif diagnosis == "controllability":
        report = _diagnose_controllability(source, arguments or [], target)
    else:
        remedy = "write prefboost diagnose unlearning IN ..., or controllability IN"
        raise SettingsError(f"there is no diagnosis {diagnosis!r}", remedy=remedy)
    print_report({"out": str(target), **report.record()}, [f"written: {target}", *report.lines()], as_json=as_json)


def _diagnose_unlearning(
    source: str, arguments: Sequence[str], out: Path, store: Path | None, *, quiet: bool
) -> UnlearningReport:
    from prefboost.cli.overrides import read_overrides
    from prefboost.cli.score import show_stages
    from prefboost.diagnosis.unlearning import DiagnoseUnlearning
    from prefboost.runs.diagnose.unlearning import diagnose_unlearning
    from prefboost.sources import read

    # Checkpoints stand alone, as the models of evaluate do; a path with an equals sign is given as models=[...].
    models = [text for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    if not models and not any(text.startswith("models") for text in overrides):
        raise SettingsError("no checkpoint is named", remedy="write prefboost diagnose unlearning IN MODEL start=MODEL")
    settings = read_overrides(DiagnoseUnlearning, overrides, base={"models": models} if models else None)
    with show_stages(hidden=quiet) as tell:
        return diagnose_unlearning(read(source), settings, out, store=store, progress=tell)


def _diagnose_controllability(source: str, arguments: Sequence[str], out: Path) -> ControllabilityReport:
    from prefboost.cli.overrides import read_overrides
    from prefboost.diagnosis.controllability import DiagnoseControllability, measure_controllability
    from prefboost.runs.diagnose.report_file import guard_report, write_report
    from prefboost.sources import read

    settings = read_overrides(DiagnoseControllability, arguments)
    guard_report(out, [source])
    report = measure_controllability(read(source), settings)
    write_report(out, "controllability", report.record())
    return report
