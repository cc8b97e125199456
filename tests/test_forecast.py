"""One record of what a verb will ask and compute: its sums, its lines and its JSON form."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from prefboost.forecast import CallForecast, Forecast, RunForecast, describe_scoring

CALLS = CallForecast(calls=1_200, prompt_tokens=12_345, most_tokens=678)


def test_the_headline_of_one_model_names_its_calls_and_the_lines_the_rest() -> None:
    forecast = Forecast("1,200 completions of 40 prompts", {"prompts": 40, "rows": 1_200}, CALLS, rejected={"cut": 3})
    lines = ["1,200 completions of 40 prompts", "12,345 tokens to read, at most 678 to write", "3 rejected: cut"]
    assert list(forecast.lines()) == lines
    nothing = Forecast("12 rows, computed on this machine: nothing is total")
    assert list(nothing.lines()) == [nothing.headline]


def test_tokens_are_a_guess_only_where_no_tokenizer_counts_them() -> None:
    about = list(Forecast(total=replace(CALLS, most_dollars=1.5, estimated=True)).lines())
    assert about == ["about 12,345 tokens to read, at most 678 to write", "at most $1.50"]


def test_the_store_and_earlier_failures_are_told_where_there_are_any() -> None:
    lines = list(Forecast(total=replace(CALLS, stored=1_200, refused=2, again=3)).lines())
    assert lines[0] == "1,200 more are in the store already"
    assert "2 of them" in lines[1] and "--retry refused" in lines[1]
    assert lines[2].startswith("3 of the calls") and "--retry none" in lines[2]


def test_every_model_has_a_line_and_all_have_a_sum_with_the_prices_that_are_known() -> None:
    model = CallForecast("b, m", 3, prompt_tokens=10, likely_tokens=5, most_tokens=9, likely_dollars=1, most_dollars=2)
    judge = CallForecast("b, judge", 6, 4, prompt_tokens=20, most_tokens=6, estimated=True, note="a guess")
    none = CallForecast("b, no judge", note="nothing is counted")
    parts = [model, judge, none]
    total = sum(parts, CallForecast())
    assert (total.calls, total.stored, total.likely_tokens, total.likely_dollars, total.most_dollars) == (9, 4, 5, 1, 2)
    assert total.estimated and total.note == total.name == ""
    assert sum([judge, none], CallForecast()).most_dollars is None, "no price is known"
    assert list(Forecast(total=total, parts=parts).lines()) == [
        "b, m: 3 calls, 10 tokens to read, about 5, at most 9 to write, about $1.00, at most $2.00",
        "b, judge: 6 calls, 4 more are in the store already, about 20 tokens to read, at most 6 to write (a guess)",
        "b, no judge: nothing is counted",
        "in all 9 calls, 4 more are in the store already, about 30 tokens to read, about 5, at most 15 to write, "
        "about $1.00, at most $2.00",
    ]


def test_a_training_is_told_by_tokens_time_and_memory() -> None:
    tokens = {"real": 1_200, "packed": 1_000, "padded": 1_500}
    forecast = Forecast(
        device="cpu", tokens=tokens, seconds={"training": 60.0, "reference": 30.0}, memory={"weights": 2**30},
        losses=["2 of 4 rows: the prompt is cut"], guesses=["tokens: counted on 1 of 3 steps"],
    )  # fmt: skip
    assert list(forecast.lines()) == [
        "tokens: 1,000 computed, 1,200 real, 1,500 if they were padded",
        "time:   about 90 s on cpu (training 60 s, reference 30 s)",
        "memory: about 1.00 GiB (weights 1.00)",
        "guess:  tokens: counted on 1 of 3 steps",
        "text lost: 2 of 4 rows: the prompt is cut",
    ]


def test_the_json_form_has_the_same_keys_for_every_verb_and_the_counts_beside_them() -> None:
    asking = Forecast("x", {"prompts": 4}, CALLS, parts=[CALLS]).record()
    training = Forecast("y", {"steps": 3}, tokens={"real": 5}).record()
    assert asking.keys() - {"prompts"} == training.keys() - {"steps"}
    assert asking["prompts"] == 4 and asking["calls"] == 1_200 and asking["parts"][0]["most_tokens"] == 678
    assert training["steps"] == 3 and training["tokens"] == {"real": 5}
    assert json.loads(json.dumps(asking)).keys() == asking.keys() and not {"name", "note"} & asking.keys()


def test_texts_that_are_only_read_write_nothing() -> None:
    counts = {"rows": 4, "questions": 0, "texts": 8}
    read = Forecast(describe_scoring(counts), counts, CallForecast(calls=8, prompt_tokens=100))
    assert list(read.lines()) == [
        "4 rows, 8 texts to read, computed on this machine: nothing is asked", "100 tokens to read",
    ]  # fmt: skip
    assert describe_scoring({"rows": 4, "questions": 8}) == "8 questions about 4 rows"


def test_a_sample_is_scaled_and_work_done_one_after_the_other_is_summed() -> None:
    calls = replace(CALLS, likely_dollars=1.5)
    work = Forecast("x", {"rows": 4}, calls, tokens={"packed": 10}, seconds={"training": 2.0}, memory={"weights": 8})
    scaled = work.scale(2.5)
    assert scaled.counts == {"rows": 10} and scaled.tokens == {"packed": 25} and scaled.seconds == {"training": 5.0}
    assert scaled.total.calls == 3_000 and scaled.total.likely_dollars == pytest.approx(3.75)
    assert scaled.memory == work.memory, "work that takes longer takes no more memory"
    other = Forecast("y", {"rows": 1, "steps": 2}, memory={"weights": 9}, guesses=["one"], at_most=True)
    both = work + other
    assert both.counts == {"rows": 5, "steps": 2} and both.total == work.total + other.total
    assert both.memory == {"weights": 9} and both.at_most and list(both.guesses) == ["one"]


def test_a_recipe_is_told_by_stage_by_round_and_in_all() -> None:
    completions = Forecast("6 completions of 3 prompts", {"rows": 6, "prompts": 3}, replace(CALLS, calls=6))
    training = Forecast(
        "at most 4 goal pairs, 2 steps", {"pairs": 4, "steps": 2}, tokens={"packed": 50}, at_most=True,
        guesses=["training: as said"],
    )  # fmt: skip
    asked, read = (
        "12,345 tokens to read, at most 678 to write",
        "at most 4 pairs, 2 steps, at most 50 tokens to train on",
    )
    run = RunForecast({
        "start/evaluate": {"completions": completions},
        "round 1/generate": {"completions": completions},
        "round 1/train": {"training": training},
    })  # fmt: skip
    assert list(run.lines()) == [
        f"start/evaluate: 6 completions of 3 prompts, {asked}",
        f"round 1/generate: 6 completions of 3 prompts, {asked}",
        "round 1/train: at most 4 goal pairs, 2 steps, at most 50 tokens to train on",
        f"round 1 in all: 6 completions, {asked}; {read}",
        f"in all: 12 completions, 24,690 tokens to read, at most 1,356 to write; {read}",
        "guess:  training: as said",
    ]
    record = json.loads(json.dumps(run.record()))
    assert list(record["rounds"]) == ["round 1"] and record["total"]["completions"]["rows"] == 12
    assert record["stages"]["round 1/train"]["training"]["at_most"]
    assert not list(RunForecast().lines())
