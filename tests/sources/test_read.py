"""The same records read alike from every format, in batches of any size; nothing is lost."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from prefboost.chat import to_record
from prefboost.errors import DataError, UnknownShape, UnreadableFile
from prefboost.sources import SOURCES, Columns, File, read, read_batches
from prefboost.tables import Table

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).filter(str.strip)
SCORE = st.floats(-10, 10).map(lambda value: round(value, 3))
FLAT = st.fixed_dictionaries({"prompt": st.sampled_from(["p", "q", "r s"]), "completion": TEXT, "score": SCORE})
PAIR = st.fixed_dictionaries(
    {"prompt": TEXT, "chosen": TEXT, "rejected": TEXT, "score_chosen": SCORE, "score_rejected": SCORE}
)
CHAT = st.builds(
    lambda q, a, b: {
        "chosen": [{"role": "user", "content": q}, {"role": "assistant", "content": a}],
        "rejected": [{"role": "user", "content": q}, {"role": "assistant", "content": b}],
    },
    TEXT,
    TEXT,
    TEXT,
)
NESTED = st.fixed_dictionaries(
    {
        "instruction": st.sampled_from(["p", "q", "r"]),
        "completions": st.lists(
            st.fixed_dictionaries({"response": TEXT, "overall_score": SCORE, "model": st.sampled_from("ab")}),
            max_size=3,
        ),
    }
)
RECORDS = st.one_of(*(st.lists(records, min_size=1, max_size=8) for records in (FLAT, PAIR, CHAT)))
ENDINGS = (".parquet", ".arrow", ".feather", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".csv", ".csv.gz", ".tsv")


def write_as(records: list[dict[str, Any]], path: Path) -> Path:
    name = path.name
    if name.endswith(".parquet"):
        pl.DataFrame(records).write_parquet(path, row_group_size=3)
    elif name.endswith((".arrow", ".feather")):
        pl.DataFrame(records).write_ipc(path)
    else:
        whole = json.dumps(records) if name.endswith(".json") else "\n".join(map(json.dumps, records)) + "\n"
        if ".csv" in name or ".tsv" in name:
            cells = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in records]
            whole = pl.DataFrame(cells).write_csv(separator="\t" if ".tsv" in name else ",", quote_style="always")
        packed = whole.encode()
        packed = gzip.compress(packed) if name.endswith(".gz") else packed
        packed = zstandard.ZstdCompressor().compress(packed) if name.endswith(".zst") else packed
        path.write_bytes(packed)
    return path


def counts_add_up(table: Table) -> None:
    step = table.steps[0]
    assert step.rows_out == len(table)
    assert step.rows_in == step.rows_out + sum(step.rejected.values())
    assert dict(Counter(table.rejects["reason"])) == dict(step.rejected)


@settings(max_examples=25, deadline=None)
@given(RECORDS)
def test_every_format_gives_the_same_table(records: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        tables = [read(write_as(records, Path(folder) / f"data{ending}")) for ending in ENDINGS]
    for table in tables:
        counts_add_up(table)
        assert_frame_equal(table.frame, tables[0].frame)
        assert table.rejects.drop("path", "found").equals(tables[0].rejects.drop("path", "found"))


@settings(max_examples=25, deadline=None)
@given(st.one_of(RECORDS, st.lists(NESTED, min_size=1, max_size=8)), st.integers(1, 5))
def test_batches_of_any_size_hold_whole_prompts_and_make_the_same_table(
    records: list[dict[str, Any]], rows: int
) -> None:
    with TemporaryDirectory() as folder:
        path = write_as(records, Path(folder) / "data.jsonl")
        try:
            whole = read(path)
        except DataError:
            return
        batches = list(read_batches(path, rows=rows))
    joined = pl.concat([batch.frame for batch in batches]).sort("row", maintain_order=True)
    assert_frame_equal(joined, whole.frame)
    prompts = [set(batch.frame["prompt_id"]) for batch in batches]
    assert sum(map(len, prompts)) == len(set().union(*prompts))
    for batch in batches:
        counts_add_up(batch)
    assert sum(batch.steps[0].rows_in for batch in batches) == whole.steps[0].rows_in


def test_a_malformed_line_is_counted_with_its_place_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    good = '{"prompt": "p", "completion": "c", "score": 1}'
    path.write_text(f'{good}\n\n{{"prompt": \n{good.replace(": 1", ": 2")}\n')
    table = read(path)
    assert table.frame["row"].to_list() == [0, 2]
    reject = table.rejects.row(0, named=True)
    assert reject["row"] == 1
    assert reject["reason"] == "the line is not a JSON object"
    assert reject["found"].startswith(f"{path}:3: ")


BAD_ROWS = {
    "the score is not a finite number": '{"prompt": "p", "completion": "c", "score": NaN}',
    "the score is not a number": '{"prompt": "p", "completion": "c", "score": "high"}',
    "the score of the completion is missing": '{"prompt": "p", "completion": "c", "score": null}',
    "the completion is empty": '{"prompt": "p", "completion": " \\n", "score": 1}',
    "the completion is missing": '{"prompt": "p", "score": 1}',
    "the prompt is missing": '{"completion": "c", "score": 1}',
    "the prompt holds neither text nor messages": '{"prompt": {"a": 1}, "completion": "c", "score": 1}',
    "the completion has a NUL byte or a lone surrogate": '{"prompt": "p", "completion": "a\\ud800", "score": 1}',
    "the prompt has a NUL byte or a lone surrogate": '{"prompt": "p\\u0000", "completion": "c", "score": 1}',
    "the prompt has no messages": '{"prompt": [], "completion": "c", "score": 1}',
    "the prompt's conversation does not end with a user or tool turn": (
        '{"prompt": [{"role": "assistant", "content": "x"}], "completion": "c", "score": 1}'
    ),
    "the prompt's conversation has a message of an unknown role": (
        '{"prompt": [{"role": "wizard", "content": "x"}], "completion": "c", "score": 1}'
    ),
    "the prompt's conversation has a system message in the middle": (
        '{"prompt": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}],'
        ' "completion": "c", "score": 1}'
    ),
}


def test_each_bad_row_is_set_aside_with_its_own_reason(tmp_path: Path) -> None:
    good = '{"prompt": "p", "completion": "c", "score": 1}'
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([good, good.replace(": 1", ": 2"), *BAD_ROWS.values()]))
    table = read(path)
    counts_add_up(table)
    found = dict(zip(table.rejects["row"], table.rejects["reason"], strict=True))
    assert {found.get(row) for row in range(2, len(BAD_ROWS) + 2)} == set(BAD_ROWS)


def test_a_score_outside_the_declared_range_is_set_aside(tmp_path: Path) -> None:
    path = write_as(
        [{"prompt": "p", "completion": c, "score": s} for c, s in (("a", 1), ("b", 11))], tmp_path / "d.jsonl"
    )
    table = read(File(path=str(path), score_range=(1, 10)))
    assert table.rejects["reason"].to_list() == ["the score is outside the declared range 1 to 10"]


def test_a_given_id_that_is_not_unique_is_made_distinct_by_its_row(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "completion": c, "score": 1, "completion_id": c[0]} for c in ("x1", "x2", "y")]
    table = read(write_as(rows, tmp_path / "d.jsonl"))
    assert table.frame["completion_id"].to_list() == ["x#0/0", "x#1/0", "y"]
    assert table.rejects.is_empty()
    assert table.steps[0].notes["ids made distinct"] == 2


def test_one_split_is_read_when_asked_for(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "completion": s, "score": 1, "split": s} for s in ("train", "test")]
    path = write_as(rows, tmp_path / "d.jsonl")
    table = read(File(path=str(path), split="test"))
    assert table.frame["split"].to_list() == ["test"]
    assert table.steps[0].notes["records of other splits"] == 1
    with pytest.raises(DataError, match="no column names the split of a row"):
        read(File(path=str(path), split="test", columns=Columns(ignore=("split",))))


def test_columns_named_by_the_user_win_over_the_guess(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "completion": "c", "score": 1, "meta": {"judge": 7}}]
    path = write_as(rows, tmp_path / "d.jsonl")
    table = read(path, columns=Columns(score="meta.judge"))
    assert table.frame["score"].to_list() == [7]
    assert table.steps[0].notes["guess"]["score"] == "meta.judge"
    with pytest.raises(DataError, match=r"columns.score names 'nope'.*found prompt"):
        read(path, columns=Columns(score="nope"))


def test_files_of_a_folder_and_of_a_glob_are_one_source(tmp_path: Path) -> None:
    for part in "ab":
        write_as([{"prompt": part, "completion": "c", "score": 1}], tmp_path / f"part-{part}.jsonl")
    for path in (tmp_path, tmp_path / "*.jsonl"):
        assert read(path).frame["row"].to_list() == [0, 1]


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        (
            "cut.jsonl.gz",
            gzip.compress(b"{}\n" * 99, mtime=0)[:-12],
            UnreadableFile,
            "gzip data are damaged or cut off",
        ),
        ("cut.jsonl.zst", zstandard.ZstdCompressor().compress(b"x" * 999)[:-4], UnreadableFile, "zstd data are"),
        ("cut.parquet", b"PAR1 and nothing else", UnreadableFile, "not readable as Parquet"),
        ("cut.arrow", b"ARROW1 and nothing else", UnreadableFile, "not readable as Arrow"),
        ("empty.jsonl", b"", UnreadableFile, "the file is empty"),
        ("blank.jsonl", b"\n\n", DataError, "the file has no rows"),
        ("header.csv", b"prompt,completion,score\n", DataError, "the file has no rows"),
        ("broken.jsonl", b"nonsense\n", DataError, "no line is a usable record"),
        ("twice.csv", b"prompt,prompt\na,b\n", DataError, "several columns are named 'prompt'"),
        ("other.jsonl", b'{"foo": 1}\n', UnknownShape, "no shape of preference data fits the columns foo"),
        ("data.xlsx", b"PK", UnreadableFile, "no known format ends in .xlsx"),
        ("goals.jsonl", b'{"goal_pair_id": "a"}\n', DataError, "goal-conditioned pairs already"),
        (
            "margin.jsonl",
            b'{"prompt": "p", "chosen": "a", "rejected": "b", "margin": 2}\n',
            DataError,
            "difference of two scores",
        ),
        ("texts.jsonl", b'{"chosen": "a", "rejected": "b"}\n', UnknownShape, "without a prompt column"),
        (
            "sides.jsonl",
            b'{"prompt": "p", "response_a": "a", "response_b": "b", "verdict": 1}\n',
            UnknownShape,
            "no shape of preference data",
        ),
    ],
)
def test_a_fault_of_the_whole_file_names_the_file_and_a_remedy(
    name: str, content: bytes, error: type[DataError], words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_path_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="no such file, folder or match"):
        read(tmp_path / "nothing.parquet")


def test_a_score_that_the_data_lack_is_refused_with_those_they_have(tmp_path: Path) -> None:
    path = write_as([{"prompt": "p", "response": "c", "helpfulness": 3}], tmp_path / "d.jsonl")
    with pytest.raises(DataError, match="they have overall, mean, helpfulness"):
        read(File(path=str(path), score="honesty"))
    assert read(File(path=str(path), score="mean")).frame["score"].to_list() == [3]


def test_messages_read_back_as_they_were_written(tmp_path: Path) -> None:
    call = [{"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": "{}"}]}]
    rows = [{"prompt": [{"role": "user", "content": "q"}], "completion": call, "score": 2.5}]
    first = read(write_as(rows, tmp_path / "d.jsonl"))
    assert [to_record(message) for message in first.frame["completion"][0]] == call
    first.frame.write_parquet(tmp_path / "again.parquet")
    assert_frame_equal(read(tmp_path / "again.parquet").frame, first.frame)


def test_a_parquet_file_with_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    text = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    pa.parquet.write_table(pa.table({"prompt": text, "completion": ["c"], "score": [1]}), tmp_path / "d.parquet")
    with pytest.raises(UnreadableFile):
        read(tmp_path / "d.parquet")


def test_every_built_in_source_has_a_default_that_validates() -> None:
    for kind, source in SOURCES.items():
        settings_of = source(path="x") if kind == "file" else source()
        assert settings_of.kind == kind
        assert source(**settings_of.model_dump()) == settings_of


def test_the_larger_scored_file_is_read_whole(shared_dir: Path) -> None:
    table = read(shared_dir / "data" / "alpacaeval_scored.parquet")
    assert table.spec.name == "ScoredCompletions"
    assert len(table) == 14_324
    assert table.rejects.is_empty()
    assert table.frame["completion_id"].n_unique() == len(table)
    assert table.frame["score"].to_list() == table.frame["score"].round(2).to_list()
