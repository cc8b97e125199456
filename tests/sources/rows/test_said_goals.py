"""Files of pairs whose prompts say a goal already are refused, above all those whose labels were not flipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.chat import SayGoal, goal_text
from prefboost.cli.main import main
from prefboost.diagnosis import inspect
from prefboost.errors import DataError
from prefboost.preferences import condition, relabel
from prefboost.sources import read


def published(number: int, goal: float) -> dict[str, Any]:
    """A row as the script released with arXiv 2410.08067 writes it for a model without a system role.

    Under the goal r_l it exchanges the first user turns, which are equal, and leaves the answers where they were; and
    it puts the goal's text into the message that it took from the other side, which already has it.
    """
    text = goal_text(SayGoal(), goal) + "\n\n"
    low = {
        side: [{"role": "user", "content": f"Q{number}"}, {"role": "assistant", "content": answer}]
        for side, answer in (("chosen", "good"), ("rejected", "bad"))
    }
    if goal < 9:
        low["chosen"][0], low["rejected"][0] = low["rejected"][0], low["chosen"][0]
    once = text + low["chosen"][0]["content"]
    low["chosen"][0]["content"] = once
    low["rejected"][0]["content"] = text + once if goal < 9 else once
    return {"prompt": f"Q{number}", **low, "score_chosen": 9.0, "score_rejected": 3.0}


@pytest.fixture
def script_output(tmp_path: Path) -> Path:
    path = tmp_path / "published.jsonl"
    rows = [published(number, goal) for number in range(4) for goal in (9.0, 3.0)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize("explicit", [True, False])
def test_a_file_of_the_published_script_without_system_role_is_refused_with_its_row(
    script_output: Path, explicit: bool
) -> None:
    if not explicit:
        pl.read_ndjson(script_output).drop("prompt").write_ndjson(script_output)
    for verb in (read, inspect):
        with pytest.raises(DataError) as caught:
            verb(script_output)
        told = str(caught.value)
        assert "published.jsonl" in told
        assert "8 of the first 8 pairs ask for a score already" in told
        assert "4 of them prefer the completion that is farther from it: row 1 asks for 3" in told
        assert "scored 9 to one scored 3" in told


def test_the_command_line_refuses_it_too(script_output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(script_output)]) == 2
    assert "row 1 asks for 3" in " ".join(capsys.readouterr().err.split())


def test_the_same_file_with_ids_is_refused_by_read_and_its_rows_are_named_by_inspect(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "Q", "chosen": "good", "rejected": "bad", "score_chosen": 9, "score_rejected": 3}')
    ours = condition(relabel(read(pairs)), SayGoal(place="user")).frame
    low = ours.filter(view="rejected").with_columns(
        chosen="rejected", rejected="chosen", score_chosen="score_rejected", score_rejected="score_chosen"
    )
    unflipped = tmp_path / "unflipped.parquet"
    pl.concat([ours.filter(view="chosen"), low]).write_parquet(unflipped)
    with pytest.raises(DataError, match="goal-conditioned pairs already"):
        read(unflipped)
    (broken,) = [finding for finding in inspect(unflipped).findings if finding.name == "broken_fact"]
    assert (broken.severity, broken.rows) == ("error", (1,))
    assert "at least as near the goal" in broken.sentence


def test_a_few_prompts_that_speak_of_scores_are_no_goals(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    prompts = [goal_text(SayGoal(), 3.0), "Overall score: 3.", "What is tea?"]
    rows = [{"prompt": prompt, "chosen": "a", "rejected": "b"} for prompt in prompts]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert len(read(path)) == 3
