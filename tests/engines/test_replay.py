"""Recorded completions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.engines.engine import Failure, Request, Result, Sampling
from prefboost.engines.replay import Replay
from prefboost.errors import ModelError, UnreadableFile

USER = [{"role": "user", "content": "Hi there", "extra": None}]


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    lines = [
        {"prompt": [{"role": "user", "content": "Hi there"}], "completion": "one", "goal": 7, "tokens": 5},
        {"prompt": "Hi there", "completion": [{"role": "assistant", "content": "two"}], "goal": 7.0},
        {"prompt": "Hi there", "completion": "three, cut", "finish_reason": "length"},
    ]
    path = tmp_path / "recorded.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_the_nth_record_of_a_prompt_and_goal_is_its_nth_sample(recorded: str) -> None:
    engine = Replay(path=recorded).open()
    requests = [Request(USER, 1, goal=7.0), Request(USER), Request(USER, 0, goal=7.0)]
    assert dict(engine.generate(requests, Sampling())) == {
        0: Result("two", "stop", 2, 1),
        1: Result("three, cut", "length", 2, 2),
        2: Result("one", "stop", 2, 5),
    }
    assert engine.plan(requests, Sampling()) == [[0, 1, 2]]
    assert engine.plan([], Sampling()) == []
    assert engine.prompt_tokens(requests) == [2, 2, 2]


def test_goals_of_aspects_tell_records_apart(tmp_path: Path) -> None:
    lines = [
        {"prompt": "Hi there", "completion": "plain"},
        {"prompt": "Hi there", "completion": "styled", "goal.style": 5},
    ]
    (tmp_path / "recorded.jsonl").write_text("\n".join(map(json.dumps, lines)))
    engine = Replay(path=str(tmp_path / "recorded.jsonl")).open()
    asked = [Request(USER, goal=False, aspects={"style": 5.0}), Request(USER), Request(USER, aspects={"style": 2.0})]
    rows = dict(engine.generate(asked, Sampling()))
    assert [row.text if isinstance(row, Result) else "none" for row in rows.values()] == ["styled", "plain", "none"]
    assert isinstance(rows[2], Failure) and "no goal, style 2" in rows[2].reason


def test_a_row_that_was_not_recorded_fails_with_the_count_and_stops_no_other(recorded: str) -> None:
    engine = Replay(path=recorded).open()
    asked = [Request(USER, 2, goal=7.0), Request(USER, 0, goal=7.0), Request([{**USER[0], "content": "new"}])]
    rows = dict(engine.generate(asked, Sampling()))
    assert rows[1] == Result("one", "stop", 2, 5)
    reasons = [row.reason for row in (rows[0], rows[2]) if isinstance(row, Failure)]
    assert reasons[0].endswith("has 2 completions of this prompt with goal 7, number 3 is asked for")
    assert reasons[1].endswith("has 0 completions of this prompt with no goal, number 1 is asked for")
    with pytest.raises(ModelError, match="no log-probs"):
        engine.logprob_of([], [])


def test_identity_is_that_of_the_file(recorded: str) -> None:
    before = Replay(path=recorded).open().identity
    with Path(recorded).open("a") as stream:
        stream.write("\n\n")
    assert Replay(path=recorded).open().identity != before


@pytest.mark.parametrize("line", ["[1]", "{", '{"prompt": "a"}', '{"prompt": 3, "completion": "b"}', '"a"'])
def test_a_line_that_is_no_record_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "recorded.jsonl"
    path.write_text(f'{{"prompt": "a", "completion": "b"}}\n{line}\n')
    with pytest.raises(UnreadableFile, match=r"recorded.jsonl:2: this is no record"):
        Replay(path=str(path)).open()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="cannot be read"):
        Replay(path=str(tmp_path / "none.jsonl")).open()
