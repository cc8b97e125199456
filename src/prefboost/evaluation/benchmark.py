"""Records of a judged benchmark, and the three pure functions that connect them: request, verdict, score.

``build`` turns completions into requests to the judge, ``parse`` turns a reply into a verdict, ``score`` turns verdicts
into figures. None of them touches a file or a model, so a benchmark scores stored verdicts exactly like fresh ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prefboost.errors import DataError
from prefboost.evaluation.results import Mode, Results

__all__ = [
    "MISSING_ALLOWED",
    "Benchmark",
    "BenchmarkPrompt",
    "Facts",
    "JudgeReply",
    "JudgeRequest",
    "JudgeVerdict",
    "Mode",
    "average_by_prompt",
    "check_facts",
    "check_judged_once",
    "is_withheld",
]

MISSING_ALLOWED = 0.01
"""Share of missing completions and verdicts above which a headline figure is withheld."""

Facts = Mapping[str, object]
"""Facts of a request and its verdict, as JSON has them. Each benchmark declares its own as a TypedDict."""


@dataclass(frozen=True)
class BenchmarkPrompt:
    """One prompt of a benchmark.

    Args:
        uid: unique in the benchmark; rows of one uid are one cluster of every interval.
        turns: user messages, turn by turn; at least one.
        category: part of the benchmark that is also scored separately; empty for none.
        reference: reference completion for each turn, where the judge is shown one.
        before: messages in front of the first turn: a system message, an earlier conversation.
    """

    uid: str
    turns: tuple[str, ...]
    category: str = ""
    reference: tuple[str, ...] = ()
    before: tuple[Mapping[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The first turn, after the messages in front of it, in the form that a judge is shown."""
        history = [f"[{message['role']}]\n{message['content']}" for message in self.before]
        return "\n\n".join([*history, self.turns[0]])


@dataclass(frozen=True)
class JudgeRequest:
    """One call of the judge.

    Args:
        uid: uid of the prompt.
        model: name of the rated model.
        part: which of the calls about this prompt and model: an order, a turn, or both.
        messages: system and user turns; completions are data in them, whatever chat markers they hold.
        choices: tokens that may begin the answer and whose log-probs are read; none where the judge answers in words.
        max_tokens: greatest length of the answer in tokens.
        temperature: sampling temperature of the answer; 0 takes the likeliest token.
        facts: copied to the verdict, such as lengths, category and order.
        value: value of the verdict where it needs no call (two equal completions tie).
        fault: reason why there is nothing to ask, such as a missing completion.
    """

    uid: str
    model: str
    part: str
    messages: tuple[Mapping[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    max_tokens: int = 2048
    temperature: float = 0.0
    facts: Facts = field(default_factory=dict)
    value: float | None = None
    fault: str = ""

    @property
    def needs_call(self) -> bool:
        """True if the judge has to be called."""
        return self.value is None and not self.fault


@dataclass(frozen=True)
class JudgeReply:
    """Reply of a judge to one request.

    Args:
        text: the answer in words; empty where log-probs were read.
        logprobs: log-prob of each choice of the request, in nats; -inf where it is not among the likely tokens.
        fault: reason why there is no reply, or none that can be used; empty where there is one.
    """

    text: str = ""
    logprobs: tuple[float, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class JudgeVerdict:
    """Meaning of a reply. One line of a file of verdicts.

    Args:
        uid: uid of the prompt.
        model: name of the rated model.
        part: see `JudgeRequest`.
        value: share of the win in 0..1, or a grade; None where there is no verdict.
        facts: facts of the request, and those read from the reply (label, log-probs).
        judge: identity of the judge.
        fault: reason why there is no value.
    """

    uid: str
    model: str
    part: str
    value: float | None
    facts: Facts = field(default_factory=dict)
    judge: str = ""
    fault: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """One line of a file of verdicts, before JSON."""
        return {
            "uid": self.uid, "model": self.model, "part": self.part, "value": self.value,
            "facts": dict(self.facts), "judge": self.judge, "fault": self.fault,
        }  # fmt: skip

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> JudgeVerdict:
        """Read a verdict from a line of a file.

        Raises:
            DataError: uid or model is absent, or the value is not a finite number.
        """
        absent = [name for name in ("uid", "model") if name not in record]
        value = record.get("value")
        if absent or not (value is None or (isinstance(value, int | float) and math.isfinite(value))):
            raise DataError(
                f"{str(dict(record))[:120]} is not a verdict" + "".join(f": it has no {name}" for name in absent[:1]),
                remedy="give lines with uid, model, part, value (a number or null) and facts",
            )
        return cls(
            str(record["uid"]), str(record["model"]), str(record.get("part", "")),
            None if value is None else float(value), dict(record.get("facts") or {}),
            str(record.get("judge", "")), str(record.get("fault", "")),
        )  # fmt: skip


def is_withheld(missing: int, rows: int, *, allow_missing: bool = False) -> bool:
    """Decide whether a headline figure is withheld.

    Args:
        missing: rows without a value.
        rows: all rows that should have one.
        allow_missing: give the figure however many rows are missing.

    Returns:
        True where more than 1 % of the rows are missing and this is not allowed, and always where no row is left.
    """
    return missing >= rows or (missing > MISSING_ALLOWED * rows and not allow_missing)


def check_facts(verdicts: Sequence[JudgeVerdict], names: Sequence[str], benchmark: str) -> None:
    """Check that verdicts belong to a benchmark before they are scored.

    Args:
        verdicts: verdicts to score.
        names: facts that every verdict of the benchmark carries.
        benchmark: kind of the benchmark, for the message.

    Raises:
        DataError: there are no verdicts, or a verdict lacks a fact.
    """
    if not verdicts:
        raise DataError("there are no verdicts to score", remedy="judge completions first")
    for at, verdict in enumerate(verdicts):
        lacking = [name for name in names if name not in verdict.facts]
        if lacking:
            raise DataError(
                f"verdict {at} ({verdict.model} on {verdict.uid[:60]!r}) is not a verdict of {benchmark}: it has no "
                f"{', '.join(lacking)}",
                remedy="score it with the benchmark that made it",
            )


def check_judged_once(verdicts: Sequence[JudgeVerdict], remedy: str) -> None:
    """Check that no judge has judged a part of a prompt of one model twice.

    Args:
        verdicts: verdicts to score.
        remedy: advice of the error.

    Raises:
        DataError: it has.
    """
    keys: set[tuple[str, str, str, str]] = set()
    for verdict in verdicts:
        key = (verdict.model, verdict.uid, verdict.part, verdict.judge)
        if key in keys:
            judge = verdict.judge or "the judge"
            raise DataError(
                f"{verdict.part} of {verdict.uid[:60]} of {verdict.model} was judged twice by {judge}", remedy=remedy
            )
        keys.add(key)


class Benchmark(Protocol):
    """A judged benchmark as three pure functions."""

    @property
    def mode(self) -> Mode:
        """official or robust."""

    def build(
        self, prompts: Sequence[BenchmarkPrompt], completions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> list[JudgeRequest]:
        """Build the requests to the judge.

        Args:
            prompts: prompts of the benchmark.
            completions: model -> uid -> completion of each turn. The baseline is one of the models. An absent
                completion gives a request with a fault, so that its row is counted and never lost.
        """

    def parse(self, request: JudgeRequest, reply: JudgeReply) -> JudgeVerdict:
        """Read a reply; one without meaning gives a verdict with a fault and no value."""

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """Compute the figures of every model from the verdicts of all requests.

        Args:
            verdicts: verdicts on any models; the order of rows does not matter.
            allow_missing: give headline figures however many rows are missing.
        """


def average_by_prompt(verdicts: Iterable[JudgeVerdict]) -> dict[str, dict[str, float]]:
    """Compute model -> uid of a prompt -> mean value over its orders, turns and judges.

    Args:
        verdicts: verdicts on any models. A prompt with a row that has no value is left out of that model's means.
    """
    rows: dict[str, dict[str, list[float | None]]] = {}
    for verdict in verdicts:
        rows.setdefault(verdict.model, {}).setdefault(verdict.uid, []).append(verdict.value)
    means: dict[str, dict[str, float]] = {model: {} for model in rows}
    for model, prompts in rows.items():
        for uid, values in prompts.items():
            present = [value for value in values if value is not None]
            # The mean of the remaining order alone would be biased by its place.
            if len(present) == len(values):
                means[model][uid] = sum(present) / len(present)
    return means
