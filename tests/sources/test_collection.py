"""Anyone's source plugs in, and settings of sources are closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from pydantic import ValidationError

from prefboost.sources import Collection, Columns, File, Source, read
from prefboost.sources.collection import SHAPES
from prefboost.sources.readers.files import ParquetReader
from prefboost.tables import Table


class Doubled:
    kind = "tests:Doubled"

    def __init__(self, path: str) -> None:
        self.path = path

    def batches(self, columns: Columns, rows: int | None) -> Iterator[Table]:
        yield from File(path=self.path).batches(columns, rows)


class Picky(Collection):
    kind: Literal["picky"] = "picky"

    def doubts(self, rows: pl.DataFrame) -> pl.Series:
        return rows.select(pl.when(pl.col("score") < 2).then(pl.lit("the score is too low for me"))).to_series()


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "d.jsonl"
    file.write_text('{"prompt": "p", "completion": "a", "score": 1}\n{"prompt": "p", "completion": "b", "score": 2}\n')
    return str(file)


def test_a_foreign_source_is_read_like_a_built_in_one(path: str) -> None:
    assert isinstance(Doubled(path), Source)
    assert read(Doubled(path)).frame.equals(read(path).frame)


def test_a_family_may_set_rows_aside_with_its_own_reason(path: str) -> None:
    table = read(Picky(path=path))
    assert dict(table.steps[0].rejected) == {"the score is too low for me": 1}
    assert table.steps[0].settings["path"] == path


def test_unknown_settings_are_errors(path: str) -> None:
    with pytest.raises(ValidationError):
        File(path=path, splitt="train")  # type: ignore[call-arg]


def test_every_shape_says_its_unit() -> None:
    assert {shape.unit for shape in SHAPES.values()} == {"completions", "pairs", "prompts"}


def test_scores_for_a_scale_are_those_of_the_batches(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n % 3}", "completion": f"a{n}", "score": n, "model": "m", "note": "n" * n} for n in range(9)]
    file = tmp_path / "d.parquet"
    pl.DataFrame(rows).write_parquet(file, row_group_size=4)
    for size in (None, 2):
        scores = pl.concat([table.frame["score"] for table in File(path=str(file)).score_tables(Columns(), size)])
        assert scores.to_list() == list(range(9))


def test_columns_that_play_no_part_are_not_read_for_a_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "d.parquet"
    pl.DataFrame([{"prompt": "p", "completion": "a", "score": 1, "note": "n"}]).write_parquet(file)
    asked: list[Any] = []
    plain = ParquetReader.batches
    monkeypatch.setattr(ParquetReader, "batches", lambda self, *args: (asked.append(args[0]), plain(self, *args))[1])
    list(File(path=str(file)).score_tables(Columns(), None))
    assert asked == [None, ["prompt", "completion", "score"]]
