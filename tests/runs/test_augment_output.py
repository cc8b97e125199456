"""Where `augment` writes, and what it refuses to overwrite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefboost.errors import DataError, RunError, SettingsError
from prefboost.preferences import BestVsWorst
from prefboost.runs.augment import Augment, augment


def test_the_same_command_again_finds_it_done(
    tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    source = scored(tmp_path / "in.jsonl")
    first = augment(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    again = augment(source, tmp_path / "out")
    assert again.skipped
    assert not first.skipped
    assert again.rejects == first.rejects
    assert contents(tmp_path / "out") == before


def test_an_output_of_other_settings_is_refused_until_told_to_overwrite(
    tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "out")
    other = Augment(pair=BestVsWorst(), test_share=0.2)
    with pytest.raises(RunError, match="made with other settings: pair, test_share"):
        augment(source, tmp_path / "out", other)
    augment(source, tmp_path / "out", other, overwrite=True)
    assert "best_vs_worst" in (tmp_path / "out" / "README.md").read_text()
    assert not list(tmp_path.glob(".out*"))


def test_a_changed_input_is_not_taken_for_the_old_one(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "out")
    scored(source, prompts=41)
    with pytest.raises(RunError, match="another input or version"):
        augment(source, tmp_path / "out")


def test_files_of_someone_else_are_never_touched(
    tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not made by prefboost augment"):
        augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    assert contents(tmp_path / "out") == {"thesis.txt": b"mine"}


def test_the_input_cannot_be_the_output(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl")
    with pytest.raises(RunError, match="the output is the input"):
        augment(source, source, overwrite=True)


def test_a_file_type_that_is_not_written_is_named(tmp_path: Path, scored: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"ends in \.csv"):
        augment(scored(tmp_path / "in.jsonl"), tmp_path / "out.csv")
    with pytest.raises(SettingsError, match="no room for a test split"):
        augment(tmp_path / "in.jsonl", tmp_path / "out.jsonl", Augment(test_share=0.1))


def test_without_rejects_a_single_file_has_none_beside_it(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl", prompts=2)
    report = augment(source, tmp_path / "out.jsonl")
    assert report.rejects_path is None
    assert not list(tmp_path.glob("*.rejects.parquet"))
