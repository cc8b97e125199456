"""Shards of a selection are merged to the files of one run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.preferences.score_selection import BestOfN, RejectionSampling, ScoreAtLeast
from prefboost.preferences.select import Select
from prefboost.runs.select.counts import count_selection
from prefboost.runs.select.select import select_completions
from prefboost.runs.select.settings import SelectCompletions
from prefboost.runs.select.shards import merge_selection, select_shard
from prefboost.runs.shards import Shard
from prefboost.sources.read import join_tables, read_batches
from prefboost.sources.stored import read_stored

RECORDS = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["Is ice cold?", "Is tea cold?", "Is", "4 + 4?"]),
        "prompt_id": st.sampled_from(["a", "b", "c"]),
        "completion": st.sampled_from(["Yes.", "No.", "It may be so.", ""]),
        "score": st.none() | st.integers(1, 5).map(float),
        "finish_reason": st.sampled_from(["stop", "length"]),
    }
)


@settings(max_examples=20, deadline=None)
@given(
    records=st.lists(RECORDS, min_size=1, max_size=25),
    count=st.integers(1, 9),
    dedupe=st.sampled_from(["none", "exact", "prompt"]),
    strategy=st.sampled_from([BestOfN(), ScoreAtLeast(score=3), RejectionSampling(beta=1.0, count=2)]),
    rows=st.sampled_from([None, 2, 5]),
)
def test_shards_of_any_rows_are_merged_to_the_files_of_one_run(
    records: list[dict[str, Any]],
    count: int,
    dedupe: Any,
    strategy: Any,
    rows: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if rows is not None:
            # Rows wait on disk, in several files of a shard and several pieces of the whole.
            patch.setattr("prefboost.runs.select.shards.read_stored", partial(read_stored, rows=rows))
            patch.setattr("prefboost.runs.select.shards._PIECE_RECORDS", rows)
            patch.setattr("prefboost.sources.writers.file_types._GROUP_ROWS", rows)
        check_merged(records, count, dedupe, strategy, rows, tmp_path_factory.mktemp("rows"))


def check_merged(
    records: list[dict[str, Any]], count: int, dedupe: Any, strategy: Any, rows: int | None, folder: Path
) -> None:
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    how = SelectCompletions(strategy=strategy, select=Select(dedupe=dedupe), format="prefboost")
    (folder / "whole").mkdir()
    error: type[Exception] | None = None
    try:
        # Reasons of rejects are listed batch by batch, so that both read in the same batches.
        table = join_tables(list(read_batches(str(source), rows=rows)))
        counts = count_selection(table, select_completions(table, how, folder / "whole" / "out.parquet"))
    except DataError as caught:  # no score at all, or no row that can be read
        error = type(caught)

    def make_shards() -> Any:
        out = folder / "merged" / "out.parquet"
        for index in range(count):
            select_shard(str(source), how, out, Shard(index, count))
        return merge_selection([Shard(index, count).locate(out) for index in range(count)], how, out)

    if error is not None:
        with pytest.raises(error):
            make_shards()
        return
    assert make_shards() == counts
    ours, theirs = (
        {path.name: path.read_bytes() for path in (folder / place).iterdir() if path.is_file()}
        for place in ("whole", "merged")
    )
    assert ours == theirs
