"""`judge` writes verdicts beside their history and figures, and loses nothing when it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from scripted_engine import Scripted
from tests.scoring.conftest import pairs_table

from prefboost.progress import WorkProgress
from prefboost.runs.score.judge import Judging, judge
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.tables import VERDICTS, Table

PAIRS = [("one", "good", "b"), ("two", "c", "good"), ("three", "e", "f")]


def good(prompt: str) -> str:
    first, second = ("good" in prompt.split(f"<completion {at} ")[1].split("</", maxsplit=1)[0] for at in (1, 2))
    verdict = "tie" if first == second else "1" if first else "2"
    return "?" if "unheard" in prompt else json.dumps({"verdict": verdict})


def test_verdicts_rejects_history_and_figures_are_written(tmp_path: Path) -> None:
    out = tmp_path / "verdicts.parquet"
    verdicts, figures = judge(pairs_table([*PAIRS, ("four", "unheard", "x")]), LlmJudge(engine=Scripted.by(good)), out)
    assert pl.read_parquet(out).equals(verdicts.frame) and len(verdicts) == 6
    history = json.loads((tmp_path / "verdicts.parquet.judge.json").read_text())
    assert history["steps"][-1]["verb"] == "judge" and history["figures"]["pairs"] == figures.pairs == 3
    assert figures.order_agreement.estimate == 1 and figures.with_labels.estimate == 0.5
    assert pl.read_parquet(tmp_path / "verdicts.parquet.rejects.parquet")["id"].to_list() == ["p3"]


def test_an_interrupted_call_goes_on_to_the_same_verdicts(tmp_path: Path) -> None:
    out, first, second = tmp_path / "v.jsonl", Scripted.by(good), Scripted.by(good)
    expected, _ = judge(pairs_table(PAIRS), LlmJudge(engine=Scripted.by(good)))

    def stop(progress: WorkProgress) -> None:
        if progress.done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(pairs_table(PAIRS), LlmJudge(engine=first), out, progress=stop)
    assert not out.exists()
    found, _ = judge(pairs_table(PAIRS), LlmJudge(engine=second), out)
    assert found.frame.equals(expected.frame) and (len(first.asked), len(second.asked)) == (4, 2)


class Mine:
    """Anyone's judge: no journal, no settings."""

    def judge(self, table: Table) -> Table:
        return LlmJudge(engine=Scripted.by(good)).judge(table)


def test_anyones_judge_will_do() -> None:
    told: list[WorkProgress] = []
    verdicts, _ = judge(pairs_table(PAIRS), Mine(), progress=told.append)
    assert verdicts.spec is VERDICTS and told[-1].done == 3


def test_settings_choose_a_judge_by_kind() -> None:
    settings = Judging.model_validate({"judge": {"kind": "llm", "engine": {"kind": "replay", "path": "x"}}})
    assert isinstance(settings.judge, LlmJudge)
    assert Judging.model_validate(settings.model_dump()) == settings
