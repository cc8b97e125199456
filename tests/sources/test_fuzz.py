"""Thousands of malformed files and rows: each is refused with a reason, or its bad rows are counted rejects."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.cli.main import main
from prefboost.errors import PrefboostError
from prefboost.sources import SOURCES, File, Source, read, read_batches
from prefboost.tables import Table

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
    lambda _: -1e15,
    lambda d: d.choice(["3", "1.0", 42.0]),
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

FAMILIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "ultrafeedback": lambda n: {
        "source": "flan",
        "instruction": f"q {n}",
        "completions": [
            {"response": f"a {n} {k}", "model": "m", "overall_score": 10.0 - 9 * k,
             "annotations": {aspect: {"Rating": str(k + 1)} for aspect in ("helpfulness", "honesty")}}
            for k in range(2)
        ],
    },
    "nectar": lambda n: {
        "prompt": f"\n\nHuman: q {n}\n\nAssistant: ",
        "answers": [{"answer": f"a {n} {k}", "model": "m", "rank": k + 1.0} for k in range(3)],
    },
    "helpsteer": lambda n: {
        "prompt": f"q {n // 2}", "response": f"a {n}", "helpfulness": n % 5, "correctness": 3, "verbosity": 2,
    },
    "safe_rlhf": lambda n: {
        "prompt": f"q {n}", "response_0": f"a {n}", "response_1": f"b {n}", "better_response_id": n % 2,
        "safer_response_id": 0, "response_0_severity_level": n % 4, "response_1_severity_level": 0,
    },
    "skywork": SHAPES[4],
    "hh_rlhf": SHAPES[3],
}  # fmt: skip

WORDS = [
    "prompt", "completion", "completions", "response", "score", "chosen", "rejected", "score_chosen", "score_rejected",
    "role", "content", "rank", "split", "system", "goal_pair_id",
]  # fmt: skip

ODD_BYTES = [
    b"\0",
    b"\n",
    b"\r",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b"\xff",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"null",
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


def outcome(path: Path, source: Source | None = None) -> tuple[int, int, int] | None:
    """records, units kept, units set aside; None where the file is refused with a place."""
    try:
        table = read(source or path)
    except PrefboostError as error:
        assert str(path.name) in str(error), f"the refusal does not name the file: {error}"
        assert error.remedy, f"the refusal has no remedy: {error}"
        return None
    step = table.steps[0]
    assert table.rejects["reason"].null_count() == 0
    assert sum(step.rejected.values()) == table.rejects.height
    assert step.rows_in == step.rows_out + table.rejects.height, (step, table.rejects["reason"].to_list())
    assert step.rows_out == len(table)
    records = int(step.notes["records"])
    assert {*table.frame["row"], *table.rejects["row"]} == set(range(records)), "a record is neither kept nor set aside"
    return records, len(table), table.rejects.height


@pytest.mark.parametrize("seed", range(8))
def test_spoiled_json_lines_lose_nothing_silently(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    for number in range(40):
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
        "bom16.jsonl": good.decode().encode("utf-16")[:-1],
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


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The bytes with some changed, put in, taken out or cut off."""
    made = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 30])):
        at = draw.randrange(len(made)) if made else 0
        kind = draw.random()
        if kind < 0.4 and made:
            made[at] = draw.randrange(256)
        elif kind < 0.75:
            made[at : at + draw.randrange(20)] = draw.randbytes(draw.randrange(8))
        elif kind < 0.9:
            made[at:at] = draw.choice(ODD_BYTES)
        else:
            del made[at:]
    return bytes(made)


def written(kind: str, records: list[dict[str, Any]]) -> bytes:
    """A file of the records, whole, without the compression that its ending asks for."""
    if kind.startswith("jsonl"):
        return "\n".join(map(json.dumps, records)).encode()
    if kind == "json":
        return json.dumps(records).encode()
    frame, stream = pl.DataFrame(records, strict=False, infer_schema_length=None), io.BytesIO()
    if kind in ("parquet", "arrow"):
        frame.write_parquet(stream, row_group_size=5) if kind == "parquet" else frame.write_ipc(stream)
        return stream.getvalue()
    texts = [{name: cell if isinstance(cell, str) else json.dumps(cell) for name, cell in record.items()}
             for record in records]  # fmt: skip
    return pl.DataFrame(texts).write_csv(separator="\t" if kind == "tsv" else ",").encode()


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "jsonl.zst", "json", "parquet", "arrow", "csv", "tsv"])
def test_damaged_bytes_lose_nothing_silently(kind: str, tmp_path: Path) -> None:
    draw = random.Random(f"bytes of {kind}")
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(kind.rpartition(".")[2], bytes)
    for number in range(40):
        content = written(kind, [SHAPES[number % 5](n) for n in range(12)])
        inside = pack is not bytes and number % 2
        path = tmp_path / f"{number}.{kind}"
        path.write_bytes(pack(mutated(content, draw)) if inside else mutated(pack(content), draw))
        outcome(path)


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_spoiled_data_of_a_known_collection_lose_nothing_silently(kind: str, tmp_path: Path) -> None:
    draw = random.Random(f"records of {kind}")
    for number in range(40):
        records = [FAMILIES[kind](n) for n in range(12)]
        spoiled = [spoil_record(record, draw) if draw.random() < 0.35 else record for record in records]
        path = tmp_path / f"{number}.jsonl"
        path.write_text("\n".join(map(json.dumps, spoiled)), encoding="utf-8")
        settings = {"score_range": draw.choice([None, (2.0, 4.0)]), "score": draw.choice(["overall", "mean"])}
        found = outcome(path, SOURCES[kind].model_validate({"path": str(path), **settings}))
        assert found is None or found[0] == 12


def test_scores_outside_the_declared_range_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    path.write_text("\n".join(json.dumps(SHAPES[2](n)) for n in range(10)), encoding="utf-8")
    assert outcome(path, File(path=str(path), score_range=(1.0, 5.0))) == (10, 4, 6)


def fates(tables: Iterable[Table]) -> dict[int, list[str]]:
    """What became of every record: the texts and scores that were kept of it, and whether any of it was set aside."""
    found: dict[int, list[str]] = {}
    for table in tables:
        told = [name for name in table.frame.columns if not name.endswith("_id")]
        for record in table.frame.select(told).iter_rows(named=True):
            found.setdefault(record["row"], []).append(str(record))
        for row in table.rejects["row"].unique():
            found.setdefault(row, []).append("set aside")
    return {row: sorted(fate) for row, fate in found.items()}


def test_the_fate_of_a_record_does_not_depend_on_the_records_beside_it(tmp_path: Path) -> None:
    draw = random.Random(200)
    shapes = [*SHAPES, *FAMILIES.values()]
    kinds = ["file"] * len(SHAPES) + list(FAMILIES)
    for number in range(2 * len(shapes)):
        at = number % len(shapes)
        records = [spoil_record(shapes[at](n), draw) for n in range(12)]
        path = tmp_path / f"{number}.jsonl"
        # 30-digit integers are kept either way, but their last digits are not.
        path.write_text(re.sub(r"\d{25,}", "7", "\n".join(map(json.dumps, records))), encoding="utf-8")
        source = SOURCES[kinds[at]].model_validate({"path": str(path)})
        try:
            whole = read(source)
        except PrefboostError:
            continue
        assert fates([whole]) == fates(read_batches(source, rows=2))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)
"""JSON of any shape whose keys may mean something to a reader; texts hold NUL bytes and lone surrogates too."""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.sampled_from(WORDS), values, max_size=6), min_size=1, max_size=6))
def test_any_json_objects_are_refused_or_accounted_for(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    found = outcome(path)
    assert found is None or found[0] == len(records)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(max_size=200))
def test_any_text_as_csv_is_refused_or_accounted_for(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(f"prompt,completion,score\nq,a,1\n{text}".encode("utf-8", "surrogatepass"))
    outcome(path)


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
    kinds = ["jsonl", "jsonl.gz", "parquet", "csv", "json"]
    for number in range(30):
        kind = kinds[number % 5]
        path = tmp_path / f"{number}.{kind}"
        shape = draw.choice(SHAPES)
        whole = number % 2 == 0 or kind in ("parquet", "csv")
        records = [shape(n) if whole else spoil_record(shape(n), draw) for n in range(6)]
        content = written(kind, records)
        content = mutated(content, draw) if whole else content
        path.write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
        code = main(["inspect", str(path), *(["--json"] if number % 3 == 0 else [])])
        shown = capsys.readouterr()
        assert code in (0, 2), shown.err
        assert "Traceback" not in shown.err + shown.out
        assert "unexpected error" not in shown.err
        assert code == 0 or path.name in shown.err
        if code == 0 and number % 3 == 0:
            assert json.loads(shown.out)["path"] == str(path)
