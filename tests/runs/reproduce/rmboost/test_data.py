"""Pairs of every arm: equal calls buy each its prompts, equal pairs trim the others, and nothing is asked twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.conftest import build_folder

from prefboost.errors import DataError
from prefboost.runs.reproduce.rmboost.comparison import read_labelled
from prefboost.runs.reproduce.rmboost.data import choose_prompts, forecast_arms, make_arm_pairs

from .conftest import build_comparison, write_pairs


def test_at_equal_calls_an_arm_that_needs_more_writes_to_fewer_prompts(tmp_path: Path) -> None:
    settings = build_comparison(Path("m"), write_pairs(tmp_path / "pairs.jsonl"))
    labelled = read_labelled(settings).select("train")
    prompts = len(choose_prompts(labelled))
    forecasts = forecast_arms(labelled, settings)
    calls = {arm: each.total.calls for arm, each in forecasts.items()}
    assert calls["rmboost"] == calls["rlcd"] == 2 * prompts  # two completions each
    assert calls["rlaif"] == 4 * (prompts // 2) <= calls["rmboost"]  # and two orders of a judgement
    assert forecasts["west_of_n"].counts["prompts"] == 2 * prompts // 3
    equal = forecast_arms(labelled, settings.model_copy(update={"equal": "pairs"}))
    assert {each.counts["prompts"] for each in equal.values()} == {prompts}
    with pytest.raises(DataError, match="3 calls pay no prompt of rlaif, which needs 4"):
        forecast_arms(labelled, settings.model_copy(update={"calls": 3}))


def test_fewer_prompts_are_part_of_more(tmp_path: Path) -> None:
    labelled = read_labelled(build_comparison(Path("m"), write_pairs(tmp_path / "pairs.jsonl"))).select("train")
    few, more = (choose_prompts(labelled, count).frame["prompt_id"].to_list() for count in (3, 9))
    assert more[:3] == few and len(set(more)) == 9


@pytest.mark.torch
def test_every_arm_has_pairs_of_prompts_that_no_label_judges(tmp_path: Path) -> None:
    model = build_folder(tmp_path / "tiny")
    settings = build_comparison(model, write_pairs(tmp_path / "pairs.jsonl"), equal="pairs")
    held_out = read_labelled(settings)
    arms = make_arm_pairs(held_out.select("train"), settings, tmp_path / "pairs", lambda _: None)
    assert set(arms) == set(settings.arms)
    assert len({len(each.table) for each in arms.values()}) == 1
    measured = {*held_out.select("validation").frame["prompt_id"], *held_out.select("test").frame["prompt_id"]}
    assert not any(measured & {*each.table.frame["prompt_id"]} for each in arms.values())
    # The edits that the judge labels are those that the other arm wrote: it is asked, the writer is not.
    writer = settings.generator
    written = len(writer.asked)
    # Two completions of five arms and three of West-of-N; the edits to be judged are taken from the first arm.
    assert written == 13 * len(choose_prompts(held_out.select("train")))
    again = make_arm_pairs(held_out.select("train"), settings, tmp_path / "pairs", lambda _: None)
    assert len(writer.asked) == written
    assert all(again[arm].table.frame.equals(each.table.frame) for arm, each in arms.items())
