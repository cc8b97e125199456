"""The best completions become rows that a trainer for fine-tuning reads."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.errors import DataError, MissingScores
from prefboost.preferences.score_selection import BestOfN, RejectionSampling, ScoreAtLeast
from prefboost.preferences.select import Select
from prefboost.runs.select.counts import count_selection
from prefboost.runs.select.select import select_completions
from prefboost.runs.select.settings import SelectCompletions
from prefboost.sources import read
from prefboost.sources.read import join_tables, read_batches
from prefboost.sources.stored import read_stored
from prefboost.tables import SCORED_COMPLETIONS, StoredTable, Table


def scored(cut: bool = False) -> Table:
    """Six completions of two prompts; the best of each is cut where that is asked for."""
    table = completions_table([(f"question {at // 3}", "word " * (at + 1)) for at in range(6)])
    columns = [pl.Series("score", [1.0, 9.0, 5.0, 2.0, 4.0, 8.0])]
    if cut:
        columns.append(pl.Series("finish_reason", ["stop", "length", "stop", "stop", "stop", "length"]))
    return Table(SCORED_COMPLETIONS, table.frame.with_columns(columns), path="made.jsonl")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_best_of_every_prompt_are_written_as_prompt_and_completion(tmp_path: Path) -> None:
    out = tmp_path / "sft.jsonl"
    kept = select_completions(scored(), SelectCompletions(strategy=BestOfN()), out)
    assert [row["score"] for row in rows_of(out)] == [9.0, 8.0] and len(kept) == 2
    assert rows_of(out)[0]["prompt"] == [{"role": "user", "content": "question 0"}]
    assert rows_of(out)[0]["completion"] == [{"role": "assistant", "content": "word word "}]
    aside = pl.read_parquet(tmp_path / "sft.jsonl.rejects.parquet")
    assert sorted(aside["row"]) == [0, 2, 3, 4] and set(aside["reason"]) == {
        "the completion was not selected by its score"
    }
    told = json.loads((tmp_path / "sft.jsonl.select.json").read_text())
    assert told["steps"][-1]["settings"]["kind"] == "best_of_n" and told["score mean kept"] == 8.5


def test_completions_that_were_cut_are_set_aside_before_scores_are_compared() -> None:
    kept = select_completions(scored(cut=True), SelectCompletions(strategy=BestOfN()))
    assert kept.frame["score"].to_list() == [5.0, 4.0]
    assert count_selection(scored(cut=True), kept)["rejected"] == {
        "generation cut the completion at the token limit": 2,
        "the completion was not selected by its score": 2,
    }
    whole = select_completions(scored(cut=True), SelectCompletions(strategy=BestOfN(), cut="keep"))
    assert whole.frame["score"].to_list() == [9.0, 8.0]


def test_limits_come_before_scores_and_every_row_is_kept_or_counted() -> None:
    how = SelectCompletions(strategy=ScoreAtLeast(score=4.0), select=Select(max_completion_words=4))
    kept = select_completions(scored(), how)
    assert kept.frame["score"].to_list() == [9.0, 5.0] and len(kept) + len(kept.rejects) == 6


def test_rejection_sampling_writes_the_same_rows_every_time(tmp_path: Path) -> None:
    how = SelectCompletions(strategy=RejectionSampling(beta=2.0, count=2), format="prefboost")
    both = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for out in both:
        select_completions(scored(), how, out)
    assert both[0].read_bytes() == both[1].read_bytes()
    again = read(str(both[0]))
    assert again.spec is SCORED_COMPLETIONS and len(again) == 4


def test_pairs_and_completions_without_scores_are_refused() -> None:
    with pytest.raises(DataError, match="needs ScoredCompletions"):
        select_completions(pairs_table([("a", "b", "c")]), SelectCompletions(strategy=BestOfN()))
    bare = scored().frame.with_columns(score=pl.lit(None, pl.Float64))
    with pytest.raises(MissingScores):
        select_completions(Table(SCORED_COMPLETIONS, bare), SelectCompletions(strategy=BestOfN()))


def draw_records(seed: int) -> list[dict[str, Any]]:
    """Draw records of few prompts, ids and texts, so that every kind of repetition occurs."""
    draw = random.Random(seed)
    return [
        {
            "prompt": draw.choice(["Is ice cold?", "Is tea cold?", "Is", "4 + 4?"]),
            "prompt_id": draw.choice("abc"),
            "completion": draw.choice(["Yes.", "No, it is not.", "It may be so.", ""]),
            "score": draw.choice([None, 1.0, 2.0, 3.0, 4.0, 5.0]),
            "finish_reason": draw.choice(["stop", "stop", "length"]),
        }
        for _ in range(60)
    ]


LIMITS = st.builds(
    Select,
    dedupe=st.sampled_from(["none", "exact", "prompt"]),
    max_completion_words=st.sampled_from([None, 3]),
    min_completion_chars=st.sampled_from([None, 1]),
)
STRATEGIES = st.one_of(
    st.builds(BestOfN, count=st.integers(1, 2), at_least=st.sampled_from([None, 3.0])),
    st.builds(ScoreAtLeast, score=st.sampled_from([3.0, 9.0])),
    st.builds(RejectionSampling, beta=st.sampled_from([0.5, 4.0]), count=st.sampled_from([None, 2])),
)
SETTINGS = st.builds(
    SelectCompletions,
    strategy=STRATEGIES,
    select=st.none() | LIMITS,
    cut=st.sampled_from(["drop", "keep"]),
    format=st.sampled_from(["trl", "prefboost"]),
)


@given(
    seed=st.integers(0, 999),
    how=SETTINGS,
    rows=st.integers(1, 20),
    ending=st.sampled_from(["parquet", "jsonl", "jsonl.gz"]),
)
@settings(deadline=None, max_examples=15)
def test_rows_that_wait_on_disk_give_the_files_of_rows_in_memory(
    seed: int,
    how: SelectCompletions,
    rows: int,
    ending: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    source = folder / "in.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in draw_records(seed)))
    results: list[Any] = []
    files = []
    for name in ("memory", "disk"):
        (folder / name).mkdir()
        try:
            if name == "memory":
                table = join_tables(list(read_batches(source, rows=rows)))
            else:
                table = read_stored(source, rows=rows)
                assert isinstance(table, StoredTable)
            selected = select_completions(table, how, folder / name / f"out.{ending}")
            results.append((count_selection(table, selected), selected.steps))
            assert_frame_equal(selected.frame, select_completions(table, how).frame)
        except DataError as error:  # no score at all, or no row that can be read
            results.append((type(error), error.message))
        files.append({path.name: path.read_bytes() for path in (folder / name).iterdir()})
    assert results[0] == results[1] and files[0] == files[1]


@pytest.mark.torch
def test_trl_trains_on_the_completions_of_the_rows(tiny_model: Path, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    out = tmp_path / "sft.jsonl"
    select_completions(scored(), SelectCompletions(strategy=BestOfN(count=2)), out)
    rows = load_dataset("json", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    config = SFTConfig(
        str(tmp_path / "run"),
        max_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(str(tiny_model), args=config, train_dataset=rows)
    batch = next(iter(trainer.get_train_dataloader()))
    learnt = [
        trainer.processing_class.decode([token for token in row if token >= 0]) for row in batch["labels"].tolist()
    ]
    assert all("word" in text and "question" not in text for text in learnt), "only completions are learnt"
    assert trainer.train().training_loss > 0
