"""JudgeArena's own functions read the tables; `make trainers` gets its source."""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import pytest
from trainer_sources import borrow

from prefboost.errors import SettingsError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.results import Results
from prefboost.runs.evaluate.exports import Outcome
from prefboost.runs.evaluate.exports.judge_arena import TASK, check_one_turn, write_judge_arena

PROMPTS = (
    BenchmarkPrompt("u1", ('Say "a, b"\nand more',), "math"),
    BenchmarkPrompt("u2", ("Is it?",), before=({"role": "system", "content": "Be brief."},)),
    BenchmarkPrompt("u3", ("Why?",)),
)
COMPLETIONS = {
    "old": {"u1": ["a, b"], "u2": [""], "u3": ["So."]},
    "org/new@10": {"u1": ['"a",\r\n"b"'], "u3": ["Because."]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_judge_arena(tmp_path, Outcome(Results("pairwise", "robust", ()), (), PROMPTS, COMPLETIONS))
    return tmp_path / "judgearena"


def read_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_prompts_that_every_model_completed_are_written_and_the_others_are_named(folder: Path) -> None:
    instructions = read_rows((folder / "tables" / "instructions" / f"{TASK}.csv").read_text())
    assert [(row["instruction_index"], row["uid"]) for row in instructions] == [("0", "u1"), ("1", "u3")]
    assert instructions[0]["instruction"] == PROMPTS[0].text
    with zipfile.ZipFile(folder / "tables" / "model_outputs" / f"{TASK}.csv.zip") as archive:
        rows = read_rows(archive.read(f"{TASK}.csv").decode())
    expected = [("0", "old", "a, b"), ("1", "old", "So."), ("0", "org/new@10", '"a",\r\n"b"')]
    assert [tuple(row.values()) for row in rows] == [*expected, ("1", "org/new@10", "Because.")]
    assert read_rows((folder / "left_out.csv").read_text()) == [{"uid": "u2", "models without it": "org/new@10"}]


def test_its_loaders_read_instructions_and_completions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    read_df = borrow("judgearena/paths.py", "read_df", pd=pandas).read_df
    package = ModuleType("judgearena")
    package.utils = SimpleNamespace(data_root=folder, download_hf=lambda **_: None, read_df=read_df)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "judgearena", package)
    loading = borrow(
        "judgearena/instruction_dataset/__init__.py", "load_instructions", pd=pandas, logger=MagicMock(),
        split_m_arena_hard_dataset=lambda _: None, is_arena_hard_dataset=lambda _: False,
    )  # fmt: skip
    instructions = loading.load_instructions(TASK)
    assert instructions["instruction"].to_list() == [PROMPTS[0].text, "Why?"]
    completing = borrow(
        "judgearena/generate_and_evaluate.py", "try_load_dataset_completions", pd=pandas, read_df=read_df,
        logger=MagicMock(), data_root=folder, download_hf=lambda **_: None, is_arena_hard_dataset=lambda _: False,
    )  # fmt: skip
    found = completing.try_load_dataset_completions(TASK, "org/new@10", None)
    assert found["completion"].to_list() == ['"a",\r\n"b"', "Because."]
    assert found["instruction_index"].to_list() == instructions.index.to_list()
    assert completing.try_load_dataset_completions(TASK, "another", None) is None


def test_what_its_tables_cannot_hold_is_refused() -> None:
    with pytest.raises(SettingsError, match="prompts of several turns"):
        check_one_turn([BenchmarkPrompt("u", ("one", "two"))])
    with pytest.raises(SettingsError, match="keeps no completions"):
        check_one_turn([])
    check_one_turn(PROMPTS)
