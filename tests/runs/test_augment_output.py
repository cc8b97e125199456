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


def test_overwriting_removes_only_what_was_written(
    tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "out"
    augment(source, out, Augment(test_share=0.3))
    (out / "notes").mkdir()
    (out / "notes" / "thesis.txt").write_text("mine")
    (out / "link").symlink_to("notes")
    (out / ".gitattributes").write_text("mine too")
    augment(source, out, Augment(format="trl"), overwrite=True)
    left = contents(out)
    assert left["notes/thesis.txt"] == b"mine" and left[".gitattributes"] == b"mine too"
    assert (out / "link").readlink() == Path("notes")
    assert [name for name in left if name.startswith("data/")] == ["data/train-00000-of-00001.parquet"]
    assert augment(source, out, Augment(format="trl")).skipped
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out"]


@pytest.mark.parametrize("strange", ["data/train-00007-of-00009.parquet", "dataset_info.json"])
def test_files_that_would_be_read_as_new_data_are_named(
    strange: str, tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "out"
    augment(source, out)
    (out / strange).write_text("mine")
    before = contents(out)
    with pytest.raises(RunError, match=f"{strange} was not written by prefboost"):
        augment(source, out, Augment(format="llamafactory"), overwrite=True)
    assert contents(out) == before


@pytest.mark.parametrize("name", ["out", "out.jsonl", "out.jsonl.card.md"])
def test_nothing_without_a_manifest_is_overwritten(
    name: str, tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    (tmp_path / "w").mkdir()
    mine = tmp_path / "w" / name
    if name == "out":
        mine.mkdir()
        mine = mine / "thesis.txt"
    mine.write_text("mine")
    out = tmp_path / "w" / name.removesuffix(".card.md")
    with pytest.raises(RunError, match="replaces only what prefboost augment wrote"):
        augment(scored(tmp_path / "in.jsonl"), out, overwrite=True)
    assert contents(tmp_path / "w") == {str(mine.relative_to(tmp_path / "w")): b"mine"}


def test_a_single_file_of_ours_is_replaced_with_what_stands_beside_it(
    tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "w" / "out.jsonl"
    augment(source, out)
    augment(source, out, Augment(format="trl"), overwrite=True)
    assert '"goal_pair_id"' in out.read_text() and '"prompt_chars"' not in out.read_text()
    assert augment(source, out, Augment(format="trl")).skipped


def test_a_link_as_output_keeps_its_place(tmp_path: Path, scored: Callable[..., Any]) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "out").symlink_to("far")
    augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "far" / "README.md").exists()


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
