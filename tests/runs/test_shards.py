"""Shards: every prompt in exactly one of them, and faults of a set of shards named."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.devices.numbers import NUMBERS_FILE
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.store.interface import StoreQuery
from prefboost.engines.store.store import Store
from prefboost.errors import DataError, RunError, SettingsError
from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.runs.outputs import locate_store
from prefboost.runs.shards import Shard, check_shards, read_shard_record, write_shard_record
from prefboost.settings import Settings
from prefboost.sources import Columns


@pytest.mark.parametrize("text", ["", "1", "3/3", "-1/2", "1/0", "a/b", "1/2/3"])
def test_other_forms_than_index_of_count_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="not a shard"):
        Shard.parse(text)


@given(st.text(max_size=20), st.integers(1, 40))
def test_every_prompt_belongs_to_exactly_one_shard(prompt: str, count: int) -> None:
    assert sum(Shard(index, count).holds(prompt) for index in range(count)) == 1


def test_the_division_is_the_same_for_ever() -> None:
    # Shards of one command run on many machines, and are made again years later.
    held = ["".join(str(index) for index in range(7) if Shard(index, 7).holds(prompt)) for prompt in "abcdef"]
    assert held == PINNED


PINNED = ["2", "5", "1", "0", "1", "4"]


def test_shards_take_all_rows_once_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("".join(f"question {n}\n" for n in range(50)) + "question 1\n")
    table = read_prompts(tmp_path / "prompts.txt")
    parts = [Shard(index, 7).take(table) for index in range(7)]
    rows = [row for part in parts for row in part.frame["row"].to_list()]
    assert sorted(rows) == table.frame["row"].to_list()
    assert all(part.frame["row"].is_sorted() for part in parts)
    assert pl.concat([part.rejects for part in parts]).equals(table.rejects)


def test_a_shard_has_an_output_of_its_own_beside_the_whole() -> None:
    assert Shard(2, 7).locate(Path("a/scored.jsonl.gz")) == Path("a/scored.shard-2-of-7.jsonl.gz")


def record_shard(
    folder: Path,
    index: int,
    *,
    count: int = 2,
    settings: Settings | None = None,
    verb: str = "score",
    numbers: str | None = "float32",
    source: str = "",
) -> Path:
    (folder / "in.jsonl").touch()
    shard, out = Shard(index, count), folder / "out.parquet"
    store = locate_store(shard.locate(out))
    if numbers is not None:
        with Store(store) as opened:
            opened.finish([(StoreQuery("generate", {"n": index}), {"text": "x"})])
        (store / NUMBERS_FILE).write_text(json.dumps({"numbers": numbers}))
    arguments = {"source": source or str(folder / "in.jsonl")}
    write_shard_record(shard, out, verb, arguments, settings or Columns(), rows=int(numbers is not None))
    return shard.locate(out)


def check(*paths: Path) -> None:
    check_shards([read_shard_record(path) for path in paths])


def test_a_whole_set_passes(tmp_path: Path) -> None:
    check(*[record_shard(tmp_path, index) for index in range(2)])


def test_shards_may_ask_other_replicas_of_a_model(tmp_path: Path) -> None:
    paths = [
        record_shard(tmp_path, index, settings=OpenAICompatible(model="m", base_urls=(f"http://node{index}/v1",)))
        for index in range(2)
    ]
    check(*paths)


def test_a_shard_without_rows_has_no_number_type_and_others_agree_in_theirs(tmp_path: Path) -> None:
    paths = [record_shard(tmp_path, index, count=3, numbers=numbers) for index, numbers in enumerate([None, "a", "a"])]
    check(*paths)
    other = record_shard(tmp_path, 2, count=3, numbers="b")
    with pytest.raises(RunError, match=r"shard-2-of-3.parquet differs from .*numbers is 'b', not 'a'"):
        check(*paths[:2], other)


def test_files_of_a_glob_are_inputs_too(tmp_path: Path) -> None:
    paths = [record_shard(tmp_path, index, source=str(tmp_path / "*.jsonl")) for index in range(2)]
    check(*paths)
    (tmp_path / "more.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="has changed since"):
        check(*paths)


def test_faults_of_a_set_are_named(tmp_path: Path) -> None:
    first, second = record_shard(tmp_path, 0, count=3), record_shard(tmp_path, 1, count=3)
    with pytest.raises(RunError, match="missing: shard 2/3"):
        check(first, second)
    with pytest.raises(RunError, match=r"stands twice: .*shard-1-of-3.parquet and .*shard-1-of-3.parquet"):
        check(first, second, second, record_shard(tmp_path, 2, count=3))
    other = record_shard(tmp_path, 2, count=3, settings=Columns(prompt="q"))
    with pytest.raises(RunError, match=r"shard-2-of-3.parquet differs from .*settings.prompt is 'q', not None"):
        check(first, second, other)
    with pytest.raises(RunError, match="verb is 'judge', not 'score'"):
        check(first, second, record_shard(tmp_path, 2, count=3, verb="judge"))
    with pytest.raises(RunError, match="number of shards is 2, not 3"):
        check(first, second, record_shard(tmp_path, 1, count=2))


def test_an_input_that_changed_and_a_shard_that_did_not_finish_are_refused(tmp_path: Path) -> None:
    paths = [record_shard(tmp_path, index) for index in range(2)]
    (tmp_path / "in.jsonl").write_text('{"a": 2}\n')
    with pytest.raises(DataError, match=r"in.jsonl has changed"):
        check(*paths)
    with pytest.raises(RunError, match="no finished shard"):
        read_shard_record(tmp_path / "out.shard-5-of-7.parquet")


def test_a_damaged_store_is_named(tmp_path: Path) -> None:
    paths = [record_shard(tmp_path, index) for index in range(2)]
    file = locate_store(paths[1]) / "rows.sqlite"
    content = bytearray(file.read_bytes())
    content[4096:8192] = b"\xff" * 4096  # a page of the table
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"out.shard-1-of-2.parquet is damaged"):
        check(*paths)


def test_the_record_holds_no_secret_and_no_absolute_output(tmp_path: Path) -> None:
    path = record_shard(tmp_path, 0)
    record = json.loads(path.with_name(f"{path.name}.shard.json").read_text())
    assert record["out"] == "out.parquet" and record["shard"] == {"index": 0, "count": 2}
