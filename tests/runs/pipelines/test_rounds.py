"""Holding prompts out, completing the others, measuring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tables_of import said, scored_table

from prefboost.engines.replay import Replay
from prefboost.errors import DataError
from prefboost.preferences import FittedScale
from prefboost.recipes.on_policy import OnPolicy
from prefboost.runs.generate.generate import Generate
from prefboost.runs.pipelines import rounds
from prefboost.runs.pipelines.rounds import IDENTICAL, RoundPolicy
from prefboost.statistics import Bootstrap
from prefboost.tables import PROMPTS, Table, conform


def recipe(prompts: str | Path = "p.txt", **changed: Any) -> OnPolicy:
    values = {"name": "x", "prompts": str(prompts), "scorer": "rules", "train": {"model": "m"}, **changed}
    return OnPolicy.model_validate(values)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"Question {number}?\n" for number in range(40)))
    return path


def test_prompts_are_held_out_by_share_or_by_their_split(lines: Path, tmp_path: Path) -> None:
    table = rounds.read_round_prompts(recipe(lines, evaluate={"share": 0.25}))
    held = rounds.select_held_out(table).frame
    assert 2 <= held.height <= 20 and len(table) == 40
    rows = [{"prompt": f"q{n}", "split": "test" if n < 3 else "train"} for n in range(10)]
    (tmp_path / "marked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert rounds.select_held_out(rounds.read_round_prompts(recipe(tmp_path / "marked.jsonl"))).frame.height == 3
    assert rounds.select_held_out(rounds.read_round_prompts(recipe(lines, evaluate=None))).frame.is_empty()


def test_too_few_prompts_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Only one?\n")
    with pytest.raises(DataError, match=r"of 1 prompts none remains to (train|measure) on"):
        rounds.read_round_prompts(recipe(tmp_path / "one.txt"))


def test_parts_are_disjoint_and_cover_all_prompts(lines: Path) -> None:
    wanted = recipe(lines, evaluate=None, rounds=3, prompts_a_round="parts")
    table = rounds.read_round_prompts(wanted)
    parts = [set(rounds.select_round_prompts(table, wanted, number).frame["prompt_id"]) for number in (1, 2, 3)]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert len(rounds.select_round_prompts(table, recipe(lines, evaluate=None), 2)) == 40


def test_the_highest_score_is_that_of_the_scale() -> None:
    def top(fitted: FittedScale | None = None, **changed: Any) -> float | None:
        wording = rounds.choose_wording(recipe(**changed), None if fitted is None else {"": fitted})
        assert wording is not None
        return wording.goal

    assert top() == 10.0
    assert top(scale={"kind": "percentile", "high": 5}) == 5.0
    assert top(scale={"kind": "declared", "low": 0, "high": 4}) == 4.0
    assert top(FittedScale(kind="x", knots=(0, 1), values=(2, 8))) == 8.0
    assert top(evaluate={"goal": 7}) == 7.0
    assert rounds.choose_wording(recipe(relabel="plain"), None) is None


def test_before_any_score_was_seen_the_highest_one_is_the_scorers(tmp_path: Path) -> None:
    rater = {"kind": "rater", "rubric": "additive", "engine": {"kind": "replay", "path": "none.jsonl"}}
    (tmp_path / "prefboost.json").write_text(json.dumps({"score_range": {"overall": [-2, 3.5]}}))
    ours = {"kind": "reward_model", "model": str(tmp_path)}
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "prefboost.json").write_text(json.dumps({"score_range": {"a": [0, 1], "b": [0, 2]}}))
    two = {"kind": "reward_model", "model": str(tmp_path / "two")}
    for scorer, scale, ends in (
        (rater, {"kind": "declared"}, (0, 5)),
        (rater, None, (0, 5)),
        (rater, {"kind": "min_max"}, (1, 10)),
        (ours, {"kind": "declared"}, (-2, 3.5)),
        (two, {"kind": "declared"}, (1, 10)),
        ("rules", {"kind": "declared"}, (1, 10)),
    ):
        wording = rounds.choose_wording(recipe(scorer=scorer, scale=scale), None)
        assert wording is not None
        assert (wording.say.low, wording.goal) == ends


def test_several_aspects_are_asked_for_in_one_text() -> None:
    wording = rounds.choose_wording(recipe(relabel={"kind": "reward_augmented", "aspects": ["style", "depth"]}), None)
    assert wording is not None
    assert wording.goal is None and "Depth score: 10.\nStyle score: 10." in wording.text


def test_an_engine_gets_the_model_of_the_round_and_a_recording_stays(tmp_path: Path) -> None:
    wanted = recipe(generate={"engine": {"kind": "local", "batch_rows": 3}})
    engine: Any = RoundPolicy("somewhere", "abc").engine(wanted.generate.engine)
    assert (engine.model, engine.revision, engine.batch_rows) == ("somewhere", "abc", 3)
    replay = Replay(path="x.jsonl")
    assert RoundPolicy("somewhere").engine(replay) == replay


def prompts(count: int) -> Table:
    rows = [{"row": n, "prompt_id": f"p{n}", "prompt": [said("user", f"Question {n}?")]} for n in range(count)]
    frame = pl.DataFrame(rows, schema={column.name: column.dtype for column in PROMPTS.columns if column.required})
    return Table(PROMPTS, conform(frame, PROMPTS))


def recording(path: Path, completions: dict[str, list[str]]) -> Replay:
    rows = [{"prompt": question, "completion": text} for question, texts in completions.items() for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Replay(path=str(path))


def test_prompts_whose_completions_are_all_the_same_are_dropped_and_counted(tmp_path: Path) -> None:
    replay = recording(tmp_path / "r.jsonl", {"Question 0?": ["a", "a", "a"], "Question 1?": ["a", "b", "a"]})
    wanted = recipe(generate={"engine": replay, "n": 3})
    table = rounds.complete_round(wanted, prompts(2), RoundPolicy("m"), None, tmp_path / "c.parquet")
    assert table.frame["prompt_id"].unique().to_list() == ["p1"]
    assert table.rejects["reason"].to_list() == [IDENTICAL] * 3
    assert table.steps[-1].notes == {"prompts dropped": 1}


def test_the_goal_is_said_to_the_engine_and_not_in_the_table(tmp_path: Path) -> None:
    wording = rounds.choose_wording(recipe(condition={"place": "user", "wording": "Reach {{ goal }}."}), None)
    replay = recording(tmp_path / "r.jsonl", {"Reach 10.\n\nQuestion 0?": ["top"]})
    made = rounds.complete_prompts(prompts(1), Generate(engine=replay, silent=True), wording, tmp_path / "o.parquet")
    row = made.frame.row(0, named=True)
    assert row["completion"][0]["content"] == "top" and row["goal"] == 10.0
    assert [message["content"] for message in row["prompt"]] == ["Question 0?"]


def test_the_mean_is_clustered_by_prompt_and_the_gain_is_paired() -> None:
    start, after = (scored_table([(f"p{n}", [base + n, base + n]) for n in range(6)]) for base in (2.0, 3.0))
    found = rounds.measure_policy(after, None, Bootstrap(resamples=200), start.frame)
    assert found["score"]["estimate"] == 5.5 and found["score"]["clusters"] == 6 and found["score"]["rows"] == 12
    assert (found["gain"]["estimate"], found["gain"]["low"], found["gain"]["high"]) == (1.0, 1.0, 1.0)
    assert rounds.measure_policy(after, None, Bootstrap(resamples=200))["gain"] is None


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(DataError, match="no completion of a held-out prompt has a score"):
        rounds.measure_policy(scored_table([("p", [None, None])]), None, Bootstrap())
