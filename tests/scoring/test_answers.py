"""Asking: each question once, failures counted and asked again, what was told kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import WordyEngine

from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.call_session import NOT_YET, CallSession
from prefboost.engines.engine import Failure, Request, Result, Sampling
from prefboost.engines.store.store import Store
from prefboost.errors import RunError
from prefboost.scoring.answers import FAILED, TOO_LONG, UNLIKELY, Asking

SAMPLING = Sampling(temperature=0.0)


def asks(*texts: str) -> list[Request]:
    return [Request([{"role": "user", "content": text}]) for text in texts]


class Faulty(WordyEngine):
    """Fails where the prompt says so, row by row, as a server does."""

    remote = True

    def __init__(self) -> None:
        super().__init__("faulty", None)
        self.healed = False
        self.rounds: list[int] = []

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Any]]:
        requests = list(requests)
        self.rounds.append(len(requests))
        for index, request in reversed(list(enumerate(requests))):
            self.asked.append(request)
            text = str(request.prompt[-1]["content"])
            broken = text == "broken" and not self.healed
            yield index, Failure("HTTP 500", 3) if broken else Result(text.upper(), "stop", 1, 1)


def test_equal_questions_are_asked_once_and_answered_everywhere() -> None:
    engine = WordyEngine("e", str.upper)
    answers = Asking(engine, SAMPLING).answers(asks("a", "b", "a", "c", "b"))
    assert [answer.text for answer in answers] == ["A", "B", "A", "C", "B"] and len(engine.asked) == 3


def test_a_failure_stops_no_other_row_and_is_asked_again_next_time(tmp_path: Path) -> None:
    engine, told = Faulty(), []  # type: ignore[var-annotated]
    with Store(tmp_path / "s") as store:
        answers = Asking(engine, SAMPLING, CallSession(store, tell=told.append)).answers(asks("a", "broken", "b"))
    assert [answer.fault for answer in answers] == [None, FAILED, None]
    assert engine.rounds == [3], "a server gets all that is missing at once, to ask many things side by side"
    assert answers[1].text == "HTTP 500" and (told[-1].total, told[-1].done, told[-1].stored) == (3, 3, 0)
    engine.healed = True
    engine.asked.clear()
    with Store(tmp_path / "s") as store:
        again = Asking(engine, SAMPLING, CallSession(store)).answers(asks("a", "broken", "b"))
    assert [answer.text for answer in again] == ["A", "BROKEN", "B"] and len(engine.asked) == 1


def test_another_sampling_sample_or_schema_is_another_question(tmp_path: Path) -> None:
    engine = WordyEngine("e", str.upper)
    prompt = [{"role": "user", "content": "a"}]
    requests = [Request(prompt), Request(prompt, sample=1), Request(prompt, json_schema="{}")]
    with Store(tmp_path / "s") as store:
        Asking(engine, SAMPLING, CallSession(store)).answers(requests)
        Asking(engine, Sampling(temperature=0.5), CallSession(store)).answers(requests)
        Asking(engine, SAMPLING, CallSession(store)).answers(requests)
    assert len(engine.asked) == 6


class Weighing(WordyEngine):
    def __init__(self, values: Sequence[float]) -> None:
        super().__init__("w", None)
        self.values = values

    def logprobs_of(self, requests: Sequence[Request], choices: Sequence[str]) -> Iterator[tuple[int, Any]]:
        for index, request in enumerate(requests):
            self.asked.append(request)
            yield index, tuple(self.values)


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=10))
def test_shares_sum_to_one_and_keep_the_order_of_the_choices(values: list[float]) -> None:
    choices = [str(at) for at in range(len(values))]
    (found,) = Asking(Weighing(values), SAMPLING).shares(asks("a"), choices, min_mass=0.0)
    assert sum(found.of) == pytest.approx(1.0)
    assert found.mass == pytest.approx(sum(math.exp(value) for value in values))
    assert found.of.index(max(found.of)) == values.index(max(values)) or max(found.of) == pytest.approx(
        found.of[values.index(max(values))]
    )


@given(st.floats(1e-300, 1.0), st.floats(0.0, 1.0))
def test_shares_of_less_than_the_least_mass_are_unreadable_and_say_how_much_there_was(
    mass: float, least: float
) -> None:
    half = math.log(mass / 2)
    (found,) = Asking(Weighing([half, half]), SAMPLING).shares(asks("a"), ["A", "B"], least)
    assert found.mass == pytest.approx(mass)
    if found.fault is None:
        assert found.mass >= least and found.of == [0.5, 0.5]
    else:
        assert found.mass < least and found.of == [] and f"{found.mass:.2g}" in found.found


@pytest.mark.parametrize("values", [[-math.inf, -math.inf], [math.nan, -1.0]])
def test_log_probs_that_say_nothing_are_a_fault(values: list[float]) -> None:
    (found,) = Asking(Weighing(values), SAMPLING).shares(asks("a"), ["A", "B"])
    assert found.fault == UNLIKELY and found.of == []


def test_log_probs_are_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    engine = Weighing([-1.0, -math.inf])
    for _ in range(2):
        with Store(tmp_path / "s") as store:
            (found,) = Asking(engine, SAMPLING, CallSession(store)).shares(asks("a"), ["A", "B"])
        assert found.of == [1.0, 0.0]
    assert len(engine.asked) == 1


def test_a_question_that_the_model_cannot_see_whole_is_a_fault_and_stops_no_other(tmp_path: Path) -> None:
    engine = WordyEngine("e", str.upper)
    engine.context = 24
    long = " ".join(["word"] * 30)
    found = Asking(engine, Sampling(max_tokens=10)).answers(asks("a", long, "b"))
    assert [each.fault for each in found] == [None, TOO_LONG, None] and len(engine.asked) == 2


def test_the_budget_ends_asking_and_a_partial_desk_tells_what_there_is(tmp_path: Path) -> None:
    engine = WordyEngine("e", str.upper)
    with Store(tmp_path / "s") as store:
        engine.ledger = Ledger(Budget(requests=2), book=store.book())
        with pytest.raises(RunError, match="2 of 3 rows are finished"):
            Asking(engine, SAMPLING, CallSession(store)).answers(asks("a", "b", "c"))
        found = Asking(engine, SAMPLING, CallSession(store, partial=True)).answers(asks("a", "b", "c"))
        assert [(each.text, each.fault) for each in found] == [("A", None), ("B", None), ("", NOT_YET)]
        assert store.book().total().requests == len(engine.asked) == 2


def test_the_budget_counts_log_probs_of_a_local_engine_too() -> None:
    engine = Weighing([-1.0, -2.0])
    engine.ledger = Ledger(Budget(requests=1))
    with pytest.raises(RunError, match="budget"):
        Asking(engine, SAMPLING).shares(asks("a", "b"), ["A", "B"])
    assert engine.asked == []
