"""Files whose conversations stand in texts are read like files of messages."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.diagnosis import inspect
from prefboost.errors import DataError
from prefboost.runs.augment.augment import augment
from prefboost.sources import Columns, read, read_batches
from prefboost.sources.columns import Columns as Named
from prefboost.sources.readers.decoded import BROKEN, DecodedReader, StoredReader, find_encoded
from prefboost.sources.readers.files import JsonReader
from prefboost.tables import Table

TALK = [{"role": "system", "content": "s"}, {"role": "user", "content": 'it\'s "q"\nx'}]
CHATML = '<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nit\'s "q"\nx<|im_end|>\n<|im_start|>assistant\n'


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def spoken(table: Table, column: str = "prompt") -> list[list[tuple[str, str]]]:
    return [[(m["role"], m["content"]) for m in row] for row in table.frame[column].to_list()]


@pytest.mark.parametrize("spell", [json.dumps, repr, lambda _: CHATML, lambda talk: [json.dumps(m) for m in talk]])
def test_an_encoded_prompt_is_the_messages_that_it_encodes(spell: Any, tmp_path: Path) -> None:
    rows = [{"prompt": spell(TALK), "completion": f"a{n}", "score": n} for n in range(3)]
    table = read(write(tmp_path / "a.jsonl", rows))
    assert spoken(table) == [[(m["role"], m["content"]) for m in TALK]] * 3
    plain = read(write(tmp_path / "b.jsonl", [{**row, "prompt": TALK} for row in rows]))
    assert table.frame.equals(plain.frame)


def test_python_reprs_in_a_csv_are_decoded_in_every_row_whatever_stands_first(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion", "score"])
        writer.writerow(["plain question", "a", 1])
        writer.writerows([repr(TALK), f"a{n}", n] for n in range(3))
    assert [len(row) for row in spoken(read(path))] == [1, 2, 2, 2]


def test_lists_written_as_texts_are_lists(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completions": '["a", "b"]', "scores": "[1, 2]"}] * 2
    assert read(write(tmp_path / "a.jsonl", rows)).frame["score"].to_list() == [1, 2, 1, 2]
    turns = [{"prompt": "q", "history": '[["a", "b"]]', "completion": f"c{n}", "score": n} for n in range(2)]
    assert [len(row) for row in spoken(read(write(tmp_path / "b.jsonl", turns)))] == [3, 3]


def test_answers_that_are_json_stay_texts(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": json.dumps({"answer": n}), "score": n} for n in range(3)]
    rows += [{"prompt": "r", "completion": json.dumps([n, n]), "score": n} for n in range(3)]
    table = read(write(tmp_path / "a.jsonl", rows))
    assert [row[0][1] for row in spoken(table, "completion")] == [row["completion"] for row in rows]


def test_texts_are_left_alone_where_few_are_encoded_or_the_user_says_so(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": "a", "score": n} for n in range(3)]
    odd = {"prompt": json.dumps(TALK), "completion": "a", "score": 1}
    assert spoken(read(write(tmp_path / "a.jsonl", [*rows, odd])))[3] == [("user", json.dumps(TALK))]
    path = write(tmp_path / "b.jsonl", [odd])
    assert spoken(read(path, columns=Columns(plain=("prompt",)))) == [[("user", json.dumps(TALK))]]


def test_broken_encodings_among_good_ones_are_rejects_and_a_column_of_them_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt": json.dumps(TALK), "completion": f"a{n}", "score": n} for n in range(3)]
    broken = {"prompt": json.dumps(TALK)[:20], "completion": "b", "score": 1}
    path = write(tmp_path / "a.jsonl", [*rows, broken])
    for table in (read(path), *[t for t in read_batches(path, rows=1) if t.rejects.height]):
        assert table.rejects.select("row", "reason").rows() == [(3, BROKEN)]
    with pytest.raises(DataError, match="cannot be decoded"):
        read(write(tmp_path / "b.jsonl", [broken]))


def test_json_features_of_the_datasets_library_are_read_from_disk_and_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    if not hasattr(datasets, "Json"):
        pytest.skip("this version of datasets has no Json feature")
    features = datasets.Features(
        {
            "prompt": datasets.List(datasets.Json()),
            "completion": datasets.Value("string"),
            "score": datasets.Value("float64"),
        }
    )
    rows = {"prompt": [TALK] * 2, "completion": ["a", "b"], "score": [1.0, 2.0]}
    data = datasets.Dataset.from_dict(rows, features=features)
    data.save_to_disk(str(tmp_path / "saved"))
    data.to_parquet(str(tmp_path / "a.parquet"))
    for path in (tmp_path / "saved", tmp_path / "a.parquet"):
        assert spoken(read(path)) == [[(m["role"], m["content"]) for m in TALK]] * 2


def test_only_columns_of_mostly_encoded_texts_are_decoded(tmp_path: Path) -> None:
    sample = pl.DataFrame({"p": [json.dumps(TALK)] * 3, "q": [json.dumps(TALK), "x", "y"], "answers": ["[1]"] * 3})
    assert find_encoded(sample, Named(), "f") == {"p": "messages", "answers": "list"}
    assert find_encoded(sample, Named(ignore=("p",), plain=("answers",)), "f") == {}
    reader = DecodedReader(
        StoredReader(JsonReader(str(write(tmp_path / "a.jsonl", sample.to_dicts())))), {"p": "messages"}
    )
    assert [batch.records for batch in reader.batches(None, 2)] == [2, 1]


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize("spell", [lambda text: json.dumps(answer(text)), lambda text: f"{text}<|im_end|>"])
@pytest.mark.parametrize("form", ["nested", "parallel"])
def test_completions_inside_of_records_are_decoded(form: str, spell: Any, tmp_path: Path) -> None:
    def record(n: int, spelled: Any) -> dict[str, Any]:
        texts, scores = [*(spelled(f"{letter}{n}") for letter in "abc"), "plain", None], [1, 2, 3, 4, 5]
        if form == "parallel":
            return {"prompt": f"q{n}", "responses": texts, "scores": scores}
        both = zip(texts, scores, strict=True)
        return {"prompt": f"q{n}", "completions": [{"text": text, "score": score} for text, score in both]}

    encoded = [record(n, spell) for n in range(3)]
    plain = [record(n, lambda text: text) for n in range(3)]
    for rows in (None, 1):
        tables = [
            pl.concat([table.frame for table in read_batches(write(tmp_path / name, records), rows=rows)]).sort("row")
            for name, records in (("a.jsonl", encoded), ("b.jsonl", plain))
        ]
        assert tables[0].drop("completion_id").equals(tables[1].drop("completion_id")) and tables[0].height == 12
    field = "completions.text" if form == "nested" else "responses"
    kept = read(tmp_path / "a.jsonl", columns=Columns(plain=(field,)))
    assert spoken(kept, "completion")[0] == [("assistant", spell("a0"))]


def test_completions_that_cannot_be_decoded_are_refused_by_their_field(tmp_path: Path) -> None:
    text = json.dumps(answer("a"))[:-2]
    rows = [{"prompt": "q", "completions": [{"text": text, "score": 1}, {"text": text, "score": 2}]}]
    with pytest.raises(DataError, match=r"'completions\.text': most texts.*\n.*plain=\[completions\.text\]"):
        read(write(tmp_path / "a.jsonl", rows))
    rows = [{"prompt": "q", "responses": [json.dumps(answer("a")), json.dumps(answer("b"))], "scores": [1, 2]}]
    broken = {"prompt": "r", "responses": [text, "b"], "scores": [1, 2]}
    table = read(write(tmp_path / "b.jsonl", [*rows * 2, broken]))
    assert table.rejects.select("row", "reason").rows() == [(2, BROKEN)]


def test_augment_counts_texts_that_are_taken_as_they_stand(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": n % 2 + 1} for n in range(8)]
    odd = [{"prompt": CHATML, "completion": f"b{n}", "score": n + 1} for n in range(2)]
    path = write(tmp_path / "a.jsonl", [*rows, *odd])
    report = augment(path, tmp_path / "out.jsonl")
    found = [finding for finding in report.findings if finding.startswith("encoded_conversation: 2 rows")]
    assert len(found) == 1 and found[0] in (tmp_path / "out.jsonl.card.md").read_text()
    assert [f.count for f in inspect(path).findings if f.name == "encoded_conversation"] == [2]
