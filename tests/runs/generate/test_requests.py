"""From prompts to the rows that are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from tests.runs.generate.test_generate import ECHO, Echo, prompts, settings

from prefboost.chat import SayGoal
from prefboost.engines.engine import Request
from prefboost.errors import ModelError
from prefboost.runs.generate.requests import cut_prompts, list_requests, list_wanted, prepare_prompts, split_renderable
from prefboost.tables import PROMPTS, FrameFile, RowPieces, StoredRejects, StoredTable


def test_rows_are_prompts_by_goals_by_samples() -> None:
    frame = prepare_prompts(prompts("tea", "rain"), settings(), ECHO)[0].frame
    requests = list_requests(frame, settings(), ECHO)
    assert [(each.prompt[0]["content"], each.goal, each.sample) for each in requests] == [
        (text, goal, sample) for text in ("tea", "rain") for goal in (1, 10) for sample in (0, 1)
    ]
    assert len(list_requests(frame, settings(), ECHO, samples=1)) == 4
    assert [each.goal for each in list_requests(frame, settings(goals=()), ECHO, samples=1)] == [None, None]
    assert [each.name for each in list_wanted(settings(goals=(), vectors=({"style": 5.0, "goal": 1.0},)))] == [
        "goal 1/style 5/0", "goal 1/style 5/1",
    ]  # fmt: skip


def test_prompts_are_cut_into_pieces_that_hold_all_goals_of_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefboost.runs.generate.requests._PIECE_REQUESTS", 9)
    pieces = list(cut_prompts(prompts(*"abcde"), settings()))
    assert [piece["row"].to_list() for piece in pieces] == [[0, 1], [2, 3], [4]]
    assert [piece.height for piece in cut_prompts(prompts("a", "b"), settings(n=9))] == [1, 1]
    assert [piece.height for piece in cut_prompts(prompts(), settings())] == [0]


def test_a_vector_is_asked_for_by_its_aspects_alone_unless_it_names_the_overall_score() -> None:
    vectors = ({"style": 5.0, "depth": 1.0}, {"goal": 9.0, "style": 2.0})
    how = settings(goals=(), vectors=vectors, n=1)
    frame = prepare_prompts(prompts("tea"), how, ECHO)[0].frame
    assert [each.template_options for each in list_requests(frame, how, ECHO)] == [
        {"goal": False, "aspects": {"style": 5.0, "depth": 1.0}}, {"goal": 9.0, "aspects": {"style": 2.0}}
    ]  # fmt: skip
    plain = list_requests(frame, how, Echo(says_goals=False))  # type: ignore[arg-type]
    texts = [each.prompt[0]["content"] for each in plain]
    assert "Depth score: 1.\nStyle score: 5." in texts[0] and "Overall" not in texts[0]
    assert "Overall score: 9.\nStyle score: 2." in texts[1]


def test_what_cannot_be_asked_is_a_reject_and_long_prompts_are_set_aside_for_the_longest_goal() -> None:
    asked = prompts("tea", "tea", "long " * 11)
    assert split_renderable(asked, settings(), ECHO)[1]["row"].to_list() == [1]
    prepared, rejects = prepare_prompts(asked, settings(), ECHO)
    assert (prepared.frame["row"].to_list(), rejects["row"].to_list()) == ([0], [1, 2])


def test_goals_stand_in_the_request_or_in_its_prompt() -> None:
    frame = prepare_prompts(prompts("tea"), settings(), ECHO)[0].frame
    assert list_requests(frame, settings(), ECHO)[0].goal == 1
    say = SayGoal(wording="Score {{ goal }}.")
    first = list_requests(frame, settings(condition=say), Echo(says_goals=False))[0]  # type: ignore[arg-type]
    assert (first.goal, first.prompt[0]["content"]) == (None, "Score 1.")


def test_prompts_on_disk_are_split_as_those_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["tea", "rain", "tea", "long " * 11, "wind", "tool", "rain", "sun", "tea"]
    whole = prompts(*texts)
    whole = replace(
        whole,
        frame=whole.frame.with_columns(
            prompt_id=pl.when(pl.col("row") == 7).then(pl.lit("p-tea")).otherwise("prompt_id")
        ),
    )
    pieces = FrameFile()
    for start in range(0, len(texts), 2):
        pieces.add(whole.frame[start : start + 2])
    stored = StoredTable(PROMPTS, RowPieces.of_file(pieces), path=whole.path)
    engine: Any = RefusesTools()
    expected, expected_rejects = prepare_prompts(whole, settings(n=1), engine)
    monkeypatch.setattr("prefboost.runs.generate.requests._PIECE_REQUESTS", 3)
    prepared, rejects = prepare_prompts(stored, settings(n=1), engine)
    assert isinstance(prepared, StoredTable) and prepared.frame.equals(expected.frame)
    assert isinstance(rejects, StoredRejects) and rejects.read().equals(expected_rejects)
    assert expected.frame["row"].to_list() == [0, 1, 4]
    assert rejects.read().select("row", "reason").rows() == [
        (7, "another prompt with the same id stands further up"),
        (2, "the prompt stands further up too"),
        (6, "the prompt stands further up too"),
        (8, "the prompt stands further up too"),
        (5, "the chat template refuses the prompt"),
        (3, "the prompt and max_tokens exceed the model's context"),
    ]


class RefusesTools(Echo):
    """A chat template that refuses one word."""

    def render(self, request: Request) -> str:
        if request.prompt[-1]["content"] == "tool":
            raise ModelError("no tools here", remedy="ask without tools")
        return super().render(request)
