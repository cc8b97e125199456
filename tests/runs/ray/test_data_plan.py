"""Groups of whole prompts, made piece by piece in any order, are those that the source streams."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.runs.ray.rows import SpreadHere

from prefboost.runs.ray import data_plan
from prefboost.runs.ray.data_plan import list_items, plan_source, read_facts, read_groups, record_plan, restore_plan
from prefboost.sources import Columns, File
from prefboost.sources.collection import convert_batch


@settings(max_examples=25)
@given(
    prompts=st.lists(st.integers(0, 6), min_size=1, max_size=40),
    given_ids=st.lists(st.integers(0, 8), min_size=40, max_size=40),
    rows=st.integers(1, 9),
    buckets=st.sampled_from([5, 4_000_000]),
    span=st.sampled_from([1, 3]),
)
def test_groups_are_the_batches_of_the_source(
    prompts: list[int], given_ids: list[int], rows: int, buckets: int, span: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_plan, "_BUCKET_RECORDS", buckets)
        path = Path(folder) / "rows.jsonl"
        records = [
            {"prompt": f"Question {prompt}?", "completion": f"a{at}", "score": at % 5, "prompt_id": f"q{given_ids[at]}"}
            for at, prompt in enumerate(prompts)
        ]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        source = File(path=str(path))
        plan = plan_source(SpreadHere(), source, Columns(), rows, Path(folder) / "between")
        record_plan(plan, {"a": 1.5})
        recalled = restore_plan(SpreadHere(), source, Columns(), plan.folder)
        assert recalled == (plan, {"a": 1.5})
        facts = replace(read_facts(plan.folder, plan.run), split=plan.opened.split)
        tables = {
            number: convert_batch(plan.opened.source, batch, plan.opened.layout, facts)
            for item in list_items(plan, max(1, len(plan.pieces) // (4 * span)))[::-1]
            for number, batch in read_groups(plan, item)
        }
        streamed = list(source.batches(Columns(), rows))
        assert len(tables) == len(streamed)
        for (_, ours), theirs in zip(sorted(tables.items()), streamed, strict=True):
            assert_frame_equal(ours.frame, theirs.frame)
            assert_frame_equal(ours.rejects, theirs.rejects)
            assert ours.steps == theirs.steps
