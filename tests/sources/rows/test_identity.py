"""A prompt is its content, whatever its ids say, and the ids of rows are unique in the whole source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.diagnosis import inspect
from prefboost.preferences import AllPairs, pair
from prefboost.preferences.select import Select, select
from prefboost.runs.augment.augment import augment
from prefboost.sources import Columns, File, read, read_batches
from prefboost.sources.rows.identity import PARTED, REPEATED, SHARED, find_disputes, settle_ids
from prefboost.tables import Table

rows_of = st.lists(st.tuples(st.sampled_from(["a", "b", 7, None]), st.integers(0, 3)), min_size=1, max_size=9)


def flat(given_id: Any, question: int, number: int) -> dict[str, Any]:
    return {"question_id": given_id, "prompt": f"q{question}", "completion": f"a{number}", "score": number}


def nested(given_id: Any, question: int, number: int) -> dict[str, Any]:
    completions = [{"response": f"a{number}", "score": 1}, {"response": f"b{number}", "score": 2}]
    return {"prompt_id": given_id, "instruction": f"q{question}", "completions": completions}


def pairs(given_id: Any, question: int, number: int) -> dict[str, Any]:
    sides = {"chosen": f"a{number}", "rejected": "b", "score_chosen": 2 + number, "score_rejected": 1}
    return {"prompt_id": given_id, "prompt": f"q{question}", **sides}


def chats(given_id: Any, question: int, number: int) -> dict[str, Any]:
    asked = {"role": "user", "content": f"q{question}"}
    sides = {side: [asked, {"role": "assistant", "content": f"{side}{number}"}] for side in ("chosen", "rejected")}
    return {"prompt_id": given_id, **sides, "score_chosen": 2 + number, "score_rejected": 1}


def with_system(given_id: Any, question: int, number: int) -> dict[str, Any]:
    return {**flat(given_id, 0, number), "system": f"s{question}"}


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def identity(table: Table) -> set[tuple[str, str]]:
    content = table.frame["prompt"].list.eval(pl.element().struct.json_encode()).list.join("")
    return set(zip(table.frame["prompt_id"], content, strict=True))


@pytest.mark.parametrize("shape", [flat, nested, pairs, chats, with_system])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=rows_of, rows=st.integers(1, 4))
def test_ids_are_equal_exactly_where_prompts_are_whatever_the_source_calls_them(
    tmp_path: Path, shape: Any, found: list[tuple[Any, int]], rows: int
) -> None:
    records = [shape(given_id, question, number) for number, (given_id, question) in enumerate(found)]
    path = write(tmp_path / "d.jsonl", records)
    table = read(path)
    named = identity(table)
    assert len({prompt_id for prompt_id, _ in named}) == len({content for _, content in named}) == len(named)
    assert table.rejects.is_empty()
    believed = {(str(i), q) for i, q in found if i is not None and sum(i == j for j, _ in set(found)) == 1}
    believed = {(i, q) for i, q in believed if len({j for j, other in found if other == q}) == 1}
    assert {i for i, _ in believed} == set(table.frame["prompt_id"]) & {"a", "b", "7"}
    parts = [part.frame for part in read_batches(path, rows=rows)]
    assert set().union(*(set(part.select("row", "prompt_id").iter_rows()) for part in parts)) == set(
        table.frame.select("row", "prompt_id").iter_rows()
    )
    prompts = [set(part["prompt_id"]) for part in parts]
    assert sum(map(len, prompts)) == len(set().union(*prompts))


def test_two_questions_under_one_id_are_not_paired_and_the_finding_names_them(tmp_path: Path) -> None:
    records = [flat(1, question, number) for number, question in enumerate([0, 1, 0, 1])] + [
        flat(2, 2, 8),
        flat(2, 2, 9),
    ]
    path = write(tmp_path / "d.jsonl", records)
    table = read(path)
    made = pair(table, AllPairs()).frame
    assert sorted(made["prompt"].list.first().struct.field("content")) == ["q0", "q1", "q2"]
    assert table.steps[0].notes[SHARED] == 4 and PARTED not in table.steps[0].notes
    assert table.frame["given_prompt_id"].to_list() == ["1"] * 4 + ["2"] * 2
    assert table.frame["prompt_id"].to_list()[4:] == ["2", "2"]
    (finding,) = [each for each in inspect(path).findings if each.name == "shared_prompt_ids"]
    assert (finding.severity, finding.count) == ("warning", 4)


def test_files_whose_ids_restart_lose_no_prompt(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, first in (("a", 0), ("b", 100)):
        write(
            tmp_path / "in" / f"{name}.jsonl", [nested(number, first + number, first + number) for number in range(5)]
        )
    report = augment(tmp_path / "in", tmp_path / "out.parquet")
    assert report.pairs == 10
    assert [finding.partition(":")[0] for finding in report.findings] == ["shared_prompt_ids"]
    assert pl.read_parquet(tmp_path / "out.parquet")["prompt_id"].n_unique() == 10


def test_answers_to_one_question_under_ids_of_rows_are_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [flat(number, number // 3, number) for number in range(9)])
    table = read(path)
    assert len(pair(table, AllPairs())) == 9
    assert table.steps[0].notes[PARTED] == 9
    (finding,) = [each for each in inspect(path).findings if each.name == "parted_prompts"]
    assert (finding.severity, finding.count) == ("note", 9)
    kept = select(table, Select(dedupe="prompt"))
    assert len(kept) == 3, "rows of a prompt under a second id can still be left out"


def test_ids_that_agree_stay_and_nothing_is_added(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [flat(f"id{number // 2}", number // 2, number) for number in range(6)])
    table = read(path)
    assert table.frame["prompt_id"].unique(maintain_order=True).to_list() == ["id0", "id1", "id2"]
    assert "given_prompt_id" not in table.frame.columns
    assert not {SHARED, PARTED} & set(table.steps[0].notes)


def test_only_the_split_that_is_read_can_dispute_an_id(tmp_path: Path) -> None:
    records = [{**flat(number % 2, number, number), "split": ("train", "test")[number // 2]} for number in range(4)]
    path = write(tmp_path / "d.jsonl", records)
    assert read(File(path=str(path), split="train")).frame["prompt_id"].to_list() == ["0", "1"]
    assert not set(read(path).frame["prompt_id"]) & {"0", "1"}


@pytest.mark.parametrize("batches", [1, 2])
def test_ids_of_a_source_that_plugs_in_are_believed_only_where_the_prompts_bear_them_out(
    tmp_path: Path, batches: int
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(nested(None, question, question)) + "\n" for question in range(4)))
    plain = read(path)
    # The ids restart in the second half, as those of a second file do, and one prompt bears two ids.
    given_ids = pl.Series("prompt_id", ["0", "0", "1", "1", "0", "0", "last", "another"])
    table = replace(plain, frame=plain.frame.with_columns(given_ids))

    class Plugged:
        kind = "plugged"

        def batches(self, columns: Columns, rows: int | None) -> Iterator[Table]:
            size = len(table) // batches
            for begin in range(0, len(table), size):
                yield replace(table, frame=table.frame.slice(begin, size))

    made = read(Plugged())
    ids = made.frame["prompt_id"].to_list()
    assert [ids[at : at + 2] for at in (2,)] == [["1", "1"]]
    assert ids[:2] + ids[4:] == plain.frame["prompt_id"].to_list()[:2] + plain.frame["prompt_id"].to_list()[4:]
    assert made.frame["given_prompt_id"].to_list() == given_ids.to_list()
    assert (made.steps[0].notes[SHARED], made.steps[0].notes[PARTED]) == (4, 2)
    assert len(pair(made)) == 4


def test_ids_of_a_source_that_plugs_in_stay_where_they_agree(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(nested(str(number), number, number)) + "\n" for number in range(4)))
    plain = read(path)
    assert settle_ids(plain, find_disputes([plain])) is plain


ids = st.sampled_from(["a", "b", "c", 7, None])


def flat_row(number: int, given_id: Any) -> dict[str, Any]:
    return {"prompt": f"q{number % 3}", "completion": f"a{number}", "score": 1, "completion_id": given_id}


def pair_row(number: int, given_id: Any) -> dict[str, Any]:
    return {"prompt": f"q{number % 3}", "chosen": f"a{number}", "rejected": "b", "pair_id": given_id}


def nested_row(number: int, given_id: Any) -> dict[str, Any]:
    completions = [{"text": f"a{number}", "completion_id": given_id}, {"text": f"b{number}", "completion_id": "z"}]
    return {"prompt": f"q{number % 3}", "completions": completions}


def parallel(number: int, given_id: Any) -> dict[str, Any]:
    return {"prompt": f"q{number % 3}", "completions": [f"a{number}", f"b{number}"], "completion_id": [given_id, "z"]}


def key(table: Table) -> str:
    return table.spec.key


@pytest.mark.parametrize("shape", [flat_row, pair_row, nested_row, parallel])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(named=st.lists(ids, min_size=2, max_size=7), rows=st.integers(1, 4))
def test_ids_are_unique_over_all_batches_and_do_not_depend_on_them(
    tmp_path: Path, shape: Any, named: list[Any], rows: int
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(shape(number, name)) for number, name in enumerate(named)))
    whole = read(path)
    assert whole.rejects.is_empty()
    assert whole.frame[key(whole)].is_unique().all()
    texts = "chosen" if "chosen" in whole.frame.columns else "completion"
    parts = pl.concat([part.frame.select("row", key(part), texts) for part in read_batches(path, rows=rows)])
    assert sorted(parts.rows(), key=str) == sorted(whole.frame.select("row", key(whole), texts).rows(), key=str)


def test_ids_that_stand_there_once_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(pair_row(number, name)) for number, name in enumerate("xyx")))
    found = read(path)
    assert found.frame["pair_id"].to_list() == ["x#0", "y", "x#2"]
    assert found.steps[0].notes[REPEATED] == 2
    (finding,) = [finding for finding in inspect(path).findings if finding.name == "repeated_ids"]
    assert (finding.severity, finding.count) == ("note", 2)
    assert REPEATED not in read_one(path, "xyz").steps[0].notes


def read_one(path: Path, names: str) -> Table:
    path.write_text("\n".join(json.dumps(pair_row(number, name)) for number, name in enumerate(names)))
    return read(path)
