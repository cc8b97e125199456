"""Aspects: registries, own definitions, and draws that depend on nothing but seed and names."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from prefboost.synthesis.aspects import TASKS, Aspects, seed_random


@pytest.mark.parametrize("task", TASKS)
def test_every_task_defines_its_aspects_in_a_line_each(task: str) -> None:
    aspects = Aspects(task=task).draw(0, "q")
    assert len(aspects) >= 3
    assert all(line and "\n" not in line and len(line) < 120 for line in aspects.values())


def test_chat_question_answering_and_summaries_are_shipped() -> None:
    assert {"chat", "qa", "summarization"} <= set(TASKS)
    assert list(TASKS["qa"].aspects) == ["relevance", "factuality", "completeness"]
    assert list(TASKS["summarization"].aspects) == ["coherence", "accuracy", "coverage", "overall"]


def test_own_definitions_stand_beside_and_in_place_of_the_tasks() -> None:
    aspects = Aspects(names=("wit", "relevance"), definitions={"wit": "it is funny", "relevance": "to the point"})
    assert aspects.draw(0, "q") == {"wit": "it is funny", "relevance": "to the point"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "poetry"}, "no task 'poetry'"),
        ({"names": ("wit",)}, "no definition of 'wit'"),
        ({"k": 9}, "k is 9"),
    ],
)
def test_what_is_not_there_is_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Aspects.model_validate(settings)


def test_k_are_drawn_anew_for_every_pair_and_each_as_often() -> None:
    aspects = Aspects(task="instructions", k=2)
    drawn_names = [tuple(aspects.draw(3, f"q{at}")) for at in range(2000)]
    counts = Counter(name for names in drawn_names for name in names)
    assert {len(names) for names in drawn_names} == {2}
    assert all(count == pytest.approx(1000, abs=120) for count in counts.values()) and len(counts) == 4
    assert drawn_names[:10] == [tuple(aspects.draw(3, f"q{at}")) for at in range(10)]
    assert drawn_names != [tuple(aspects.draw(4, f"q{at}")) for at in range(2000)]


def test_draws_depend_on_every_name() -> None:
    numbers = {seed_random(0, *names).random() for names in (("a",), ("b",), ("a", "b"), ("ab",))}
    assert len(numbers) == 4
