"""From prompts to the rows that are asked for."""

from __future__ import annotations

from tests.runs.generate.test_generate import ECHO, Echo, prompts, settings

from prefboost.chat import SayGoal
from prefboost.runs.generate.requests import list_requests, prepare_prompts, split_renderable


def test_rows_are_prompts_by_goals_by_samples() -> None:
    frame, _ = prepare_prompts(prompts("tea", "rain"), settings(), ECHO)
    rows = list_requests(frame, settings(), ECHO)
    assert [(row.prompt, row.goal, row.request.sample) for row in rows] == [
        (at, goal, sample) for at in (0, 1) for goal in (1, 10) for sample in (0, 1)
    ]
    assert len(list_requests(frame, settings(), ECHO, samples=1)) == 4
    assert [row.goal for row in list_requests(frame, settings(goals=()), ECHO, samples=1)] == [None, None]


def test_a_vector_is_asked_for_by_its_aspects_alone_unless_it_names_the_overall_score() -> None:
    vectors = ({"style": 5.0, "depth": 1.0}, {"goal": 9.0, "style": 2.0})
    how = settings(goals=(), vectors=vectors, n=1)
    rows = list_requests(prepare_prompts(prompts("tea"), how, ECHO)[0], how, ECHO)
    assert [row.request.template_options for row in rows] == [
        {"goal": False, "aspects": {"style": 5.0, "depth": 1.0}}, {"goal": 9.0, "aspects": {"style": 2.0}}
    ]  # fmt: skip
    plain = list_requests(prepare_prompts(prompts("tea"), how, ECHO)[0], how, Echo(says_goals=False))  # type: ignore[arg-type]
    texts = [row.request.prompt[0]["content"] for row in plain]
    assert "Depth score: 1.\nStyle score: 5." in texts[0] and "Overall" not in texts[0]
    assert "Overall score: 9.\nStyle score: 2." in texts[1]


def test_what_cannot_be_asked_is_a_reject_and_long_prompts_are_set_aside_for_the_longest_goal() -> None:
    asked = prompts("tea", "tea", "long " * 11)
    assert split_renderable(asked, settings(), ECHO)[1]["row"].to_list() == [1]
    frame, rejects = prepare_prompts(asked, settings(), ECHO)
    assert (frame["row"].to_list(), rejects["row"].to_list()) == ([0], [1, 2])


def test_goals_stand_in_the_request_or_in_its_prompt() -> None:
    frame, _ = prepare_prompts(prompts("tea"), settings(), ECHO)
    assert list_requests(frame, settings(), ECHO)[0].request.goal == 1
    say = SayGoal(wording="Score {{ goal }}.")
    first = list_requests(frame, settings(condition=say), Echo(says_goals=False))[0]  # type: ignore[arg-type]
    assert (first.goal, first.request.goal, first.request.prompt[0]["content"]) == (1, None, "Score 1.")
