"""`judge` writes verdicts beside their history and figures, and loses nothing when it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from length_scorer import LengthScorer
from scripted_engine import Scripted
from tests.scoring.conftest import pairs_table

from prefboost.progress import WorkProgress
from prefboost.runs.score.judge import Judging, judge
from prefboost.scoring.judges.from_scorer import ScorerJudge
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.sources.read import join_tables, read_batches
from prefboost.sources.stored import read_stored
from prefboost.tables import VERDICTS, StoredTable, Table

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


@pytest.mark.parametrize(
    ("kind", "ending"), [("answers", "parquet"), ("answers", "jsonl"), ("log-probs", "parquet"), ("scorer", "jsonl")]
)
def test_pairs_that_wait_on_disk_give_the_same_bytes(kind: str, ending: str, tmp_path: Path) -> None:
    records = [
        {"prompt": f"q{row % 29}" + (" unheard" if row % 17 == 3 else ""), "chosen": f"good {row}",
         "rejected": "word " * (row % 7 + 1)}
        for row in range(200)
    ]  # fmt: skip
    path = tmp_path / "in.jsonl"
    pl.DataFrame(records).write_ndjson(path)
    stored = read_stored(path, rows=120)
    assert isinstance(stored, StoredTable)
    outputs = []
    for name, table in (("stored", stored), ("held", join_tables(list(read_batches(path, rows=120))))):
        judges = {
            "answers": LlmJudge(engine=Scripted.by(good)),
            "log-probs": LlmJudge(engine=Scripted.by(None, lambda _, choices: [-1.0, -2.0, -3.0]), read="logprobs"),
            "scorer": ScorerJudge(scorer=LengthScorer(limit=30), temperature=2.0),
        }
        (tmp_path / name).mkdir()
        verdicts, _ = judge(table, judges[kind], tmp_path / name / f"out.{ending}")
        assert len(verdicts) // 2 + len(verdicts.rejects) == 200
        outputs.append({each.name: each.read_bytes() for each in (tmp_path / name).iterdir() if each.is_file()})
    assert outputs[0] == outputs[1] and f"out.{ending}" in outputs[0]
