from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefboost.diagnosis import read_question_texts
from prefboost.errors import DataError


@pytest.mark.parametrize(
    ("record", "texts"),
    [
        ({"question_id": 1, "turns": ["first", "then"]}, ["first", "then"]),
        ({"instruction": "do", "input": "this", "response_a": "no"}, ["do", "this"]),
        ({"messages": [{"role": "user", "content": "asked"}]}, ["asked"]),
        ({"Question": "why", "label": 3}, ["why"]),
    ],
)
def test_questions_are_found_under_many_names(tmp_path: Path, record: dict[str, Any], texts: list[str]) -> None:
    path = tmp_path / "benchmark.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    assert sorted(read_question_texts(path)) == sorted(texts)


def test_a_file_without_questions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="found a, b"):
        read_question_texts(path)
