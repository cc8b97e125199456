"""`write`: tables to files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from prefboost.errors import DataError, RunError
from prefboost.sources import read
from prefboost.sources.write import write
from prefboost.tables import PREFERENCE_PAIRS, Table, conform


def test_parquet_holds_the_frame_as_it_is(tmp_path: Path, goal_table: Callable[..., Any]) -> None:
    table = goal_table(3)
    written = write(table, tmp_path / "new" / "pairs.parquet")
    assert written.frame is table.frame and written.steps == table.steps and written.rejects.equals(table.rejects)
    assert pl.read_parquet(tmp_path / "new" / "pairs.parquet").equals(table.frame)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pairs.parquet"]


@pytest.mark.parametrize(
    ("ending", "opened"),
    [
        ("jsonl", lambda path: path.read_bytes()),
        ("jsonl.gz", lambda path: gzip.decompress(path.read_bytes())),
        ("jsonl.zst", lambda path: zstandard.open(path, "rb").read()),
    ],
)
def test_json_lines_hold_messages_as_other_tools_write_them(
    ending: str, opened: Callable[[Path], bytes], tmp_path: Path, goal_table: Callable[..., Any]
) -> None:
    table = goal_table(2)
    write(table, tmp_path / f"pairs.{ending}")
    rows = [json.loads(line) for line in opened(tmp_path / f"pairs.{ending}").splitlines()]
    assert [row["goal_pair_id"] for row in rows] == table.frame["goal_pair_id"].to_list()
    assert rows[0]["prompt"][1] == {"role": "user", "content": "Question 0 'äß' \"😀\"?\n"}


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "jsonl.gz", "jsonl.zst"])
def test_the_same_rows_give_the_same_bytes(ending: str, tmp_path: Path, goal_table: Callable[..., Any]) -> None:
    for name in ("a", "b"):
        write(goal_table(5), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, goal_table: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pairs.parquet"
    out.write_bytes(b"old")
    monkeypatch.setattr(pl.DataFrame, "write_parquet", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(goal_table(1), out)
    assert out.read_bytes() == b"old"


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path, goal_table: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"\.parquet, \.jsonl, \.jsonl\.gz, \.jsonl\.zst"):
        write(goal_table(1), tmp_path / "pairs.xlsx")


def test_a_trainers_format_needs_goal_pairs(tmp_path: Path, goal_table: Callable[..., Any]) -> None:
    table = goal_table(1)
    pairs = Table(PREFERENCE_PAIRS, conform(table.frame, PREFERENCE_PAIRS))
    write(pairs, tmp_path / "pairs.jsonl")
    with pytest.raises(DataError, match="needs GoalPairs, found PreferencePairs"):
        write(pairs, tmp_path / "pairs.jsonl", format="trl")


@pytest.mark.parametrize("reached", ["itself", "link", "hard link", "folder around", "other spelling"])
def test_a_table_is_never_written_over_what_it_was_read_from(tmp_path: Path, reached: str) -> None:
    source = tmp_path / "w" / "pairs.jsonl"
    source.parent.mkdir()
    source.write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    before = source.read_bytes()
    out = {"itself": source, "other spelling": tmp_path / "w" / ".." / "w" / "pairs.jsonl"}.get(reached)
    if reached in ("link", "hard link"):
        out = tmp_path / "other.jsonl"
        out.symlink_to(source) if reached == "link" else out.hardlink_to(source)
    table = read(source)
    if reached == "folder around":
        (tmp_path / "w.jsonl").mkdir()
        source.rename(tmp_path / "w.jsonl" / "part.jsonl")
        table, out, source = read(tmp_path / "w.jsonl"), tmp_path / "w.jsonl", tmp_path / "w.jsonl" / "part.jsonl"
    assert out is not None
    with pytest.raises(RunError, match="the output"):
        write(table, out, overwrite=True)
    assert source.read_bytes() == before


def test_a_table_is_not_written_among_the_files_it_was_read_from(tmp_path: Path) -> None:
    (tmp_path / "part.jsonl").write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    with pytest.raises(RunError, match="the next run would read it as data"):
        write(read(tmp_path), tmp_path / "more.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["part.jsonl"]


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "jsonl.gz", "jsonl.zst"])
def test_a_file_with_other_content_is_replaced_on_purpose_only(
    tmp_path: Path, goal_table: Callable[..., Any], ending: str
) -> None:
    out = tmp_path / f"pairs.{ending}"
    out.write_bytes(b"my notes")
    with pytest.raises(RunError, match="holds other rows"):
        write(goal_table(2), out)
    assert (out.read_bytes(), [path.name for path in tmp_path.iterdir()]) == (b"my notes", [out.name])
    write(goal_table(2), out, overwrite=True)
    written = out.read_bytes()
    write(goal_table(2), out)  # the same rows again
    assert out.read_bytes() == written != b"my notes"


def test_the_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path, goal_table: Callable[..., Any]) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "pairs.parquet"
    link.symlink_to(tmp_path / "disk" / "pairs.parquet")
    write(goal_table(2), link)
    assert link.is_symlink()
    assert pl.read_parquet(tmp_path / "disk" / "pairs.parquet").height == 4
