"""A table in pieces is the table itself, whatever the pieces and whoever asks."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from tables_of import store_in_pieces

from prefboost.tables import COMPLETIONS, MESSAGES, REJECTS, Step, Table, reject_faulty
from prefboost.tables.pieces import RowPieces, StoredTable

CUTS = st.lists(st.integers(0, 5), max_size=6)


def whole_table(rows: int) -> Table:
    message = [{"role": "user", "content": "q", "extra": None}]
    frame = pl.DataFrame(
        {
            "row": pl.Series(range(rows), dtype=pl.Int64),
            "prompt_id": pl.Series([f"p{row // 2}" for row in range(rows)], dtype=pl.String),
            "prompt": pl.Series([message] * rows, dtype=MESSAGES),
            "completion_id": pl.Series([f"c{row}" for row in range(rows)], dtype=pl.String),
            "completion": pl.Series([message] * rows, dtype=MESSAGES),
        }
    )
    return Table(COMPLETIONS, frame, steps=(Step("read", {}, rows, rows),), path="f")


@given(CUTS, st.data())
def test_rows_are_read_and_taken_as_from_one_frame(heights: list[int], data: st.DataObject) -> None:
    table = whole_table(sum(heights))
    stored = store_in_pieces(table, heights)
    assert len(stored) == len(table) and stored.schema == table.schema and stored.frame.equals(table.frame)
    assert stored.read_columns(["row"]).equals(table.read_columns(["row"]))
    rows = data.draw(st.lists(st.integers(0, len(table) - 1))) if len(table) else []
    assert stored.take(rows, ["completion_id"]).equals(table.take(rows, ["completion_id"]))


@given(CUTS, st.dictionaries(st.integers(0, 29), st.sampled_from([("b", "x"), ("a", "y")])))
def test_rows_are_split_as_those_of_one_frame(heights: list[int], faults: dict[int, tuple[str, str]]) -> None:
    def change(frame: pl.DataFrame, start: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        here = {row - start: fault for row, fault in faults.items() if start <= row < start + frame.height}
        return reject_faulty(frame.with_columns(model=pl.lit("m")), here, stage="s", path="f")

    results = []
    for table in (whole := whole_table(sum(heights)), store_in_pieces(whole, heights)):
        rows, rejects = table.split(change, ["a", "b"])
        step = table.build_step("s", {}, rows, rejects)
        results.append(table.derive(COMPLETIONS, rows, step, rejects=rejects))
    plain, stored = results
    assert isinstance(stored, StoredTable) and stored.frame.equals(plain.frame)
    assert stored.rejects.equals(plain.rejects) and stored.steps == plain.steps
    assert [*stored.rejects["reason"]] == sorted(stored.rejects["reason"])


@given(CUTS, st.data())
def test_rows_are_left_out_by_codes_as_those_of_one_frame(heights: list[int], data: st.DataObject) -> None:
    whole = whole_table(sum(heights))
    codes = data.draw(st.lists(st.integers(0, 2), min_size=len(whole), max_size=len(whole)))
    results = []
    for table in (whole, store_in_pieces(whole, heights)):
        coded = pl.Series(codes, dtype=pl.UInt8)
        rows, rejects = table.split_coded(coded, ["b", "a"], stage="s", value=pl.col("completion_id"))
        results.append(table.derive(COMPLETIONS, rows, table.build_step("s", {}, rows, rejects), rejects=rejects))
    plain, stored = results
    assert isinstance(stored, StoredTable) and stored.frame.equals(plain.frame) and stored.schema == plain.schema
    assert stored.rejects.equals(plain.rejects) and stored.steps == plain.steps
    for columns in (["completion_id", "row"], ["prompt"]):
        assert stored.read_columns(columns).equals(plain.read_columns(columns))


def test_other_fields_leave_the_rows_where_they_are() -> None:
    stored = store_in_pieces(whole_table(4), [3, 1])
    changed = stored.with_scales({"": 1})
    assert isinstance(changed, StoredTable) and changed.pieces is stored.pieces and changed.scales == {"": 1}
    assert replace(stored, path="g").frame.equals(stored.frame), "code that knows nothing of pieces gets all rows"
    frame = stored.frame.head(1)
    assert stored.derive(COMPLETIONS, frame, stored.steps[0]).frame.equals(frame)
    assert stored.rejects.schema == REJECTS


def test_the_short_form_of_a_table_reads_no_rows() -> None:
    def refuse(*_: object) -> pl.DataFrame:
        raise AssertionError("rows are read")

    table = whole_table(3)
    stored = StoredTable(table.spec, RowPieces(table.schema, [3], refuse), table.rejects, table.steps, path="f.jsonl")
    assert (
        repr(stored) == str(stored) == "StoredTable(Completions, 3 rows on disk, 0 rejects, steps read, path 'f.jsonl')"
    )
