"""``prefboost diagnose``: what a training did to a policy, and how it follows goals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.bars import show_work
from prefboost.cli.options import Quiet, StoreFolder
from prefboost.cli.printing import print_report
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from prefboost.diagnosis.agreement import AgreementReport
    from prefboost.diagnosis.controllability import ControllabilityReport
    from prefboost.diagnosis.frontier import FrontierReport
    from prefboost.diagnosis.unlearning import UnlearningReport

    Report = AgreementReport | ControllabilityReport | FrontierReport | UnlearningReport

__all__ = ["diagnose_command", "run_diagnosis"]

_NAMES = "unlearning, agreement, frontier, controllability"


def diagnose_command(
    diagnosis: Annotated[str, typer.Argument(metavar="WHAT", help=_NAMES)],
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="Scored pairs or completions, prompts, or a reproduction: a file, folder or hub id."
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]... [KEY=VALUE]...",
            help="unlearning: checkpoints in the order of training, start=MODEL goal=own scores=[4,7]; "
            "agreement: checkpoints, start=MODEL train=FILE; "
            "frontier: policies, start=MODEL scorer.kind=rules arms.ra=[early,late] at=[2,5]; "
            "controllability: data_top=9 data_tops.ASPECT=4 weights={ASPECT: 2} validation=0.5",
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
    """Measure what a training did to a policy, without a judge or with one.

    unlearning: the change of the log-prob of every completion, by side and score, from the start model to each
    checkpoint; and whether chosen completions became less likely too (likelihood displacement). A goal-conditioned
    policy is asked as it was trained, for each completion's own score. OUT.store keeps log-probs: the same command
    resumes after an interruption, and a further checkpoint costs only itself.

    agreement: how often the implicit reward orders two held-out completions of a prompt as their scores do, under both
    goals too, and its rank correlation with the score, also at equal length; no judge is needed.

    frontier: mean score against KL to the start model, of policies that complete held-out prompts now (with a scorer),
    of a file of scored completions that name the policy that wrote them, or of the folder of a reproduction; arms are
    compared at equal KL, with intervals over prompts and seeds.

    controllability: achieved against requested scores, of scored completions that were generated for several goals:
    slope, rank correlation, calibration error, the part that goes with length, and the best goal by validation prompts;
    for goal vectors the same by aspect, with the effect of the goals of other aspects.
    """
    target = out or Path(f"{diagnosis}.json")
    report = run_diagnosis(diagnosis, source, arguments or [], target, store, hidden=quiet)
    print_report({"out": str(target), **report.record()}, [f"written: {target}", *report.lines()], as_json=as_json)


def run_diagnosis(
    diagnosis: str, source: str, arguments: Sequence[str], out: Path, store: Path | None, *, hidden: bool
) -> Report:
    """Read the settings of a diagnosis, measure it, and write its report.

    Args:
        diagnosis: unlearning, agreement, frontier or controllability.
        source: the file that is read, or the folder of a reproduction.
        arguments: models, and ``key=value``.
        out: ``.json`` file for the report.
        store: of log-probs; None: ``OUT.store``.
        hidden: show no progress.

    Raises:
        SettingsError: there is no such diagnosis, or one line for every wrong override.
    """
    from prefboost.cli.overrides import read_overrides
    from prefboost.sources import read

    # Checkpoints stand alone, as the models of evaluate do; a path with an equals sign is given as models=[...].
    models = [text for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    base = {"models": models} if models else None
    if diagnosis == "unlearning":
        from prefboost.diagnosis.unlearning import DiagnoseUnlearning
        from prefboost.runs.diagnose.unlearning import diagnose_unlearning

        if not models and not any(text.startswith("models") for text in overrides):
            remedy = "write prefboost diagnose unlearning IN MODEL start=MODEL"
            raise SettingsError("no checkpoint is named", remedy=remedy)
        unlearning = read_overrides(DiagnoseUnlearning, overrides, base=base)
        with show_work(hidden=hidden) as tell:
            return diagnose_unlearning(read(source), unlearning, out, store=store, progress=tell)
    if diagnosis == "agreement":
        from prefboost.diagnosis.agreement import DiagnoseAgreement
        from prefboost.runs.diagnose.agreement import diagnose_agreement

        agreement = read_overrides(DiagnoseAgreement, overrides, base=base)
        with show_work(hidden=hidden) as tell:
            return diagnose_agreement(read(source), agreement, out, store=store, progress=tell)
    if diagnosis == "frontier" and (Path(source) / "cells").is_dir():
        from prefboost.diagnosis.frontier import CompareFrontiers
        from prefboost.runs.reproduce.equal_kl import diagnose_reproduction

        return diagnose_reproduction(source, read_overrides(CompareFrontiers, arguments), out)
    if diagnosis == "frontier":
        from prefboost.runs.diagnose.frontier import DiagnoseFrontier, diagnose_frontier
        from prefboost.runs.generate.prompt_files import read_prompts

        frontier = read_overrides(DiagnoseFrontier, overrides, base=base)
        with show_work(hidden=hidden) as tell:
            table = read(source) if frontier.scorer is None else read_prompts(source)
            return diagnose_frontier(table, frontier, out, store=store, progress=tell)
    if diagnosis == "controllability":
        from prefboost.diagnosis.controllability import DiagnoseControllability
        from prefboost.runs.diagnose.controllability import diagnose_controllability

        return diagnose_controllability(read(source), read_overrides(DiagnoseControllability, arguments), out)
    raise SettingsError(f"there is no diagnosis {diagnosis!r}", remedy=f"one of: {_NAMES}")
