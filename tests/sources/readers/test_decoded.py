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
from prefboost.sources.messages.encoded import DECODED_ROWS
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


@pytest.mark.parametrize("spell", [json.dumps, repr, lambda _: CHATML])
@pytest.mark.parametrize("rows", [None, 2])
def test_a_few_encoded_texts_among_plain_ones_are_decoded_row_by_row(spell: Any, rows: Any, tmp_path: Path) -> None:
    plain = [{"prompt": f"q{n}", "completion": "a", "score": n} for n in range(5)]
    odd = {"prompt": spell(TALK), "completion": "a", "score": 1}
    path = write(tmp_path / "a.jsonl", [*plain[:3], odd, *plain[3:]])
    tables = list(read_batches(path, rows=rows))
    frame = pl.concat([table.frame for table in tables]).sort("row")
    talks = [[(m["role"], m["content"]) for m in row] for row in frame["prompt"].to_list()]
    assert talks == [[("user", f"q{n}")] for n in range(3)] + [[(m["role"], m["content"]) for m in TALK]] + [
        [("user", f"q{n}")] for n in (3, 4)
    ]
    assert sum(table.steps[0].notes.get(DECODED_ROWS, 0) for table in tables) == 1
    kept = read(path, columns=Columns(plain=("prompt",)))
    assert spoken(kept)[3] == [("user", spell(TALK))] and DECODED_ROWS not in kept.steps[0].notes


@pytest.mark.parametrize("text", [json.dumps(TALK)[:-2], "What is <|im_start|>user for?", "[INST] and no end"])
def test_a_few_texts_that_only_look_encoded_are_rejects_unless_the_user_says_otherwise(
    text: str, tmp_path: Path
) -> None:
    plain = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(3)]
    path = write(tmp_path / "a.jsonl", [*plain, {**plain[0], "rejected": text}])
    table = read(path)
    assert table.rejects.select("row", "reason").rows() == [(3, BROKEN)] and len(table) == 3
    assert table.rejects["found"][0] == f"rejected: {text}"
    assert spoken(read(path, columns=Columns(plain=("rejected",))), "rejected")[3] == [("assistant", text)]


def test_pairs_of_plain_texts_with_a_whole_conversation_among_them_are_split_like_others(tmp_path: Path) -> None:
    pairs = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(3)]
    talk = [{"role": "user", "content": "q3"}, {"role": "assistant", "content": "a"}]
    odd = {"prompt": "q3", "chosen": json.dumps(talk), "rejected": json.dumps([talk[0], {**talk[1], "content": "b"}])}
    table = read(write(tmp_path / "a.jsonl", [*pairs, odd]))
    plain = read(write(tmp_path / "b.jsonl", [*pairs, {"prompt": "q3", "chosen": "a", "rejected": "b"}]))
    assert table.frame.equals(plain.frame)


def test_a_few_encoded_completions_inside_of_records_are_decoded(tmp_path: Path) -> None:
    def record(n: int, *texts: str) -> dict[str, Any]:
        scored = [{"text": text, "score": at} for at, text in enumerate(texts)]
        return {"prompt": f"q{n}", "completions": scored}

    rows = [record(n, "a", "b") for n in range(4)]
    path = write(tmp_path / "a.jsonl", [*rows, record(9, json.dumps(answer("a")), "b")])
    table = read(path)
    assert spoken(table, "completion") == [[("assistant", text)] for _ in range(5) for text in "ab"]
    assert table.steps[0].notes[DECODED_ROWS] == 2
    parallel = [{"prompt": f"q{n}", "responses": ["a", "b"], "scores": [0, 1]} for n in range(4)]
    parallel[2]["responses"] = ["a", json.dumps(answer("b"))]
    assert spoken(read(write(tmp_path / "b.jsonl", parallel)), "completion") == [
        [("assistant", text)] for _ in range(4) for text in "ab"
    ]


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


def test_augment_counts_texts_that_it_decodes_and_transcripts_that_it_takes_as_they_stand(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": n % 2 + 1} for n in range(8)]
    odd = [{"prompt": CHATML, "completion": f"b{n}", "score": n + 1} for n in range(2)]
    weak = [{"prompt": "### Instruction: Sing.", "completion": f"c{n}", "score": n + 1} for n in range(2)]
    path = write(tmp_path / "a.jsonl", [*rows, *odd, *weak])
    report = augment(path, tmp_path / "out.jsonl")
    names = [finding.partition(" rows")[0] for finding in report.findings]
    assert names == ["encoded_conversation: 2", "decoded_conversation: 2"]
    assert all(finding in (tmp_path / "out.jsonl.card.md").read_text() for finding in report.findings)
    assert [f.count for f in inspect(path).findings if f.name == "encoded_conversation"] == [2]
