"""What records cost that no model sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.costs import RowMachines, estimate_rows


@given(records=st.integers(1, 10**9), part=st.integers(1, 10**6), nodes=st.integers(1, 1000), shards=st.integers(2, 99))
def test_rows_of_augment_cost_no_less_than_their_time_and_shards_no_less_than_reading(
    records: int, part: int, nodes: int, shards: int
) -> None:
    machines = RowMachines(nodes=nodes, cores=4, row_us=20.0, read_us=5.0, part_ms=0.0, dollars=2.0)
    alone = estimate_rows(records, part, machines)
    assert alone["hours"] == pytest.approx(records * 20e-6 / 3600) == alone["machine_hours"]
    many = estimate_rows(records, part, machines, executor="ray")
    assert many["hours"] >= 0.99 * alone["hours"] / (4 * nodes) and many["shuffled_bytes"] > 0
    assert many["dollars"] == pytest.approx(2 * many["machine_hours"]) == pytest.approx(2 * nodes * many["hours"])
    divided = estimate_rows(records, part, machines, shards=shards)
    least = max(records * 5e-6, records * 20e-6 / (4 * nodes)) / 3600
    assert least * 0.99 <= divided["hours"] and not divided["shuffled_bytes"]
