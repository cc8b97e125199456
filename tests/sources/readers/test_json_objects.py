"""JSON files of one object: columns, wrappers, and rows over several lines are named as what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefboost.errors import UnreadableFile
from prefboost.sources import read

ROWS = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": float(n)} for n in range(6)]
LISTS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
INDEXED = {name: {str(at): row[name] for at, row in enumerate(ROWS)} for name in ROWS[0]}
TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


@pytest.mark.parametrize("name", ["in.json", "in.jsonl"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (LISTS, "one object of columns (prompt, completion, score), not rows"),
        (INDEXED, "one object of columns (prompt, completion, score), not rows"),
        ({"columns": list(LISTS), "index": [0], "data": [["q", "a", 1.0]]}, "one object of columns (prompt, comp"),
        ({"version": "1", "data": ROWS}, "the rows stand in the list 'data' of one object"),
        ({"train": ROWS, "test": ROWS}, "several splits (train, test) in one object"),
        ({f"id-{n}": row for n, row in enumerate(ROWS)}, "one object of rows by name (id-0, id-1"),
        ({"train": ROWS, "info": {"n": 6}}, "jq -c '.train[]' FILE > FILE.jsonl"),
    ],
)
def test_one_object_is_named_as_what_it_is(
    value: Any, said: str, indent: int | None, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(value, indent=indent))
    with pytest.raises(UnreadableFile) as raised:
        read(tmp_path / name)
    assert said in str(raised.value)


@pytest.mark.parametrize("count", [1, 3])
def test_rows_over_several_lines_are_named(count: int, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(row, indent=2) for row in ROWS[:count]))
    with pytest.raises(UnreadableFile, match=r"several lines\n.*jq -c"):
        read(tmp_path / "in.jsonl")


@pytest.mark.parametrize(
    "row",
    [
        ROWS[0],
        {"chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "no"}]},
        {"prompt": "q", "completions": [{"text": "a", "score": 1}, {"text": "b", "score": 2}]},
        {"prompt": TALK[:1], "chosen": TALK[1:], "rejected": TALK[1:]},
        {"prompt": "q", "responses": ["a", "b"], "scores": [1.0, 2.0]},
    ],
)
@pytest.mark.parametrize("form", ["line", "lines", "array", "pretty array"])
def test_a_row_alone_is_a_row(row: dict[str, Any], form: str, tmp_path: Path) -> None:
    forms = {
        "line": json.dumps(row),
        "lines": "\n".join([json.dumps(row)] * 2),
        "array": json.dumps([row]),
        "pretty array": json.dumps([row], indent=2),
    }
    (tmp_path / "in.json").write_text(forms[form])
    table = read(tmp_path / "in.json")
    assert len(table) + table.rejects.height >= 1


def test_one_broken_line_still_costs_that_line_alone(tmp_path: Path) -> None:
    lines = ["{", *map(json.dumps, ROWS)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    table = read(tmp_path / "in.jsonl")
    assert (len(table), table.rejects.height) == (6, 1)
