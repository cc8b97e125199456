"""Reports of the command line: lines for people, or one JSON document; and the lines that several verbs share."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefboost.cli.terminal import print_error

if TYPE_CHECKING:
    from prefboost.forecast import Forecast

__all__ = [
    "estimate_machines",
    "format_columns",
    "list_changes",
    "list_estimate",
    "list_rejected",
    "log_to_stderr",
    "print_forecast",
    "print_json",
    "print_report",
]


def print_report(record: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a report.

    Args:
        record: the report as JSON values; paths and days are written as text.
        lines: the report for people.
        as_json: print the record instead of the lines.
    """
    if as_json:
        print_json(record)
        return
    for line in lines:
        print(line)


def print_forecast(
    forecast: Forecast, *, as_json: bool, on: Sequence[str] | None = None, executor: str = "local"
) -> None:
    """Print what a dry run forecasts.

    Args:
        forecast: of the verb.
        as_json: print a record instead of lines.
        on: ``key=value`` of machines for which time and price are estimated.
        executor: local or ray.

    Raises:
        SettingsError: no such machines can be.
    """
    estimate = estimate_machines([forecast], on, executor)
    record = forecast.record() | ({"estimate": estimate} if estimate else {})
    print_report(record, [*forecast.lines(), *list_estimate(estimate)], as_json=as_json)


def estimate_machines(
    forecasts: Iterable[Forecast], on: Sequence[str] | None, executor: str = "local"
) -> dict[str, float]:
    """Estimate the store of some work, and its time and price on the machines of ``--on`` where there are any.

    Args:
        forecasts: of pieces of work that are done one after the other.
        on: ``key=value`` of machines.
        executor: local or ray.

    Raises:
        SettingsError: no such machines can be.
    """
    from prefboost.cli.overrides import read_overrides
    from prefboost.costs import Machines, estimate_work

    estimate = estimate_work(forecasts, read_overrides(Machines, on) if on else None, executor)
    return {name: value for name, value in estimate.items() if value or name != "store_bytes"}


def list_estimate(estimate: Mapping[str, float], of: str = "") -> Iterator[str]:
    """List an estimate as lines of a dry run.

    Args:
        estimate: see `prefboost.costs`.
        of: a part of the work, named in front of each line.
    """
    if "hours" in estimate:
        price = f", ${estimate['dollars']:,.2f}" if "dollars" in estimate else ""
        unit = "GPU-hours" if "gpu_hours" in estimate else "machine-hours"
        held = estimate.get("gpu_hours", estimate.get("machine_hours", 0.0))
        flops = f", {estimate['flops']:.3g} FLOPs" if "flops" in estimate else ""
        yield f"{of}on these machines: about {estimate['hours']:.3g} h, {held:.3g} {unit}{price}{flops}"
    if estimate.get("store_bytes"):
        yield f"{of}store:  about {_format_bytes(estimate['store_bytes'])}"
    if estimate.get("shuffled_bytes"):
        yield f"{of}between nodes: about {_format_bytes(estimate['shuffled_bytes'])}"
    if estimate.get("object_requests"):
        read, written = (_format_bytes(estimate[f"object_{way}_bytes"]) for way in ("read", "written"))
        requests = estimate["object_requests"]
        yield f"{of}object store: about {read} read, {written} written, {requests:,.0f} requests"


def _format_bytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def print_json(record: Any) -> None:
    """Print JSON values as one indented document."""
    print(json.dumps(record, indent=2, ensure_ascii=False, default=str))


def list_changes(notes: Mapping[str, Any]) -> Iterator[str]:
    """List the models that changed under their name, from the notes of a step."""
    from prefboost.runs.score.questions import MODEL_CHANGES

    for change in notes.get(MODEL_CHANGES, ()):
        yield f"note: {change}"


def list_rejected(rejected: Mapping[str, int], *, total: int = 0, indent: str = "") -> Iterator[str]:
    """List rejected rows by reason.

    Args:
        rejected: reason -> rows.
        total: rows of which the share is given; 0 gives none.
        indent: text in front of each line.
    """
    for reason, count in rejected.items():
        share = f" ({count / total:.1%})" if total else ""
        yield f"{indent}{count:,}{share} rejected: {reason}"


def format_columns(columns: object) -> str:
    """Write the column or columns of a part; aspects as ``aspect=column`` where the two names differ."""
    if isinstance(columns, Mapping):
        same = all(aspect == column for aspect, column in columns.items())
        return ", ".join(columns if same else (f"{aspect}={column}" for aspect, column in columns.items()))
    return ", ".join(map(str, columns)) if isinstance(columns, list | tuple) else str(columns)


def log_to_stderr(*, quiet: bool) -> None:
    """Print the log of prefboost on stderr.

    Args:
        quiet: warnings alone.
    """
    logger = logging.getLogger("prefboost")
    # One handler, also where several commands run in one process.
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, _StderrLog)]
    logger.addHandler(_StderrLog(logging.WARNING if quiet else logging.INFO))
    logger.setLevel(logging.INFO)
    # Where bitsandbytes is installed, peft imports it, and it then warns of a CPU kernel that no verb uses.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


class _StderrLog(logging.Handler):
    """Writes log records to stderr, looked up at each record: bars put a stream of their own there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, without secrets."""
        print_error(record.getMessage())
