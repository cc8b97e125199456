"""The gold score pays for a real answer and for nothing else."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.runs.demo.gold import GoldScorer, check_gold, score_gold, with_gold
from prefboost.runs.demo.tasks import WritingTask
from prefboost.tables import COMPLETIONS, MESSAGES, Table, conform

SENTENCES = WritingTask(subject="a fox", count=2, low=16, high=32, keywords=("quiet", "old"))
LIST = WritingTask(subject="fruits", is_list=True, count=3, low=15, high=30, keywords=("bright",))
GOOD = "The old fox walks through the wood at night. Nobody hears its quiet steps on the leaves."
GOOD_LIST = (
    "1. Apples: sweet and crisp in autumn\n2. Lemons: a bright yellow peel\n3. Cherries: small, red and full of juice"
)


def failed(task: WritingTask, text: str) -> set[str]:
    return {name for name, passes in check_gold(task, text).items() if not passes}


def test_the_scorer_reads_its_task_from_the_prompt_and_rejects_others() -> None:
    texts = [(SENTENCES.write_prompt(), GOOD), (LIST.write_prompt(), GOOD_LIST), ("Write something.", GOOD)]
    rows = [
        {"row": at, "prompt_id": f"p{at}", "completion_id": f"c{at}",
         "prompt": [{"role": "user", "content": prompt, "extra": None}],
         "completion": [{"role": "assistant", "content": answer, "extra": None}]}
        for at, (prompt, answer) in enumerate(texts)
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "row": pl.Int64})
    table = GoldScorer().score(Table(COMPLETIONS, conform(frame, COMPLETIONS)))
    assert table.frame["score"].to_list() == [10.0, 10.0] and table.rejects["id"].to_list() == ["c2"]


def test_real_answers_get_a_ten() -> None:
    assert score_gold(SENTENCES, GOOD) == score_gold(LIST, GOOD_LIST) == 10.0


@pytest.mark.parametrize("text", ["", "  ", "Thank you!", "Quiet. Old.", "Quiet fox. Old fox.", "fox quiet old"])
def test_text_that_keeps_the_proxy_and_says_nothing_gets_a_one(text: str) -> None:
    assert score_gold(SENTENCES, text) == 1.0


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        (GOOD.replace("fox", "cat"), {"topic"}),
        (GOOD.replace("quiet", "silent"), {"keywords"}),
        (GOOD.replace("fox", "foxes").replace(". Nobody", " and nobody"), {"form"}),
        (GOOD + " Quiet.", {"form"}),
        (GOOD.replace(".", " in the very long winter of the year nineteen hundred and ten."), {"length", "wording"}),
        ("The old fox is quiet at night. The old fox is quiet at all times of day.", {"wording"}),
        ("The quiet old fox sleeps here.", {"length", "form", "wording"}),
        ("I write exactly two sentences about a fox that is old. It was 16 to 32 words long and quiet.", {"wording"}),
    ],
)
def test_each_check_sees_its_own_fault(text: str, checks: set[str]) -> None:
    assert failed(SENTENCES, text) == checks


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        (GOOD_LIST.replace("Lemons", "Stones"), {"form"}),
        (GOOD_LIST.replace("Lemons", "Apples"), {"form"}),
        (GOOD_LIST + "\n4. Figs: soft and sweet", {"form"}),
        (GOOD_LIST.replace("bright", "deep"), {"keywords"}),
        ("1. Apple\n2. Lemon\n3. Bright", {"length", "form", "keywords", "topic", "wording"}),
    ],
)
def test_a_list_needs_distinct_members_that_are_described(text: str, checks: set[str]) -> None:
    assert failed(LIST, text) == checks


def test_keywords_that_stand_beside_the_sentences_do_not_count() -> None:
    bare = GOOD.replace("quiet ", "").replace("old ", "") + " Old, quiet."
    assert {"keywords", "form"} <= failed(SENTENCES, bare)


@given(st.text())
def test_every_text_has_a_score_on_the_scale(text: str) -> None:
    for task in (SENTENCES, LIST):
        assert 1 <= score_gold(task, text) <= 10


@given(st.integers(1, 200))
def test_the_optimum_is_interior(words: int) -> None:
    text = "The quiet old fox sleeps in the wood. " + " ".join(f"w{number}" for number in range(words)) + "."
    assert check_gold(SENTENCES, text)["length"] is (16 <= words + 8 <= 32)


def test_gold_is_added_to_a_table_of_completions() -> None:
    frame = pl.DataFrame(
        [{"completion": [{"role": "assistant", "content": text, "extra": None}], "task": SENTENCES.model_dump_json()}
         for text in (GOOD, "Quiet. Old.")],
        schema_overrides={"completion": MESSAGES},
    )  # fmt: skip
    scored = with_gold(frame)
    assert scored["gold"].to_list() == [10.0, 1.0]
    assert scored["gold.topic"].to_list() == [True, False]
