"""Academic benchmarks from logs of single questions: shares with intervals, rescaled figures, paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from prefboost.errors import DataError
from prefboost.statistics import Bootstrap, Interval, bootstrap_difference, bootstrap_mean, match_means
from prefboost.statistics.bootstrap import USUAL

__all__ = ["AcademicScore", "Sample", "academic_score", "academic_score_from", "paired_scores", "samples_of"]


@dataclass(frozen=True)
class Sample:
    """One question as it was answered, once a way of reading the answer.

    Args:
        task: subtask of the benchmark.
        question: hash of the question: the same for every model and goal.
        reading: how the answer was read: none for multiple choice; strict-match, flexible-extract.
        value: what it counts, 0..1.
        prompt: hash of the rendered prompt.
        choices: how many answers there were to choose from; 0: it was written freely.
    """

    task: str
    question: str
    reading: str
    value: float
    prompt: str = ""
    choices: int = 0


@dataclass(frozen=True)
class AcademicScore:
    """One benchmark, in percent.

    Args:
        benchmark: name.
        readings: way of reading the answers -> share that is right; subtasks weigh by their size.
        tasks: subtask -> the same by the first reading.
        rescaled: mean over subtasks of (share - chance) / (1 - chance), at least 0, as the second Open LLM Leaderboard
            shows; None where answers are written freely.
        settings: how it was run: examples, limit, what was left out.
    """

    benchmark: str
    readings: Mapping[str, Interval]
    tasks: Mapping[str, Interval]
    rescaled: float | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    def line(self) -> str:
        """As it is printed."""
        shown = "; ".join(f"{name} {one}" if name != "none" else str(one) for name, one in self.readings.items())
        return f"{self.benchmark:<12} {shown}" + ("" if self.rescaled is None else f"; rescaled {self.rescaled:.2f}")


def samples_of(log: Mapping[str, Iterable[Mapping[str, Any]]], metric: str) -> list[Sample]:
    """Samples of lm-evaluation-harness (``results["samples"]``).

    Args:
        log: subtask -> records.
        metric: which of a record's metrics counts.

    Raises:
        DataError: a record lacks the metric.
    """
    found = []
    for task, records in log.items():
        for record in records:
            if metric not in record:
                raise DataError(
                    f"a record of {task} has no {metric}; it has {', '.join(record)[:120]}",
                    remedy="run it with the version of lm-eval that the extra names",
                )
            reading = str(record.get("filter", "none"))
            several = len(record.get("arguments") or ())
            found.append(
                Sample(
                    task, str(record["doc_hash"]), reading, float(record[metric]), str(record.get("prompt_hash", "")),
                    several if reading == "none" and several > 1 else 0,
                )
            )  # fmt: skip
    return found


def academic_score(
    benchmark: str,
    samples: Sequence[Sample],
    *,
    how: Bootstrap = USUAL,
    settings: Mapping[str, Any] | None = None,
) -> AcademicScore:
    """The figures of a benchmark.

    Raises:
        DataError: there are no samples.
    """
    if not samples:
        raise DataError(f"no question of {benchmark} was answered", remedy="give data for at least one of its tasks")
    by_reading: dict[str, list[Sample]] = {}
    for sample in samples:
        by_reading.setdefault(sample.reading, []).append(sample)
    by_task: dict[str, list[Sample]] = {}
    for sample in next(iter(by_reading.values())):
        by_task.setdefault(sample.task, []).append(sample)
    return AcademicScore(
        benchmark,
        {name: _share(own, how) for name, own in by_reading.items()},
        {name: _share(own, how) for name, own in by_task.items()},
        _rescaled(by_task),
        dict(settings or {}),
    )


def academic_score_from(record: Mapping[str, Any]) -> AcademicScore:
    """The score whose `AcademicScore.record` this is."""
    intervals = {name: {one: Interval(**own) for one, own in record[name].items()} for name in ("readings", "tasks")}
    return AcademicScore(record["benchmark"], **intervals, rescaled=record["rescaled"], settings=record["settings"])


def paired_scores(first: Sequence[Sample], second: Sequence[Sample], *, how: Bootstrap = USUAL) -> dict[str, Interval]:
    """Reading -> first less second in percentage points, question by question.

    Raises:
        DataError: a question was answered by one of them alone.
    """
    found = {}
    for reading in dict.fromkeys(sample.reading for sample in first):
        sides = [[sample for sample in own if sample.reading == reading] for own in (first, second)]
        one, other = (
            ([(sample.task, sample.question) for sample in own], [100 * sample.value for sample in own])
            for own in sides
        )
        _, ahead, behind = match_means(one, other)
        found[reading] = bootstrap_difference(ahead, behind, how=how)
    return found


def _share(samples: Sequence[Sample], how: Bootstrap) -> Interval:
    return bootstrap_mean(
        [100 * sample.value for sample in samples], clusters=[sample.question for sample in samples], how=how
    )


def _rescaled(by_task: Mapping[str, Sequence[Sample]]) -> float | None:
    shares = []
    for samples in by_task.values():
        if not all(sample.choices for sample in samples):
            return None
        chance = float(np.mean([1 / sample.choices for sample in samples]))
        share = float(np.mean([sample.value for sample in samples]))
        shares.append(max(0.0, 100 * (share - chance) / (1 - chance)))
    return float(np.mean(shares))
