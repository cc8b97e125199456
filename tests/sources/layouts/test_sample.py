"""The guess sees the first usable records, and says what stands there where none is."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.errors import DataError
from prefboost.sources.layouts.sample import SAMPLE_ROWS, sample_records
from prefboost.sources.readers.files import JsonReader


def reader(path: Path, text: str) -> JsonReader:
    path.write_text(text)
    return JsonReader(str(path))


def test_the_sample_is_the_first_records_behind_broken_lines(tmp_path: Path) -> None:
    lines = ["{broken", *(f'{{"n": {n}}}' for n in range(2 * SAMPLE_ROWS))]
    sample = sample_records(reader(tmp_path / "a.jsonl", "\n".join(lines)))
    assert sample["n"].to_list()[:3] == [0, 1, 2] and sample.height == SAMPLE_ROWS - 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n\n", "the file has no rows"),
        ("prompt,score\nq,1", r"a\.jsonl:1: .*\n.*its bytes look like \.csv: name the file so"),
    ],
)
def test_without_records_the_first_line_and_a_fitting_name_are_said(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        sample_records(reader(tmp_path / "a.jsonl", text))
