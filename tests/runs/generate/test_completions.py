"""From what became of the rows to a table."""

from __future__ import annotations

import polars as pl
import pytest
from tests.runs.generate.test_generate import ECHO, prompts, settings

from prefboost.engines.engine import Failure, Outcome, Result
from prefboost.runs.generate.completions import build_completions
from prefboost.runs.generate.outcomes import OutcomeFile
from prefboost.runs.generate.requests import prepare_prompts
from prefboost.tables import REJECTS, StoredTable


def keep(*outcomes: Outcome | None) -> OutcomeFile:
    kept = OutcomeFile(len(outcomes))
    for number, outcome in enumerate(outcomes):
        if outcome is not None:
            kept[number] = outcome
    return kept


def test_completions_and_failures_together_are_the_rows_that_were_asked() -> None:
    asked = prompts("tea", "rain")
    prepared, _ = prepare_prompts(asked, settings(), ECHO)
    failure = Failure("x" * 500, 6)
    outcomes: list[Outcome] = [Result(str(at), "length", 1, 2) if at % 3 else failure for at in range(8)]
    none = pl.DataFrame(schema=REJECTS)
    table = build_completions(asked, prepared, none, settings(), keep(*outcomes))
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
    prepared, _ = prepare_prompts(asked, how, ECHO)
    outcomes: list[Outcome] = [Result("yes", "stop", 1, 2)] * 3
    none = pl.DataFrame(schema=REJECTS)
    table = build_completions(asked, prepared, none, how, keep(*outcomes))
    goals = table.frame.select("completion_id", "goal", "goal.depth", "goal.style").rows()
    assert goals == [
        ("p-tea/goal 3/0", 3.0, None, None),
        ("p-tea/style 5/0", None, None, 5.0),
        ("p-tea/goal 9/depth 1/0", 9.0, 1.0, None),
    ]


def test_thoughts_are_a_column_of_their_own_and_alone_no_completion() -> None:
    asked = prompts("tea")
    prepared, _ = prepare_prompts(asked, settings(), ECHO)
    texts = ["<think>a</think>b", "<think>a, and never b", "plain", "plain"]
    outcomes: list[Outcome] = [Result(text, "stop", 1, 2) for text in texts]
    none = pl.DataFrame(schema=REJECTS)
    table = build_completions(asked, prepared, none, settings(), keep(*outcomes))
    assert [message[0]["content"] for message in table.frame["completion"]] == ["b", "plain", "plain"]
    assert table.frame["reasoning"].to_list() == ["a", None, None]
    assert table.steps[-1].rejected == {"the completion is thoughts alone: no answer stands behind them": 1}
    assert "a, and never b" in table.rejects["found"][0]
    plain = build_completions(asked, prepared, none, settings(), keep(None, None, *outcomes[2:]))
    assert "reasoning" not in plain.frame.columns


def test_pieces_on_disk_are_the_table_that_is_built_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(*"abcdefg")
    prepared, _ = prepare_prompts(asked, settings(), ECHO)
    failures = [Failure("late", 6), Failure("no", 1, permanent=True), Result("<think>hm", "length", 1, 3)]
    outcomes = [failures[at % 5] if at % 5 < 3 else Result(f"é{at}\ud7ff", "stop", 1, at) for at in range(28)]
    outcomes[-1] = Result("<think>why</think>so", "stop", 1, 2)
    none = pl.DataFrame(schema=REJECTS)
    whole = build_completions(asked, prepared, none, settings(), keep(*outcomes))
    monkeypatch.setattr("prefboost.runs.generate.requests._PIECE_REQUESTS", 8)
    stored = build_completions(asked, prepared, none, settings(), keep(*outcomes))
    assert isinstance(stored, StoredTable) and not isinstance(whole, StoredTable)
    assert stored.frame.equals(whole.frame) and stored.rejects.equals(whole.rejects)
    assert (stored.steps, stored.schema) == (whole.steps, whole.schema)
