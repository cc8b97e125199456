"""`diagnose_unlearning`: change of log-probs by score, measured with a store and written as a report."""

from __future__ import annotations

from pathlib import Path

from prefboost.diagnosis.unlearning import DiagnoseUnlearning, UnlearningReport, measure_changes
from prefboost.engines.budget import UNLIMITED
from prefboost.progress import Tell
from prefboost.runs.diagnose.report_file import guard_report, write_report
from prefboost.runs.score.questions import open_call_session
from prefboost.tables import Table

__all__ = ["diagnose_unlearning"]


def diagnose_unlearning(
    table: Table,
    settings: DiagnoseUnlearning,
    out: str | Path | None = None,
    *,
    store: str | Path | None = None,
    progress: Tell = lambda _: None,
) -> UnlearningReport:
    """Measure which completions checkpoints made less likely, by score.

    Args:
        table: PreferencePairs, ScoredCompletions or Completions.
        settings: start model, checkpoints, goals, buckets.
        out: ``.json`` file for the report. Log-probs are kept in ``OUT.store``: the same call after an interruption
            goes on from there, and one with a further checkpoint computes that one alone.
        store: a folder to use in the place of ``OUT.store``.
        progress: called after every batch.

    Raises:
        DataError: the table holds no completions, or none could be measured.
        ModelError: a model cannot be loaded, or the models have different tokens.
        RunError: the output is an input, or a file that `diagnose` did not write.
    """
    if out is not None:
        guard_report(out, [table], [settings])
    with open_call_session(out, store, UNLIMITED, progress) as session:
        report = measure_changes(table, settings, session)
    if out is not None:
        write_report(out, "unlearning", report.record())
    return report
