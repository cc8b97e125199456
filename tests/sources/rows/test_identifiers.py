"""Ids are unique over the whole source, and no batch decides what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.diagnosis import inspect
from prefboost.sources import read, read_batches
from prefboost.sources.rows.identifiers import REPEATED
from prefboost.tables import Table

ids = st.sampled_from(["a", "b", "c", 7, None])


def flat(number: int, given_id: Any) -> dict[str, Any]:
    return {"prompt": f"q{number % 3}", "completion": f"a{number}", "score": 1, "completion_id": given_id}


def pair(number: int, given_id: Any) -> dict[str, Any]:
    return {"prompt": f"q{number % 3}", "chosen": f"a{number}", "rejected": "b", "pair_id": given_id}


def nested(number: int, given_id: Any) -> dict[str, Any]:
    completions = [{"text": f"a{number}", "completion_id": given_id}, {"text": f"b{number}", "completion_id": "z"}]
    return {"prompt": f"q{number % 3}", "completions": completions}


def parallel(number: int, given_id: Any) -> dict[str, Any]:
    return {"prompt": f"q{number % 3}", "completions": [f"a{number}", f"b{number}"], "completion_id": [given_id, "z"]}


def key(table: Table) -> str:
    return table.spec.key


@pytest.mark.parametrize("shape", [flat, pair, nested, parallel])
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
    path.write_text("\n".join(json.dumps(pair(number, name)) for number, name in enumerate("xyx")))
    found = read(path)
    assert found.frame["pair_id"].to_list() == ["x#0", "y", "x#2"]
    assert found.steps[0].notes[REPEATED] == 2
    (finding,) = [finding for finding in inspect(path).findings if finding.name == "repeated_ids"]
    assert (finding.severity, finding.count) == ("note", 2)
    assert REPEATED not in read_one(path, "xyz").steps[0].notes


def read_one(path: Path, names: str) -> Table:
    path.write_text("\n".join(json.dumps(pair(number, name)) for number, name in enumerate(names)))
    return read(path)
