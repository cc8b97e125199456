from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_table, prompt_scores, said, scored_table

from prefboost.errors import DataError, SettingsError
from prefboost.preferences import condition, relabel
from prefboost.preferences.likeness import hash_ngrams
from prefboost.preferences.select import Select, decontaminate, prompt_text, select, split
from prefboost.tables import Table


def with_prompts(texts: list[str]) -> Table:
    table = scored_table([(f"q{number}", [1.0]) for number in range(len(texts))])
    prompts = pl.Series("prompt", [[said("user", text)] for text in texts], dtype=table.frame.schema["prompt"])
    return replace(table, frame=table.frame.with_columns(prompts))


@given(prompt_scores, st.floats(0, 1), st.integers(0, 9))
def test_a_split_is_a_partition_that_no_prompt_straddles(
    prompts: list[tuple[str, list[float | None]]], fraction: float, seed: int
) -> None:
    table = scored_table(prompts)
    kept, aside = split(table, fraction, seed=seed)
    assert len(kept) + len(aside) == len(table)
    texts = [set(part.frame.select(text=prompt_text())["text"]) for part in (kept, aside)]
    assert not texts[0] & texts[1]


def test_prompts_that_differ_in_case_and_spaces_alone_stay_together() -> None:
    table = with_prompts(["What is  tea?", "what is tea", "WHAT IS TEA!"] * 10)
    kept, aside = split(table, 0.5)
    assert 0 in (len(kept), len(aside))


def test_the_share_set_aside_is_the_fraction_asked_for() -> None:
    _, aside = split(with_prompts([f"question {number}" for number in range(4000)]), 0.1)
    assert 330 < len(aside) < 470


def test_duplicates_are_left_out_and_counted() -> None:
    table = scored_table([("a", [1.0, 2.0])])
    doubled = replace(table, frame=pl.concat([table.frame, table.frame]))
    made = select(doubled)
    assert made.frame.equals(table.frame)
    assert made.steps[-1].rejected == {"the same prompt and completions were seen before": 2}


LIMITS = {
    "max_prompt_chars": ("the prompt is too long", "prompt", len, int.__gt__),
    "max_prompt_words": ("the prompt has too many words", "prompt", lambda text: len(text.split()), int.__gt__),
    "max_prompt_tokens": ("the prompt has too many tokens", "prompt", lambda text: len(text) // 2, int.__gt__),
    "min_completion_chars": ("a completion is too short", "completion", len, int.__lt__),
    "max_completion_chars": ("a completion is too long", "completion", len, int.__gt__),
    "min_completion_words": (
        "a completion has too few words",
        "completion",
        lambda text: len(text.split()),
        int.__lt__,
    ),
    "max_completion_words": (
        "a completion has too many words",
        "completion",
        lambda text: len(text.split()),
        int.__gt__,
    ),
    "max_completion_tokens": (
        "a completion has too many tokens",
        "completion",
        lambda text: len(text) // 2,
        int.__gt__,
    ),
}


def half_of_the_characters(texts: Sequence[str]) -> list[int]:
    return [len(text) // 2 for text in texts]


@pytest.mark.parametrize("limit", LIMITS)
@given(texts=st.lists(st.text(alphabet="ab c\n", max_size=9), min_size=1, max_size=5), at=st.integers(1, 6))
def test_every_length_limit_leaves_out_what_a_plain_loop_would(limit: str, texts: list[str], at: int) -> None:
    reason, part, length, beyond = LIMITS[limit]
    table = with_prompts(texts)
    if part == "completion":
        said_so = pl.Series("completion", [[said("assistant", text)] for text in texts], table.frame.schema["prompt"])
        table = replace(table, frame=table.frame.with_columns(said_so))
    how = Select.model_validate({limit: at, "dedupe": "none"})
    made = select(table, how, count_tokens=half_of_the_characters)
    out = [row for row, text in enumerate(texts) if beyond(length(text), at)]
    assert made.rejects["row"].to_list() == out
    assert made.steps[-1].rejected == ({reason: len(out)} if out else {})


def test_both_sides_of_a_pair_must_keep_the_limit() -> None:
    table = pair_table([(9, 1)])
    for limit in ({"max_completion_chars": 5}, {"min_completion_chars": 6}, {"max_completion_words": 1}):
        assert len(select(table, Select.model_validate(limit))) == 0
    assert len(select(table, Select(min_completion_chars=5, max_completion_chars=6, max_completion_words=2))) == 1


def test_a_limit_in_tokens_needs_something_that_counts_them() -> None:
    with pytest.raises(SettingsError, match="tokenizer"):
        select(pair_table([(9, 1)]), Select(max_prompt_tokens=5))


def test_rows_mostly_in_another_script_are_left_out() -> None:
    table = with_prompts(
        ["short", "это вопрос о погоде и больше ни о чём на свете", "两只老虎跑得快真奇怪两只老虎", "42?"]
    )
    assert select(table, Select(scripts=("latin",))).frame["prompt_id"].to_list() == ["q0", "q3"]
    assert select(table, Select(scripts=("latin", "cyrillic"))).frame["prompt_id"].to_list() == ["q0", "q1", "q3"]


def test_a_benchmark_prompt_is_found_whatever_its_case_and_punctuation() -> None:
    words = [f"word{number}" for number in range(30)]
    table = with_prompts([" ".join(words[3:20]).upper() + "!", "something else", "tiny"])
    made = decontaminate(table, [" ".join(words), "tiny?"])
    assert made.frame["prompt_id"].to_list() == ["q1"]
    assert made.rejects.height == 2


@given(st.lists(st.text(alphabet="ab ", max_size=12), min_size=1, max_size=6), st.integers(1, 4))
def test_ngrams_are_those_of_a_plain_loop(texts: list[str], n: int) -> None:
    found = hash_ngrams(pl.Series(texts), n)
    expected = 0
    for text in texts:
        words = text.split()
        grams = {tuple(words)} if 0 < len(words) < n else {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
        expected += len(grams)
    assert found.height == expected


@pytest.mark.parametrize("verb", [select, lambda table: split(table, 0.5), lambda table: decontaminate(table, ["x"])])
def test_goal_pairs_are_refused_since_their_views_belong_together(verb: Callable[[Table], object]) -> None:
    for table in (relabel(pair_table([(9, 1)])), condition(relabel(pair_table([(9, 1)])))):
        with pytest.raises(DataError, match="before relabel"):
            verb(table)


def test_one_question_under_several_system_messages_stays_on_one_side() -> None:
    table = with_prompts([f"question {number // 2}" for number in range(400)])
    prompts = [
        [said("system", f"rule {row}"), *messages.to_list()] for row, messages in enumerate(table.frame["prompt"])
    ]
    varied = replace(table, frame=table.frame.with_columns(pl.Series("prompt", prompts, table.frame.schema["prompt"])))
    sides = [{prompt[-1]["content"] for prompt in part.frame["prompt"]} for part in split(varied, 0.5)]
    assert not sides[0] & sides[1]
    assert min(map(len, sides)) > 60


def test_prompts_without_words_are_told_apart() -> None:
    kept, aside = split(with_prompts(["?" * number for number in range(1, 200)]), 0.5)
    assert min(len(kept), len(aside)) > 60


def test_a_number_of_prompts_can_be_set_aside_whatever_the_order_of_rows() -> None:
    table = with_prompts([f"question {number}" for number in range(50)])
    kept, aside = split(table, count=7)
    assert (len(kept), len(aside)) == (43, 7)
    turned = replace(table, frame=table.frame.reverse())
    assert set(split(turned, count=7)[1].frame["prompt_id"]) == set(aside.frame["prompt_id"])
    for wrong in ({"count": 50}, {"count": 0}, {}, {"fraction": 0.1, "count": 1}):
        with pytest.raises(DataError):
            split(table, **wrong)  # type: ignore[arg-type]


def test_a_prompt_under_a_second_id_is_left_out_with_all_its_completions() -> None:
    table = scored_table([("a", [1.0, 2.0]), ("b", [3.0, 4.0])])
    same = pl.Series("prompt", [[said("user", "tea?")]] * 4, dtype=table.frame.schema["prompt"])
    made = select(replace(table, frame=table.frame.with_columns(same)), Select(dedupe="prompt"))
    assert made.frame["completion_id"].to_list() == ["a/0", "a/1"]
    assert made.steps[-1].rejected == {"the same prompt was seen before under another id": 2}


def test_languages_are_kept_and_short_rows_stay() -> None:
    pytest.importorskip("py3langid", reason="the extra synthesis is not installed")
    table = with_prompts(
        ["Please tell me what I should cook for my dinner", "Bitte sage mir doch, was ich heute Abend kochen soll"]
    )
    answers = pl.Series("completion", [[said("assistant", "Yes")]] * 2, dtype=table.frame.schema["completion"])
    table = replace(table, frame=table.frame.with_columns(answers))
    made = select(table, Select(languages=("de",)))
    assert made.rejects["reason"].to_list() == ["the language is not de"]
    assert made.frame["prompt_id"].to_list() == ["q1"]
    short = with_prompts(["Oui", "Ja"])
    assert len(select(replace(short, frame=short.frame.with_columns(answers)), Select(languages=("de",)))) == 2
    with pytest.raises(SettingsError, match="not a language"):
        select(table, Select(languages=("german",)))
