"""`diagnose_agreement`: implicit rewards against held-out scores, measured with a store and written as a report."""

from __future__ import annotations

from pathlib import Path

from prefboost.diagnosis.agreement import (
    AgreementReport,
    DiagnoseAgreement,
    TrainedOn,
    measure_agreement_with_scores,
)
from prefboost.engines.budget import UNLIMITED
from prefboost.progress import Tell
from prefboost.runs.diagnose.report_file import guard_report, write_report
from prefboost.runs.score.questions import open_call_session
from prefboost.sources import read
from prefboost.tables import Table

__all__ = ["diagnose_agreement"]


def diagnose_agreement(
    table: Table,
    settings: DiagnoseAgreement,
    out: str | Path | None = None,
    *,
    store: str | Path | None = None,
    progress: Tell = lambda _: None,
) -> AgreementReport:
    """Measure how well the implicit rewards of policies agree with scores that they were not trained on.

    Args:
        table: ScoredCompletions, or PreferencePairs with scores.
        settings: start model, policies, the file that they were trained on.
        out: ``.json`` file for the report. Log-probs are kept in ``OUT.store``: the same call after an interruption
            resumes, and a further policy costs only itself.
        store: a folder to use in the place of ``OUT.store``.
        progress: called after every batch.

    Raises:
        DataError: there are no two completions of a prompt to compare.
        ModelError: a model cannot be loaded, or the models have different tokens.
        RunError: the output is an input, or a file that `diagnose` did not write.
    """
    if out is not None:
        guard_report(out, [table, *([] if settings.train is None else [settings.train])], [settings])
    trained_on = None if settings.train is None else TrainedOn.of_table(read(settings.train))
    with open_call_session(out, store, UNLIMITED, progress) as session:
        report = measure_agreement_with_scores(table, settings, session, trained_on)
    if out is not None:
        write_report(out, "agreement", report.record())
    return report
