"""Progress of generating and scoring, for the bar of training."""

from __future__ import annotations

from prefboost.runs.generate.generate import Progress
from prefboost.runs.pipelines.bars import generating, scoring
from prefboost.scoring.stored import ScoreProgress


class Bar:
    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def begin(self, what: str, total: int) -> None:
        self.told.append(("begin", what, total))

    def advance(self, parts: int, **facts: float) -> None:
        self.told.append(("advance", parts, facts))

    def end(self) -> None:
        self.told.append(("end",))


def test_the_bar_of_generating_gets_differences() -> None:
    bar = Bar()
    tell = generating(bar)
    for done, tokens in ((0, 0), (2, 10), (5, 30)):
        tell(Progress(5, done, tokens=tokens))
    assert bar.told == [
        ("begin", "completions", 5), ("advance", 2, {"tokens": 10.0}), ("advance", 3, {"tokens": 20.0}), ("end",),
    ]  # fmt: skip


def test_the_bar_of_scoring_begins_anew_with_each_part() -> None:
    bar = Bar()
    tell = scoring(bar)
    for part in ("policy", "reference"):
        tell(ScoreProgress(part, 3))
        tell(ScoreProgress(part, 3, 3))
    assert bar.told == [
        step for part in ("policy", "reference") for step in (("begin", part, 3), ("advance", 3, {}), ("end",))
    ]


def test_without_a_bar_nothing_is_told() -> None:
    generating(None)(Progress(5, 0))
    scoring(None)(ScoreProgress("policy", 3))
