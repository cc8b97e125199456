"""Outcomes on disk are those that came."""

from __future__ import annotations

from prefboost.engines.engine import Failure, Outcome, Result
from prefboost.runs.generate.outcomes import OutcomeFile


def test_outcomes_are_read_as_they_were_kept_in_any_order() -> None:
    outcomes: dict[int, Outcome] = {
        3: Result("text \ud800 \u2028 日本", "length", 7, 2**40),
        0: Failure("HTTP 500", 6, permanent=True, content=True, unavailable=True),
        4: Result("", "stop", 1, 9, reasoning="thoughts"),
        1: Result("[quoted] <b>", "stop", 1, 1),
    }
    kept = OutcomeFile(5)
    for number, outcome in outcomes.items():
        kept[number] = outcome
    assert [kept[number] for number in range(5)] == [outcomes.get(number) for number in range(5)]
    assert (len(kept), kept.count, kept.failed, list(kept.read_reasons())) == (5, 4, 1, ["HTTP 500"])
    # Thoughts alone are no completion, so that no column of them is needed.
    assert not kept.has_reasoning
    kept[2] = Result("answer", "stop", 1, 9, reasoning="thoughts")
    assert kept.has_reasoning
