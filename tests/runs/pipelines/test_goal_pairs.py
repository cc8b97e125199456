"""Goal pairs in a run folder."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from tests.runs.pipelines.test_offline import recipe

from prefboost.errors import DataError
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.runs.pipelines import goal_pairs
from prefboost.runs.pipelines.goal_pairs import read_stated_goals, split_rows, write_goal_pairs
from prefboost.runs.pipelines.offline import prepare


def test_data_without_a_usable_pair_are_refused_with_the_reasons(tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text("".join(json.dumps({"prompt": "q", "completion": c, "score": 5}) + "\n" for c in "ab"))
    table = prepare(recipe("none", data=path))
    with pytest.raises(DataError, match="no goal pair is left"):
        write_goal_pairs(table, tmp_path)


def test_how_goals_stand_in_the_prompts_is_noted_and_read_as_it_was_conditioned(tmp_path: Path) -> None:
    table = prepare(recipe("none", "condition.place=after"))
    notes = json.loads(json.dumps(write_goal_pairs(table, tmp_path)))
    goals = read_stated_goals(recipe("none"), notes)
    assert goals == StatedGoals.of_table(table)
    assert (goals.say.place, goals.scales[""].top, goals.because) == ("after", 10.0, "as set")


def test_pairs_that_an_earlier_version_wrote_get_the_place_that_the_template_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(messages: list[dict[str, str]]) -> str:
        return "".join(f"<{each['role']}>{each['content']}" for each in messages if each["role"] != "system")

    monkeypatch.setattr(goal_pairs, "load_renderer", lambda _: render)
    notes = write_goal_pairs(prepare(recipe("none"), render), tmp_path)
    earlier = {name: notes[name] for name in ("goal_pairs", "steps", "rejected", "scales")}
    goals = read_stated_goals(recipe("none"), earlier)
    assert goals == StatedGoals.from_record(notes) and goals.say.place == "user"


def test_rows_of_evaluation_splits_are_kept_apart() -> None:
    rows = pa.table({"n": [1, 2, 3], "split": ["train", "test", None]})
    kept, held_out = split_rows(rows)
    assert (kept["n"].to_pylist(), held_out["n"].to_pylist()) == ([1, 3], [2])
    assert split_rows(rows.select(["n"]))[1] is None
