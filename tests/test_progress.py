"""Work reports how far it is, and a bar gets the differences."""

from __future__ import annotations

from prefboost.engines.budget import Spend
from prefboost.progress import WorkProgress, duration, phase, tell_bar


def test_durations_are_said_in_the_unit_that_fits() -> None:
    assert [duration(s) for s in (3, 119, 600, 12600)] == ["3 s", "119 s", "10 min", "3.5 h"]


def test_a_phase_without_progress_shows_nothing() -> None:
    with phase(None, "loading"):
        pass


class _Bar:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def begin(self, what: str, total: int | None) -> None:
        self.calls.append(("begin", what, total))

    def advance(self, parts: int, **facts: float) -> None:
        self.calls.append(("advance", parts, facts))

    def end(self) -> None:
        self.calls.append(("end",))


def test_a_bar_gets_the_differences_of_the_states_that_a_verb_reports() -> None:
    bar = _Bar()
    tell = tell_bar(bar)
    for done, tokens in ((0, 0), (2, 10), (5, 30)):
        tell(WorkProgress("generate", 5, done, spent=Spend(tokens=tokens)))
    assert bar.calls == [
        ("begin", "generate", 5), ("advance", 2, {"tokens": 10.0}), ("advance", 3, {"tokens": 20.0}), ("end",),
    ]  # fmt: skip


def test_a_bar_begins_anew_with_each_part_of_the_work() -> None:
    bar = _Bar()
    tell = tell_bar(bar)
    for part in ("policy", "reference"):
        tell(WorkProgress(part, 3))
        tell(WorkProgress(part, 3, 3))
    assert bar.calls == [
        step for part in ("policy", "reference") for step in (("begin", part, 3), ("advance", 3, {}), ("end",))
    ]


def test_without_a_bar_nothing_is_shown() -> None:
    tell_bar(None)(WorkProgress("policy", 3, 3))
