"""Academic benchmarks from logs of single questions: shares with intervals, rescaled figures, paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from prefboost.errors import DataError
from prefboost.statistics import Bootstrap, Interval, bootstrap_difference, bootstrap_mean, match_means
from prefboost.statistics.bootstrap import USUAL

__all__ = ["AcademicScore", "Sample", "score_samples", "read_academic_score", "compare_samples", "parse_samples"]


@dataclass(frozen=True)
class Sample:
    """One answered question, once per way of reading the answer.

    Args:
        task: subtask of the benchmark.
        question: hash of the question: the same for every model and goal.
        reading: way of reading the answer: none for multiple choice; strict-match, flexible-extract.
        value: credit for the answer, 0..1.
        prompt: hash of the rendered prompt.
        choices: number of answers to choose from; 0: the answer was written freely.
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
        readings: way of reading the answers -> share of right answers; subtasks weigh by their size.
        tasks: subtask -> the same by the first reading.
        rescaled: mean over subtasks of (share - chance) / (1 - chance), at least 0, as the second Open LLM Leaderboard
            shows; None where answers are written freely.
        settings: settings of the run: examples, limit, tasks left out.
    """

    benchmark: str
    readings: Mapping[str, Interval]
    tasks: Mapping[str, Interval]
    rescaled: float | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    def line(self) -> str:
        """Return the printed line."""
        parts = [f"{name} {share}" if name != "none" else str(share) for name, share in self.readings.items()]
        return f"{self.benchmark:<12} {'; '.join(parts)}" + (
            "" if self.rescaled is None else f"; rescaled {self.rescaled:.2f}"
        )


def parse_samples(log: Mapping[str, Iterable[Mapping[str, Any]]], metric: str) -> list[Sample]:
    """Read the samples of lm-evaluation-harness (``results["samples"]``).

    Args:
        log: subtask -> records.
        metric: name of the metric that counts.

    Raises:
        DataError: a record lacks the metric.
    """
    samples = []
    for task, records in log.items():
        for record in records:
            if metric not in record:
                raise DataError(
                    f"a record of {task} has no {metric}; it has {', '.join(record)[:120]}",
                    remedy="run it with the version of lm-eval that the extra names",
                )
            reading = str(record.get("filter", "none"))
            choices = len(record.get("arguments") or ())
            samples.append(
                Sample(
                    task, str(record["doc_hash"]), reading, float(record[metric]), str(record.get("prompt_hash", "")),
                    choices if reading == "none" and choices > 1 else 0,
                )
            )  # fmt: skip
    return samples


def score_samples(
    benchmark: str,
    samples: Sequence[Sample],
    *,
    how: Bootstrap = USUAL,
    settings: Mapping[str, Any] | None = None,
) -> AcademicScore:
    """Compute the figures of a benchmark.

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
    rescaled = None
    if all(sample.choices for rows in by_task.values() for sample in rows):
        # Guessing among n choices earns 1 / n; the rescaled share is 0 there and 100 where all is right.
        chances = [float(np.mean([1 / sample.choices for sample in rows])) for rows in by_task.values()]
        shares = [float(np.mean([sample.value for sample in rows])) for rows in by_task.values()]
        scaled = [max(0.0, 100 * (share - at) / (1 - at)) for share, at in zip(shares, chances, strict=True)]
        rescaled = float(np.mean(scaled))
    return AcademicScore(
        benchmark,
        {name: _average(rows, how) for name, rows in by_reading.items()},
        {name: _average(rows, how) for name, rows in by_task.items()},
        rescaled,
        dict(settings or {}),
    )


def read_academic_score(record: Mapping[str, Any]) -> AcademicScore:
    """Read a score from its JSON form (`AcademicScore.record`)."""
    intervals = {
        name: {part: Interval(**fields) for part, fields in record[name].items()} for name in ("readings", "tasks")
    }
    return AcademicScore(record["benchmark"], **intervals, rescaled=record["rescaled"], settings=record["settings"])


def compare_samples(
    first: Sequence[Sample], second: Sequence[Sample], *, how: Bootstrap = USUAL
) -> dict[str, Interval]:
    """Compute reading -> first minus second in percentage points, question by question.

    Raises:
        DataError: a question was answered by one of them alone.
    """
    differences = {}
    for reading in dict.fromkeys(sample.reading for sample in first):
        sides = [[sample for sample in samples if sample.reading == reading] for samples in (first, second)]
        columns = [
            ([(sample.task, sample.question) for sample in samples], [100 * sample.value for sample in samples])
            for samples in sides
        ]
        _, first_values, second_values = match_means(*columns)
        differences[reading] = bootstrap_difference(first_values, second_values, how=how)
    return differences


def _average(samples: Sequence[Sample], how: Bootstrap) -> Interval:
    return bootstrap_mean(
        [100 * sample.value for sample in samples], clusters=[sample.question for sample in samples], how=how
    )
