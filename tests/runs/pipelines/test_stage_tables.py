"""Tables between stages."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from scripted_engine import Scripted
from tables_of import scored_table

from prefboost.runs.folder.manifest import Run, open_run
from prefboost.runs.outputs import locate_rejects
from prefboost.runs.pipelines.stage_tables import list_table_files, load_table, score_table, write_table
from prefboost.scoring import Rater, RulesScorer
from prefboost.tables import PROMPTS, REJECTS, SCORED_COMPLETIONS, Table


def test_a_table_is_taken_up_as_it_was_kept_with_its_scales(tmp_path: Path) -> None:
    prompts = pl.concat(list(_prompts()))
    completions = Table(PROMPTS, prompts)
    scored = RulesScorer().score(_completed(completions))
    write_table(scored, tmp_path / "deep" / "scored.parquet")
    again = load_table(tmp_path / "deep" / "scored.parquet", SCORED_COMPLETIONS)
    assert again.frame.equals(scored.frame)
    assert again.scales == scored.scales
    assert all((tmp_path / "deep" / name).exists() for name in list_table_files("scored.parquet"))


def test_what_was_set_aside_is_written_and_counted(tmp_path: Path) -> None:
    table = scored_table([("p", [1.0, 2.0])])
    reject = {"stage": "s", "path": None, "row": 1, "id": "x", "reason": "because", "found": None}
    aside = Table(table.spec, table.frame, pl.DataFrame([reject], REJECTS))
    counts = write_table(aside, tmp_path / "t.parquet")
    assert counts == {"rows": 2, "prompts": 1, "rejected": {"because": 1}}
    assert pl.read_parquet(locate_rejects(tmp_path / "t.parquet")).height == 1


def test_scores_are_kept_as_they_are_returned(tmp_path: Path) -> None:
    run: Run = open_run(tmp_path / "run", "x", {})
    completions = _completed(Table(PROMPTS, pl.concat(list(_prompts()))))
    scored, counts = score_table(completions, RulesScorer(), run.path / "scored.parquet", lambda _: None)
    assert counts["rows"] == len(scored) == 3
    assert load_table(run.path / "scored.parquet", SCORED_COMPLETIONS).frame.equals(scored.frame)


def test_tables_can_share_a_store_of_scores(tmp_path: Path) -> None:
    completions = _completed(Table(PROMPTS, pl.concat(list(_prompts()))))
    rater = Rater(engine=Scripted.by(lambda prompt: '{"ratings": [{"rating": 4}]}'))
    for name in ("a", "b"):
        place = tmp_path / name / "scored.parquet"
        score_table(completions, rater, place, lambda _: None, store=tmp_path / "scores.store")
    assert len(rater.engine.prompts) == len(completions)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["a.parquet", "round-1/a.parquet"])
def test_the_names_of_kept_files_begin_with_the_name(name: str) -> None:
    assert list_table_files(name)[0] == name


def _prompts() -> list[pl.DataFrame]:
    from prefboost.runs.demo.prompts import TRAIN_TOPICS, draw_demo_prompts

    return [draw_demo_prompts(3, TRAIN_TOPICS, seed=0)]


def _completed(prompts: Table) -> Table:
    from prefboost.tables import COMPLETIONS, MESSAGES, conform

    said = [[{"role": "assistant", "content": "A bright thing. The end.", "extra": None}]] * len(prompts)
    frame = prompts.frame.with_columns(completion_id="prompt_id", completion=pl.Series(said, dtype=MESSAGES))
    return Table(COMPLETIONS, conform(frame, COMPLETIONS))
