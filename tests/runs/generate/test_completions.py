"""From what became of the rows to a table."""

from __future__ import annotations

import polars as pl
from tests.runs.generate.test_generate import ECHO, prompts, settings

from prefboost.engines.engine import Failure, Outcome, Result
from prefboost.runs.generate.completions import build_completions
from prefboost.runs.generate.requests import list_requests, prepare_prompts
from prefboost.tables import REJECTS


def test_completions_and_failures_together_are_the_rows_that_were_asked() -> None:
    asked = prompts("tea", "rain")
    frame, _ = prepare_prompts(asked, settings(), ECHO)
    rows = list_requests(frame, settings(), ECHO)
    failure = Failure("x" * 500, 6)
    outcomes: list[Outcome] = [Result(str(at), "length", 1, 2) if at % 3 else failure for at in range(len(rows))]
    none = pl.DataFrame(schema=REJECTS)
    table = build_completions(asked, frame, none, settings(), list(zip(rows, outcomes, strict=True)))
    assert [message[0]["content"] for message in table.frame["completion"]] == ["1", "2", "4", "5", "7"]
    assert table.frame["model"].unique().to_list() == ["unused"]
    assert sorted([*table.frame["completion_id"], *table.rejects["id"]]) == sorted(
        f"p-{text}/goal {goal}/{sample}" for text in ("tea", "rain") for goal in (1, 10) for sample in (0, 1)
    )
    assert table.rejects["found"].str.len_chars().to_list() == [200] * 3
    assert table.steps[-1].notes == {"prompts": 2, "cut at max_tokens": 5, "tokens": 10}
    assert table.steps[-1].rejected == {"the engine gave no completion": 3}


def test_goals_of_aspects_stand_in_columns_of_their_own_and_in_the_names() -> None:
    asked, how = prompts("tea"), settings(goals=(3,), vectors=({"style": 5.0}, {"goal": 9.0, "depth": 1.0}), n=1)
    frame, _ = prepare_prompts(asked, how, ECHO)
    rows = list_requests(frame, how, ECHO)
    outcomes: list[Outcome] = [Result("yes", "stop", 1, 2)] * 3
    none = pl.DataFrame(schema=REJECTS)
    table = build_completions(asked, frame, none, how, list(zip(rows, outcomes, strict=True)))
    goals = table.frame.select("completion_id", "goal", "goal.depth", "goal.style").rows()
    assert goals == [
        ("p-tea/goal 3/0", 3.0, None, None),
        ("p-tea/style 5/0", None, None, 5.0),
        ("p-tea/goal 9/depth 1/0", 9.0, 1.0, None),
    ]


def test_thoughts_are_a_column_of_their_own_and_alone_no_completion() -> None:
    asked = prompts("tea")
    frame, _ = prepare_prompts(asked, settings(), ECHO)
    rows = list_requests(frame, settings(), ECHO)
    texts = ["<think>a</think>b", "<think>a, and never b", "plain", "plain"]
    outcomes: list[Outcome] = [Result(text, "stop", 1, 2) for text in texts]
    none = pl.DataFrame(schema=REJECTS)
    table = build_completions(asked, frame, none, settings(), list(zip(rows, outcomes, strict=True)))
    assert [message[0]["content"] for message in table.frame["completion"]] == ["b", "plain", "plain"]
    assert table.frame["reasoning"].to_list() == ["a", None, None]
    assert table.steps[-1].rejected == {"the completion is thoughts alone: no answer stands behind them": 1}
    assert "a, and never b" in table.rejects["found"][0]
    plain = build_completions(asked, frame, none, settings(), list(zip(rows[2:], outcomes[2:], strict=True)))
    assert "reasoning" not in plain.frame.columns
