"""A table that tasks make is put together as one process makes it, and its scales are fitted to all that is left."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal
from tests.runs.ray.rows import SpreadHere, build_cases

from prefboost.preferences import fit_scales
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.preferences.scales.kinds import DeclaredRange, Percentile, Scale
from prefboost.preferences.select import Select, select
from prefboost.runs.augment.settings import Augment
from prefboost.runs.ray.data_tables import open_table
from prefboost.sources import read
from prefboost.tables import Table


def keep_all(table: Table) -> Table:
    return table


@pytest.mark.parametrize("case", ["scattered", "fitted", "row groups", "several files", "pairs"])
def test_tables_and_scales_are_those_of_one_process(case: str, tmp_path: Path) -> None:
    source, how = str(build_cases(tmp_path)[case][0]), Select(max_completion_chars=9)
    whole = select(read(source), how)
    scales: list[Scale] = [Percentile(), DeclaredRange()]
    with open_table(SpreadHere(), source, tmp_path / "out", Augment(select=how, batch_rows=7), key="any") as job:
        for scale in scales:
            assert job.fit(scale, ()) == fit_scales(scale, [whole], declared=find_declared_range(whole))
        head, counts = job.make(keep_all, count=lambda before, after: {"rows": len(before), "left": len(after)})
        table = job.order(head).as_table(head).collect()
    assert_frame_equal(table.frame, whole.frame)
    assert_frame_equal(table.rejects, whole.rejects.sort("row", maintain_order=True))
    # Steps come as JSON keeps them: tuples are lists.
    ours, theirs = (json.loads(json.dumps([asdict(step) for step in each.steps])) for each in (table, whole))
    assert (table.spec, ours, table.path) == (whole.spec, theirs, whole.path)
    assert (sum(each["rows"] for each in counts), sum(each["left"] for each in counts)) == (
        whole.steps[0].rows_out,
        len(whole),
    )
    assert not (tmp_path / ".out.partial").exists()
