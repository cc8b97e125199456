"""`canary`: fifty fixed questions asked of a judge anew, and held against the first time that it was asked them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefboost.atomic import write_atomically
from prefboost.engines.budget import UNLIMITED, Spending
from prefboost.engines.call_session import CallSession
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.store.sightings import sightings
from prefboost.engines.store.store import Store
from prefboost.errors import DataError
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.canary import CANARY, CanaryDrift, build_canary_requests, measure_drift
from prefboost.evaluation.user_files import read_records
from prefboost.progress import Tell
from prefboost.runs.evaluate.judging import judge_requests
from prefboost.sources.writers.outputs import refuse_inputs

__all__ = ["CanaryReport", "canary", "canary_facts", "read_clock"]


@dataclass(frozen=True)
class CanaryReport:
    """Report on a judge after the canary was asked.

    Args:
        judge: name of the model.
        identity: identity of the engine: address and name, or fingerprint of the weights; only equal ones are compared.
        asked_at: time, UTC.
        answered_as: name and fingerprint that a server gave in its replies.
        first_at: time of the first canary; None: this was the first time.
        first_as: names under which the judge answered then.
        drift: change since then; None where this was the first time.
    """

    judge: str
    identity: str
    asked_at: str
    answered_as: tuple[str, ...]
    first_at: str | None = None
    first_as: tuple[str, ...] = ()
    drift: CanaryDrift | None = None

    def record(self) -> dict[str, Any]:
        """Return a flat record for results and pages."""
        answer = {"judge": self.judge, "asked_at": self.asked_at, "answered_as": ", ".join(self.answered_as)}
        if self.drift is None:
            return {**answer, "first_time": True}
        return {**answer, "first_asked_at": self.first_at, "first_answered_as": ", ".join(self.first_as),
                **self.drift.record()}  # fmt: skip

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        yield f"judge                  {self.judge}, answered as {', '.join(self.answered_as)} at {self.asked_at}"
        if self.drift is None:
            yield "asked for the first time: later calls into this folder are held against these verdicts"
            return
        yield f"first asked            {self.first_at}, answered as {', '.join(self.first_as)}"
        if self.first_as != self.answered_as:
            yield "note: the server names another model or system than then"
        yield from self.drift.lines()


def read_clock() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canary(
    judge: EngineSettings,
    out: str | Path,
    *,
    spending: Spending = UNLIMITED,
    tell: Tell = lambda _: None,
    clock: Callable[[], str] = read_clock,
) -> CanaryReport:
    """Ask the canary, keep its verdicts, and compare them with the first ones of the same judge.

    Args:
        judge: whom.
        out: folder; ``OUT/canary`` keeps the verdicts of every time, ``OUT/canary.json`` the last report. An
            interrupted call resumes on the same day; a finished one is never taken for an answer.
        spending: budget and prices.
        tell: is told how far it is.
        clock: the time.

    Raises:
        ModelError: the judge cannot be reached.
        RunError: the budget is spent.
        DataError: no question has a verdict, or none at both times.
    """
    refuse_inputs([out], [], [judge])
    asked_at, folder = clock(), Path(out) / "canary"
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / f"running-{asked_at[:10]}"
    with Store(running) as store:
        engine = CallSession(store, spending).open_engine(judge)
        verdicts = judge_requests(CANARY, build_canary_requests(), engine, store, tell=tell)
        if all(verdict.value is None for verdict in verdicts):
            raise DataError(
                f"{model_name(judge)} gave no verdict on any question: {verdicts[0].fault}",
                remedy="check that it is reachable and answers in the requested form",
            )
        names = (f"{each.model} ({each.fingerprint})" if each.fingerprint else each.model for each in sightings(store))
        who = tuple(dict.fromkeys(names))
    report = CanaryReport(model_name(judge), engine.identity, asked_at, who or (engine.identity,))
    first = _read_first(folder, engine.identity)
    if first is not None:
        earlier, header = first
        report = CanaryReport(
            report.judge, report.identity, asked_at, report.answered_as,
            header["asked_at"], tuple(header["answered_as"]), measure_drift(earlier, verdicts),
        )  # fmt: skip
    stamp = asked_at.replace(":", "")
    lines = [{"canary": {**asdict(report), "drift": None}}, *(verdict.record for verdict in verdicts)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(folder / f"{stamp}.jsonl", text, errors="replace")
    summary = json.dumps(report.record(), indent=2, ensure_ascii=False) + "\n"
    write_atomically(Path(out) / "canary.json", summary, errors="replace")
    shutil.rmtree(running)
    return report


def canary_facts(out: str | Path) -> dict[str, Any]:
    """Read the last report in a folder for results: under ``canary``, or nothing where it was never asked."""
    path = Path(out) / "canary.json"
    return {"canary": json.loads(path.read_text(encoding="utf-8"))} if path.is_file() else {}


def _read_first(folder: Path, identity: str) -> tuple[list[JudgeVerdict], dict[str, Any]] | None:
    """Read the oldest verdicts of a judge, and the header with time and names."""
    for path in sorted(folder.glob("*.jsonl")):
        header, *rows = read_records(path)
        report: Any = header.get("canary")
        if isinstance(report, dict) and report.get("identity") == identity:
            return [JudgeVerdict.of(row) for row in rows], report
    return None
