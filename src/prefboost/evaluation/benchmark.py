"""What a benchmark is: three pure functions between completions and results.

``build`` says what a judge is asked, ``parse`` what its reply means, ``score`` what comes of all verdicts. None of them
touches a file or a model, so that a benchmark runs on stored verdicts just as it does on fresh ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prefboost.errors import DataError
from prefboost.evaluation.results import Mode, Results

__all__ = [
    "MISSING_ALLOWED",
    "Benchmark",
    "BenchmarkPrompt",
    "JudgeReply",
    "JudgeRequest",
    "JudgeVerdict",
    "Mode",
    "Withholding",
    "check_facts",
]

MISSING_ALLOWED = 0.01
"""Share of missing completions and verdicts above which a headline figure is withheld."""

Fact = str | float | int | bool | None


@dataclass(frozen=True)
class BenchmarkPrompt:
    """One prompt of a benchmark.

    Args:
        uid: unique in the benchmark, and the cluster of all that comes of it.
        turns: what the user says, turn by turn; at least one.
        category: a part of the benchmark that is also scored by itself; empty for none.
        reference: a reference completion for each turn, where the judge is shown one.
        before: messages that stand before the first turn: a system message, an earlier conversation.
    """

    uid: str
    turns: tuple[str, ...]
    category: str = ""
    reference: tuple[str, ...] = ()
    before: tuple[Mapping[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The first turn, behind whatever stands before it, as a judge is shown it."""
        return "\n\n".join([*(f"[{one['role']}]\n{one['content']}" for one in self.before), self.turns[0]])


@dataclass(frozen=True)
class JudgeRequest:
    """One call of the judge.

    Args:
        uid: of the prompt.
        model: who is rated.
        part: which of the calls about this prompt and model: an order, a turn, or both.
        messages: system and user turns; completions are data in them, whatever markers they hold.
        choices: what the judge may say first, whose log-probs are read; none where it answers in words.
        max_tokens: most tokens of the answer.
        temperature: of the answer; 0 takes the likeliest token.
        facts: carried to the verdict: lengths, category, which side is whose.
        known: the value, where no call is needed (two equal completions tie).
        fault: why there is nothing to ask: a completion is missing.
    """

    uid: str
    model: str
    part: str
    messages: tuple[Mapping[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    max_tokens: int = 2048
    temperature: float = 0.0
    facts: Mapping[str, Fact] = field(default_factory=dict)
    known: float | None = None
    fault: str = ""

    @property
    def is_asked(self) -> bool:
        """Whether the judge is called at all."""
        return self.known is None and not self.fault


@dataclass(frozen=True)
class JudgeReply:
    """What came back.

    Args:
        text: the answer; empty where log-probs were read.
        logprobs: of the request's choices, nats; -inf for one that is not among the likely tokens.
        fault: why there is no reply, or why it cannot be used; empty where there is one.
    """

    text: str = ""
    logprobs: tuple[float, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class JudgeVerdict:
    """What a reply means. One line of a file of verdicts.

    Args:
        uid: of the prompt.
        model: who is rated.
        part: see `JudgeRequest`.
        value: a share of the win in 0..1, or a grade; None where there is no verdict.
        facts: see `JudgeRequest`, and what the reply adds (label, log-probs).
        judge: who judged.
        fault: why there is no value.
    """

    uid: str
    model: str
    part: str
    value: float | None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    judge: str = ""
    fault: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """As it stands in a file of verdicts: facts beside the other fields, under ``facts``."""
        return {
            "uid": self.uid, "model": self.model, "part": self.part, "value": self.value,
            "facts": dict(self.facts), "judge": self.judge, "fault": self.fault,
        }  # fmt: skip

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> JudgeVerdict:
        """A verdict from a line of a file.

        Raises:
            DataError: uid or model is absent, or the value is no finite number.
        """
        absent = [name for name in ("uid", "model") if name not in record]
        value = record.get("value")
        if absent or not (value is None or (isinstance(value, int | float) and math.isfinite(value))):
            raise DataError(
                f"{str(dict(record))[:120]} is no verdict" + "".join(f": it has no {name}" for name in absent[:1]),
                remedy="give lines with uid, model, part, value (a number or null) and facts",
            )
        return cls(
            str(record["uid"]), str(record["model"]), str(record.get("part", "")),
            None if value is None else float(value), dict(record.get("facts") or {}),
            str(record.get("judge", "")), str(record.get("fault", "")),
        )  # fmt: skip


@dataclass(frozen=True)
class Withholding:
    """When a headline figure is withheld.

    Args:
        missing: rows without a value.
        rows: all rows that should have one.
        allowed: the caller wants the figure whatever is missing.
    """

    missing: int
    rows: int
    allowed: bool = False

    @property
    def withheld(self) -> bool:
        """Whether more than 1 % is missing and nobody allowed it; and always where nothing is left."""
        return self.missing >= self.rows or (self.missing > MISSING_ALLOWED * self.rows and not self.allowed)


def check_facts(verdicts: Sequence[JudgeVerdict], names: Sequence[str], benchmark: str) -> None:
    """See that verdicts are of a benchmark, before they are scored as such.

    Args:
        verdicts: to score.
        names: facts that its verdicts carry.
        benchmark: its kind, for the message.

    Raises:
        DataError: there are none, or one lacks a fact.
    """
    if not verdicts:
        raise DataError("there are no verdicts to score", remedy="judge completions first")
    for at, verdict in enumerate(verdicts):
        lacking = [name for name in names if name not in verdict.facts]
        if lacking:
            raise DataError(
                f"verdict {at} ({verdict.model} on {verdict.uid[:60]!r}) is none of {benchmark}: it has no "
                f"{', '.join(lacking)}",
                remedy="score it with the benchmark that it was made by",
            )


class Benchmark(Protocol):
    """Settings of a benchmark with three pure functions."""

    @property
    def mode(self) -> Mode:
        """official or robust."""

    def build(
        self, prompts: Sequence[BenchmarkPrompt], completions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> list[JudgeRequest]:
        """What the judge is asked.

        Args:
            prompts: of the benchmark.
            completions: model -> uid -> a completion for each turn. The baseline is one of the models. A completion
                that is absent makes a request with a fault, so that its row is counted and never lost.
        """

    def parse(self, request: JudgeRequest, reply: JudgeReply) -> JudgeVerdict:
        """What a reply means; where it means nothing, a verdict without value and with the fault."""

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """Figures of every model, from the verdicts of all requests.

        Args:
            verdicts: of any models, in any order of rows.
            allow_missing: give headline figures however many rows are missing.
        """
