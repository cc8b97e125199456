"""Parts are selected as the whole table is: what is repeated anywhere is dropped, and the first in the file stays."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.runs.ray.rows import SpreadHere

from prefboost.preferences.select import Select, select
from prefboost.runs.augment.settings import Augment
from prefboost.runs.ray import data_plan
from prefboost.runs.ray.data_plan import list_items, plan_source
from prefboost.runs.ray.data_rows import Rows, compare_rows
from prefboost.sources import Columns, File, read


@settings(max_examples=15)
@given(
    prompts=st.lists(st.integers(0, 6), min_size=1, max_size=40),
    given_ids=st.lists(st.integers(0, 8), min_size=40, max_size=40),
    dedupe=st.sampled_from(["none", "exact", "prompt"]),
    size=st.integers(1, 9),
    buckets=st.sampled_from([5, 4_000_000]),
)
def test_the_parts_together_are_the_selection_of_the_whole(
    prompts: list[int], given_ids: list[int], dedupe: Literal["none", "exact", "prompt"], size: int, buckets: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_plan, "_BUCKET_RECORDS", buckets)
        path = Path(folder) / "rows.jsonl"
        records = [
            {"prompt": f"Question {n}?", "completion": "a" * (at % 4), "score": 1, "prompt_id": f"q{given_ids[at]}"}
            for at, n in enumerate(prompts)
        ]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        how = Select(dedupe=dedupe, max_completion_chars=2)
        plan = plan_source(SpreadHere(), File(path=str(path)), Columns(), size, Path(folder) / "between")
        rows = Rows(plan, Augment(select=how), whole=True)
        compare_rows(SpreadHere(), rows)
        parts = [rows.select(*part) for item in list_items(plan, 1) for part in rows.read(item)]
        whole = select(read(str(path)), how)
        for what in ("frame", "rejects"):
            ours = pl.concat([getattr(part, what) for part in parts]).sort("row", maintain_order=True)
            assert_frame_equal(ours, getattr(whole, what).sort("row", maintain_order=True))
        for part in parts:
            assert replace(part.steps[-1], rows_in=0, rows_out=0, rejected={}) == replace(
                whole.steps[-1], rows_in=0, rows_out=0, rejected={}
            )
