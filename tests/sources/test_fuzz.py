"""Thousands of malformed files and rows: each is refused with a reason, or its bad rows are counted rejects."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from prefboost.cli.main import main
from prefboost.errors import PrefboostError
from prefboost.sources import read

GARBAGE: list[Callable[[random.Random], Any]] = [
    lambda _: None,
    lambda _: "",
    lambda _: "   ",
    lambda _: [],
    lambda _: {},
    lambda _: [[]],
    lambda _: [None],
    lambda _: float("nan"),
    lambda _: float("inf"),
    lambda _: -1e308,
    lambda _: True,
    lambda d: d.randint(-(10**30), 10**30),
    lambda d: d.random() * 100,
    lambda _: "N/A",
    lambda _: "\x00",
    lambda _: "\ud800 lone",
    lambda _: "x" * 10_000,
    lambda _: [{"role": "assistant", "content": "I begin"}],
    lambda _: [{"role": "user"}],
    lambda _: [{"role": "wizard", "content": "?"}],
    lambda _: [{"role": "user", "content": None}, {"role": "user", "content": 7}],
    lambda _: [{"role": "user", "content": "a"}, {"role": "system", "content": "late"}],
    lambda _: [{"content": "no role"}],
    lambda _: {"role": "user", "content": "not a list"},
    lambda _: "\n\nHuman: \n\nAssistant:",
    lambda _: "\n\nAssistant: first",
    lambda d: [d.choice([1, None, "x", [], {}]) for _ in range(d.randint(0, 4))],
]

SHAPES: list[Callable[[int], dict[str, Any]]] = [
    lambda n: {
        "instruction": f"question {n}",
        "completions": [{"response": f"answer {n} {k}", "overall_score": float(k)} for k in range(3)],
    },
    lambda n: {
        "prompt": f"q {n}",
        "chosen": f"good {n}",
        "rejected": f"bad {n}",
        "score_chosen": 9,
        "score_rejected": 2,
    },
    lambda n: {"prompt": f"q {n // 3}", "completion": f"answer {n}", "score": n % 10 + 0.5},
    lambda n: {"chosen": f"\n\nHuman: q {n}\n\nAssistant: good", "rejected": f"\n\nHuman: q {n}\n\nAssistant: bad"},
    lambda n: {
        "chosen": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": "good"}],
        "rejected": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": "bad"}],
        "chosen_score": 8.0,
        "rejected_score": 3.0,
    },
]


def spoil(value: Any, draw: random.Random) -> Any:
    """Replace something inside a record by garbage."""
    if draw.random() < 0.5 or not isinstance(value, dict | list) or not value:
        return draw.choice(GARBAGE)(draw)
    if isinstance(value, dict):
        key = draw.choice(sorted(value))
        if draw.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: spoil(value[key], draw)}
    at = draw.randrange(len(value))
    return [*value[:at], spoil(value[at], draw), *value[at + 1 :]]


def spoil_record(record: dict[str, Any], draw: random.Random) -> Any:
    key = draw.choice(sorted(record))
    return {**record, key: spoil(record[key], draw)}


def outcome(path: Path) -> tuple[int, int, int] | None:
    """records, units kept, units set aside; None where the file is refused with a place."""
    try:
        table = read(path)
    except PrefboostError as error:
        assert str(path.name) in str(error), f"the refusal does not name the file: {error}"
        assert error.remedy, f"the refusal has no remedy: {error}"
        return None
    step = table.steps[0]
    assert table.rejects["reason"].null_count() == 0
    assert sum(step.rejected.values()) == table.rejects.height
    assert step.rows_in == step.rows_out + table.rejects.height, (step, table.rejects["reason"].to_list())
    assert step.rows_out == len(table)
    return int(step.notes["records"]), len(table), table.rejects.height


@pytest.mark.parametrize("seed", range(8))
def test_spoiled_json_lines_lose_nothing_silently(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    for number in range(60):
        shape = draw.choice(SHAPES)
        records = [shape(n) for n in range(12)]
        spoiled = [spoil_record(record, draw) if draw.random() < 0.4 else record for record in records]
        lines = [json.dumps(record, ensure_ascii=True) for record in spoiled]
        for at in range(len(lines)):
            if draw.random() < 0.05:
                lines[at] = draw.choice(["{", "[]", "null", '"text"', lines[at][: len(lines[at]) // 2], "{}", "7"])
        path = tmp_path / f"{number}.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        found = outcome(path)
        if found is not None:
            assert found[0] == sum(bool(line.strip()) for line in lines)


@pytest.mark.parametrize("seed", range(4))
def test_spoiled_tables_lose_nothing_silently(seed: int, tmp_path: Path) -> None:
    draw = random.Random(100 + seed)
    for number in range(40):
        records = [SHAPES[number % 3](n) for n in range(12)]
        key = draw.choice(sorted(records[0]))
        make = draw.choice(GARBAGE)
        for record in records:
            if draw.random() < 0.5:
                record[key] = make(draw)
        try:
            frame = pl.DataFrame(records, strict=False, infer_schema_length=None)
        except (pl.exceptions.PolarsError, UnicodeEncodeError, OverflowError, TypeError, ValueError):
            continue  # Polars itself cannot hold such a column
        path = tmp_path / f"{number}.parquet"
        try:
            frame.write_parquet(path)
        except pl.exceptions.PolarsError:
            continue
        found = outcome(path)
        if found is not None:
            assert found[0] == frame.height


def test_broken_bytes_are_refused_by_name(tmp_path: Path) -> None:
    good = "\n".join(json.dumps(SHAPES[1](n)) for n in range(50)).encode()
    parquet = tmp_path / "good.parquet"
    pl.DataFrame([SHAPES[1](n) for n in range(50)]).write_parquet(parquet)
    whole = parquet.read_bytes()
    files: dict[str, bytes] = {
        "empty.jsonl": b"",
        "blank.jsonl": b"\n\n\n",
        "empty.parquet": b"",
        "text.parquet": good,
        "cut.parquet": whole[: len(whole) // 2],
        "headless.parquet": whole[8:],
        "cut.jsonl.gz": gzip.compress(good)[:-20],
        "cut.jsonl.zst": zstandard.compress(good)[:-5],
        "latin1.jsonl": good.replace(b"good 7", b"go\xf6d"),
        "bom16.jsonl": good.decode().encode("utf-16"),
        "binary.jsonl": bytes(range(256)) * 40,
        "text.arrow": good,
        "cut.json": b'[{"prompt": "a"',
        "scalar.json": b"42",
        "empty.csv": b"",
        "head.csv": b"prompt,completion,score\n",
        "twice.csv": b"prompt,prompt,completion,score\na,b,c,1\n",
        "unknown.csv": b"foo,bar\n1,2\n",
        "margin.csv": b"prompt,chosen,rejected,margin\na,b,c,2\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        found = outcome(path)
        assert found is None or found[2] > 0, f"{name} was read as if it were whole: {found}"


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(json.dumps(SHAPES[1](n)) for n in range(5)).encode())
    assert outcome(path) == (5, 5, 0)


def test_ragged_csv_is_refused_or_its_rows_are_rejects(tmp_path: Path) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text('prompt,completion,score\na,b,1\na,c\na,d,2,extra\na,"open,3\n', encoding="utf-8")
    outcome(path)


def test_one_huge_string_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jsonl"
    records = [SHAPES[1](0), {**SHAPES[1](1), "chosen": "x" * 10_000_000}]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert outcome(path) == (2, 2, 0)


def test_the_command_line_shows_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(7)
    for number in range(25):
        path = tmp_path / f"{number}.jsonl"
        shape = draw.choice(SHAPES)
        lines = [json.dumps(spoil_record(shape(n), draw)) for n in range(6)]
        path.write_text("\n".join(lines), encoding="utf-8")
        code = main(["inspect", str(path)])
        shown = capsys.readouterr()
        assert code in (0, 2), shown.err
        assert "Traceback" not in shown.err + shown.out
        assert "unexpected error" not in shown.err
