"""`diagnose_controllability`: how a policy follows goals, measured and written as a report."""

from __future__ import annotations

from pathlib import Path

from prefboost.diagnosis.controllability import ControllabilityReport, DiagnoseControllability, measure_controllability
from prefboost.runs.diagnose.report_file import guard_report, write_report
from prefboost.tables import Table

__all__ = ["diagnose_controllability"]


def diagnose_controllability(
    table: Table, settings: DiagnoseControllability, out: str | Path | None = None
) -> ControllabilityReport:
    """Measure how a policy follows goals.

    Args:
        table: see `measure_controllability`.
        settings: see there.
        out: ``.json`` file for the report; None writes none.

    Raises:
        DataError: the table holds no scored completions with a goal.
        RunError: the output is an input, or a file that `diagnose` did not write.
    """
    if out is not None:
        guard_report(out, [table])
    report = measure_controllability(table, settings)
    if out is not None:
        write_report(out, "controllability", report.record())
    return report
